//! Graph, as it is in these histories: it knows who is in which call, and takes, refuses, or loses what is
//! sent. It has a clock of its own, which nobody sets.

use std::collections::BTreeSet;

use super::{OURS, World};
use crate::clock::Timestamp;
use crate::id::{GraphCallId, TenantId};
use crate::model::call::{CallState, Party};
use crate::model::change::{CallChange, Participant, RosterChange};
use crate::model::everybody::{InTheCall, Present};
use crate::model::participant::Invited;
use crate::model::plan::Order;
use crate::store::admission::Leased;
use crate::store::reconcile::{Asking, LookEnd};
use crate::store::records::CallNews;
use crate::store::sqlite::model_test::imported;
use crate::store::sqlite::{apply, calls, reconcile};

/// Who calls, or is called, later.
pub(super) const NUMBERS: [&str; 2] = ["+4930111", "+4930222"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Real {
    Rings,
    Runs,
    Over,
}

/// A call, as Graph has it, and what was told of it.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Line {
    pub(super) id: String,
    /// 0 or 1.
    pub(super) tenant: usize,
    pub(super) real: Real,
    /// The others in it.
    pub(super) people: BTreeSet<String>,
    pub(super) number: &'static str,
    /// When it stops to ring by itself.
    rings_until: i64,
    pub(super) rings_for: i64,
    is_observed: bool,
    /// Graph said that it rejected the call, which had been answered.
    pub(super) lied: bool,
    /// When it became known: the event, both clocks; not for an import.
    pub(super) known_at: Option<(usize, i64, Timestamp)>,
    pub(super) is_imported: bool,
    pub(super) was_begun: bool,
    pub(super) was_numbered: bool,
}

/// What Graph answers, if anything.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Took,
    Invited(Invited),
    Roster(InTheCall),
    NoCall,
    NoParticipant,
    /// Not before so many milliseconds.
    Throttled(i64),
    Refused,
    TenantFault,
    /// Nobody knows what became of it.
    ServerError,
    Lost,
    /// It was not sent.
    Unreachable,
}

impl World<'_> {
    /// Two of each tenant, and more by and by.
    pub(super) fn make_calls(&mut self) {
        for tenant in 0..2 {
            for kind in ["group", "plain", "rings"] {
                if kind == "rings" {
                    self.a_call_rings(tenant, format!("{kind}-{tenant}"), true);
                    continue;
                }
                let line = self.line(format!("{kind}-{tenant}"), tenant, Real::Runs);
                self.lines.push(Line { is_imported: true, ..line });
                let row = imported(i64::try_from(tenant).unwrap() + 1, &format!("{kind}-{tenant}"));
                let connection = self.connection();
                let mut inserts = calls::Inserts::prepare(connection).unwrap();
                assert!(inserts.insert(connection, &row, self.now()).unwrap());
                drop(inserts);
                if kind == "group" {
                    for _ in 0..=self.dice.roll(3) {
                        self.somebody_comes(self.lines.len() - 1);
                    }
                }
            }
        }
        while !self.news.is_empty() && !self.dice.one_in(4) {
            self.news_arrive();
        }
    }

    fn line(&mut self, id: String, tenant: usize, real: Real) -> Line {
        let is_observed = self.dice.one_in(3);
        let rings_for = if is_observed { 5_000 } else { 15_000 };
        Line {
            id,
            tenant,
            real,
            people: BTreeSet::new(),
            number: NUMBERS[self.dice.roll(2)],
            rings_until: self.passed + rings_for,
            rings_for,
            is_observed,
            lied: false,
            known_at: None,
            is_imported: false,
            was_begun: false,
            was_numbered: false,
        }
    }

    /// Its number may be told later than the call itself.
    fn a_call_rings(&mut self, tenant: usize, id: String, rings: bool) {
        let real = if rings { Real::Rings } else { Real::Runs };
        let line = self.line(id, tenant, real);
        self.lines.push(line);
        let position = self.lines.len() - 1;
        let state = if rings { CallState::Incoming } else { CallState::Established };
        let begins = CallChange { created: !rings, ..self.change(position, Some(state)) };
        let numbered = CallChange { parties: vec![self.party(position)], ..begins.clone() };
        if self.dice.one_in(3) {
            self.news.push((position, begins));
            let later = self.change(position, None);
            self.news.push((position, CallChange { parties: numbered.parties, ..later }));
        } else {
            self.news.push((position, numbered));
        }
    }

    fn party(&self, position: usize) -> Party {
        let number = self.lines[position].number.to_owned();
        let (role, kind) = ("source", "number");
        Party { role, kind, raw: number.clone(), normalised: number, display_name: None }
    }

    fn change(&self, position: usize, state: Option<CallState>) -> CallChange {
        let line = &self.lines[position];
        let observed = line.is_observed.then(|| "observed".to_owned());
        CallChange { state, observed, ..CallChange::of(GraphCallId(line.id.clone())) }
    }

    fn tells(&mut self, position: usize, state: CallState) {
        let change = self.change(position, Some(state));
        self.news.push((position, change));
    }

    pub(super) fn life_goes_on(&mut self) {
        let position = self.dice.roll(self.lines.len());
        let (real, tenant) = (self.lines[position].real, self.lines[position].tenant);
        match self.dice.roll(6) {
            0 | 4 | 5 if real == Real::Rings => self.is_answered(position),
            1 if self.dice.one_in(3) => self.ends(position),
            2 if real == Real::Runs => self.somebody_comes(position),
            3 => {
                if let Some(id) = self.lines[position].people.first().cloned() {
                    self.leaves(position, &id);
                }
            }
            _ if self.lines.len() < 11 => {
                let id = format!("later-{}", self.lines.len());
                let rings = !self.dice.one_in(3);
                self.note(format_args!("{id} begins"));
                self.a_call_rings(tenant, id, rings);
            }
            _ => {}
        }
    }

    pub(super) fn ringing_stops(&mut self) {
        for position in 0..self.lines.len() {
            let line = &self.lines[position];
            if line.real == Real::Rings && line.rings_until <= self.passed {
                self.ends(position);
            }
        }
    }

    fn is_answered(&mut self, position: usize) {
        self.lines[position].real = Real::Runs;
        self.note(format_args!("call {position} is answered"));
        self.tells(position, CallState::Established);
    }

    fn ends(&mut self, position: usize) {
        if self.lines[position].real != Real::Over {
            self.lines[position].real = Real::Over;
            self.lines[position].people.clear();
            self.note(format_args!("call {position} ends"));
            self.tells(position, CallState::Terminated);
        }
    }

    fn somebody_comes(&mut self, position: usize) {
        let id = format!("p{}", self.people);
        self.people += 1;
        self.note(format_args!("{id} joins call {position}"));
        self.lines[position].people.insert(id);
        self.tells_who_is_there(position);
    }

    fn leaves(&mut self, position: usize, id: &str) {
        self.lines[position].people.remove(id);
        self.note(format_args!("{id} leaves call {position}"));
        self.tells_who_is_there(position);
    }

    fn tells_who_is_there(&mut self, position: usize) {
        let people = self.lines[position].people.iter().map(|id| participant(id)).collect();
        let change = self.change(position, None);
        let roster = Some(RosterChange::Whole(people));
        self.news.push((position, CallChange { roster, ..change }));
    }

    /// Any of those on their way, and perhaps not for the last time.
    pub(super) fn news_arrive(&mut self) {
        if self.news.is_empty() {
            return;
        }
        self.events += 1;
        let which = self.dice.roll(self.news.len());
        let (position, change) = self.news.remove(which);
        if !self.is_calm && self.dice.one_in(6) {
            self.news.push((position, change.clone()));
        }
        let (now, passed, events) = (self.now(), self.passed, self.events);
        let line = &mut self.lines[position];
        if !line.is_imported {
            line.known_at.get_or_insert((events, passed, now));
        }
        line.was_begun |= change.created || change.state == Some(CallState::Incoming);
        line.was_numbered |= !change.parties.is_empty();
        let tenant = TenantId::new(&format!("tenant-{}", line.tenant + 1));
        self.note(format_args!("news of call {position}: {:?}", change.state));
        let now = self.clock.moment();
        let news = CallNews { tenant, app_id: None, changes: vec![change], now };
        apply::apply(self.connection(), &news).unwrap();
        self.check_armed_for(position);
        self.check_armed();
    }

    /// The registry asks for calls that it has not heard of for long.
    pub(super) fn graph_is_asked(&mut self) {
        let moment = self.clock.moment();
        for app in apps() {
            for look in reconcile::due(self.connection(), &app, moment, 3, &[]).unwrap() {
                let real = self.line_of(&look.graph_id.0).real;
                let end = match real {
                    _ if !self.is_calm && self.dice.one_in(4) => {
                        LookEnd::Failed { again_at: moment.wall + super::SECOND }
                    }
                    Real::Over => LookEnd::Gone,
                    _ => LookEnd::StillThere,
                };
                reconcile::looked(self.connection(), look.call, end, moment).unwrap();
            }
        }
    }

    pub(super) fn position_of(&self, graph_id: &str) -> usize {
        self.lines.iter().position(|line| line.id == graph_id).expect("Graph has no other calls")
    }

    pub(super) fn line_of(&self, graph_id: &str) -> &Line {
        &self.lines[self.position_of(graph_id)]
    }

    /// What Graph does with a request, and what becomes of its answer.
    pub(super) fn graph_answers(&mut self, leased: &Leased) -> Answer {
        let position = self.position_of(&leased.graph_id.0);
        let is_there = self.lines[position].real != Real::Over;
        let fault = if self.is_calm { 99 } else { self.dice.roll(16) };
        match fault {
            0 | 1 => {
                let wait = [0, 1_000, 7_000, 60_000, 7_200_000][self.dice.roll(5)];
                return Answer::Throttled(wait);
            }
            2 if is_there => return Answer::Refused,
            3 => return Answer::TenantFault,
            4 => return Answer::Unreachable,
            5 => return Answer::Lost,
            6 => return Answer::ServerError,
            _ => {}
        }
        let answer = self.graph_does(position, leased);
        match fault {
            7 => Answer::Lost,
            8 => Answer::ServerError,
            _ => answer,
        }
    }

    fn graph_does(&mut self, position: usize, leased: &Leased) -> Answer {
        let wanted = self.wanted_by(leased.deletion_id);
        match (&leased.order, self.lines[position].real) {
            (Order::Reject(_), Real::Runs) => {
                if self.is_calm || !self.dice.one_in(2) {
                    return Answer::NoCall;
                }
                self.lines[position].lied = true;
                self.meet("lied");
                Answer::Took
            }
            (_, Real::Over) => Answer::NoCall,
            (Order::Reject(_) | Order::HangUp, _) => {
                self.wanted[wanted].is_done = true;
                self.ends(position);
                Answer::Took
            }
            (Order::RemoveParticipant(id), _) => {
                if !self.lines[position].people.contains(id) {
                    return Answer::NoParticipant;
                }
                self.leaves(position, id);
                Answer::Took
            }
            (Order::Invite(_), _) => {
                self.wanted[wanted].is_done = true;
                let participant_id = self.dice.one_in(2).then(|| format!("p{}", self.people));
                self.somebody_comes(position);
                let operation_id = format!("operation-{wanted}");
                Answer::Invited(Invited { operation_id, participant_id, failed: None })
            }
            (Order::ReadRoster, _) => Answer::Roster(self.everybody(position)),
        }
    }

    /// Who is in the call, ourselves among them; or nobody, which Graph shows as well.
    fn everybody(&mut self, position: usize) -> InTheCall {
        let present = |id: &str, app_id: Option<String>| Present {
            participant_id: id.to_owned(),
            is_person: app_id.is_none(),
            app_id,
        };
        let people = &self.lines[position].people;
        let mut everybody: Vec<_> = people.iter().map(|id| present(id, None)).collect();
        everybody.push(present("me", Some(OURS.to_owned())));
        if !self.is_calm && self.dice.one_in(8) {
            everybody.clear();
        }
        InTheCall { client_id: Some(OURS.to_owned()), everybody }
    }
}

/// The tenants, each with our app.
pub(super) fn apps() -> Vec<Asking> {
    let app = |tenant| Asking { tenant: TenantId::new(tenant), client_id: OURS.to_owned() };
    ["tenant-1", "tenant-2"].map(app).into()
}

fn participant(id: &str) -> Participant {
    Participant {
        participant_id: id.to_owned(),
        raw: None,
        normalised: None,
        user_id: None,
        display_name: None,
        app_id: None,
        removed: false,
        sequence: None,
    }
}
