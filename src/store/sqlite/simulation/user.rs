//! Those who ask for deletions, in every way in which they may, and take back what they asked for.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use rusqlite::params;

use super::World;
use super::graph::NUMBERS;
use crate::id::DeletionId;
use crate::model::chain::Personal;
use crate::model::deletion::{DeletionKind, Scope};
use crate::model::participant::{Invitation, ParticipantSelector};
use crate::model::plan::{Decision, Operation, Question, RejectReason};
use crate::model::selector::Selector;
use crate::store::Standing;
use crate::store::access::Checked;
use crate::store::admission::{Admission, Ask, Claim, Decided, Lease};
use crate::store::fixture::{DEADLINE, LEASE, by_call_id, by_number, event, selection_rules};
use crate::store::sqlite::{admit, keys, sender as store};

/// A request, as it may be repeated.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// Which of the four keys; two are of each tenant.
    key: usize,
    selector: Selector,
    kind: DeletionKind,
    number: Option<&'static str>,
}

/// A deletion that was recorded.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Wanted {
    pub(super) id: DeletionId,
    pub(super) tenant: usize,
    pub(super) kind: DeletionKind,
    /// Its call; none yet for one that is armed.
    pub(super) line: Option<usize>,
    /// For whose next call it was armed: the number, the event, and when.
    pub(super) armed: Option<(&'static str, usize, i64)>,
    /// Withdrawn or cancelled.
    pub(super) is_stopped: bool,
    /// A request of it that has an effect was sent.
    pub(super) was_sent: bool,
    /// Graph did what it is for.
    pub(super) is_done: bool,
    /// What Graph has said that it has done, as we were told by the one who had the lease.
    pub(super) confirmed: BTreeSet<(&'static str, Option<String>)>,
    /// The same, by whomever.
    pub(super) is_accepted: bool,
    /// When its steps may be sent again, by the clock that nobody sets.
    pub(super) not_before: HashMap<i64, i64>,
    /// As [`Wanted::not_before`], of all that was sent before an operator tried it again.
    pub(super) retried_not_before: i64,
    /// Somebody was told how it ended.
    pub(super) was_told: bool,
}

impl World<'_> {
    pub(super) fn wanted_by(&self, id: DeletionId) -> usize {
        self.wanted.iter().position(|wanted| wanted.id == id).expect("somebody wanted it")
    }

    pub(super) fn generation_now(&self) -> i64 {
        self.count("SELECT generation FROM access_generation")
    }

    pub(super) fn somebody_asks(&mut self) {
        let asked = if !self.asked.is_empty() && self.dice.one_in(4) {
            self.asked[self.dice.roll(self.asked.len())].clone()
        } else {
            self.anew()
        };
        self.ask(&asked);
        self.asked.push(asked);
    }

    fn anew(&mut self) -> Asked {
        let last = self.wanted.iter().rev().find_map(|wanted| wanted.line);
        let any = self.dice.roll(self.lines.len());
        let position = last.filter(|_| self.dice.one_in(3)).unwrap_or(any);
        let tenant = self.lines[position].tenant;
        let key = tenant * 2 + self.dice.roll(2);
        if self.dice.one_in(4) {
            let number = NUMBERS[self.dice.roll(2)];
            let kind = match self.dice.roll(4) {
                0 => DeletionKind::RejectCall(RejectReason::Busy),
                1 => DeletionKind::DeleteCall(Scope::All { most: 3 }),
                _ => DeletionKind::DeleteCall(Scope::Leg),
            };
            return Asked { key, selector: by_number(number, "next"), kind, number: Some(number) };
        }
        let selector = by_call_id(&self.lines[position].id);
        Asked { key, selector, kind: self.kind(position), number: None }
    }

    fn kind(&mut self, position: usize) -> DeletionKind {
        match self.dice.roll(9) {
            0 | 1 => DeletionKind::DeleteCall(Scope::Leg),
            2 | 3 => DeletionKind::DeleteCall(Scope::All { most: [1, 4, 9][self.dice.roll(3)] }),
            4 => DeletionKind::RejectCall(RejectReason::Busy),
            5 | 6 => {
                let there = self.lines[position].people.iter().nth(self.dice.roll(3)).cloned();
                let id =
                    there.unwrap_or_else(|| format!("p{}", self.dice.roll(self.people.max(1))));
                DeletionKind::DeleteParticipant(ParticipantSelector::Id(id))
            }
            _ => DeletionKind::InviteParticipant(Invitation {
                user_id: format!("user-{}", self.dice.roll(2)),
                user_tenant: None,
                replaces: self
                    .dice
                    .one_in(3)
                    .then(|| format!("plain-{}", self.lines[position].tenant)),
                context: None,
            }),
        }
    }

    fn ask(&mut self, asked: &Asked) {
        // Whoever was checked before the keys changed is checked again.
        let is_stale = self.revoked.iter().any(|revoked| *revoked) && self.dice.one_in(3);
        if self.revoked[asked.key] && !is_stale {
            return;
        }
        let ask = self.question(asked, is_stale);
        match admit::admit(self.connection(), &ask).unwrap() {
            Admission::AccessChanged => {
                self.demand(self.revoked[asked.key], "turned away", &asked.kind);
                self.meet("not decided: access changed");
            }
            Admission::Decided(decided) => {
                self.demand(!self.revoked[asked.key], "decided for a revoked key", &asked.kind);
                self.decided(asked, &ask, *decided);
            }
        }
    }

    fn question(&mut self, asked: &Asked, is_stale: bool) -> Ask {
        let now = self.now();
        let (key, generation) = if is_stale {
            (self.keys[asked.key].clone(), self.generation)
        } else {
            let row = i64::try_from(asked.key).unwrap() + 1;
            (keys::key(self.connection(), row).unwrap().unwrap(), self.generation_now())
        };
        let begins = self.is_open(asked.key / 2) && !self.dice.one_in(3);
        let lease = begins.then(|| Lease::starting(self.process, now, LEASE));
        let kind = asked.kind.clone();
        Ask {
            selection: selection_rules().select_for(&key, asked.selector.clone(), &kind),
            checked: Checked { generation, key: Arc::new(key), session: None },
            deadline: now + kind.tried_for(DEADLINE),
            question: Question {
                kind,
                now,
                status: asked.selector.status.clone(),
                may_arm: asked.number.is_some(),
                dry_run: self.dice.one_in(12),
                ended_is_success: false,
                client_id: Some(super::OURS.to_owned()),
                sees_candidates: false,
            },
            peer: String::new(),
            reason: None,
            now,
            steady: self.clock.moment().steady,
            lease,
            audit: event(),
            personal: Personal::default(),
        }
    }

    fn decided(&mut self, asked: &Asked, ask: &Ask, decided: Decided) {
        if !matches!(decided.decision, Decision::Refuse { .. }) {
            self.records += 1;
        }
        if let Some(superseded) = &decided.superseded {
            self.meet("superseded");
            self.is_told(superseded);
        }
        let (joined, line) = match &decided.decision {
            Decision::Admit { call, .. } => {
                let position = self.position_of(&call.call.graph_id.0);
                let is_named = asked.selector.call_id.as_ref() == Some(&self.lines[position].id);
                self.demand(is_named, "another call was found", asked);
                self.demand(
                    !self.is_held(position, &asked.kind),
                    "admitted although it is held",
                    asked,
                );
                (None, Some(position))
            }
            Decision::Join(earlier) => (Some(earlier.deletion_id), None),
            Decision::JoinArmed(id) => {
                self.meet("joined an armed one");
                (Some(*id), None)
            }
            Decision::Refuse { .. } => return self.meet("refused"),
            _ => (None, None),
        };
        let id = decided.recorded.or(joined.filter(|_| !ask.question.dry_run));
        if let Some((deletion, number)) = id.zip(decided.claim) {
            self.claims.push(Claim { deletion, number });
        }
        if joined.is_some() {
            self.meet("joined");
        }
        let Some(id) = decided.recorded else { return };
        self.demand(!ask.question.dry_run, "recorded by a dry run", asked);
        let is_armed = matches!(decided.decision, Decision::Arm);
        let number = asked.number.filter(|_| is_armed);
        self.events += 1;
        self.note(format_args!("{} is recorded: {asked:?}", self.wanted.len()));
        self.wanted.push(Wanted {
            id,
            tenant: asked.key / 2,
            kind: asked.kind.clone(),
            line,
            armed: number.map(|number| (number, self.events, self.passed)),
            is_stopped: false,
            was_sent: false,
            is_done: false,
            confirmed: BTreeSet::new(),
            is_accepted: false,
            not_before: HashMap::new(),
            retried_not_before: 0,
            was_told: false,
        });
        if let Some(leased) = decided.leased {
            self.is_leased(leased);
        }
    }

    /// Somebody who waits for an answer goes away, is told to wait no longer, or is answered with an error,
    /// so that what he asked for must not begin any more.
    pub(super) fn a_caller_goes_away(&mut self) {
        if self.claims.is_empty() {
            return;
        }
        let claim = self.claims[self.dice.roll(self.claims.len())];
        let column = match self.dice.roll(3) {
            0 => return self.withdraw(claim.deletion),
            1 => "answered_at",
            _ => {
                self.meet("abandoned");
                "abandoned_at"
            }
        };
        let sql =
            format!("UPDATE deletions SET {column} = ?3 WHERE deletion_id = ?1 AND claims = ?2");
        let values = params![claim.deletion.to_string(), claim.number, self.now().0];
        self.connection().execute(&sql, values).unwrap();
    }

    fn withdraw(&mut self, id: DeletionId) {
        let wanted = self.wanted_by(id);
        let standing = store::withdraw(self.connection(), id, self.now()).unwrap();
        self.note(format_args!("the caller of {wanted} is answered with an error"));
        if let Standing::Withdrawn(settled) = standing {
            self.demand(!self.wanted[wanted].was_sent, "withdrawn although it was sent", &wanted);
            self.wanted[wanted].is_stopped = true;
            self.meet("withdrawn");
            self.is_told(&settled);
        }
    }
}

/// Whether a request of this kind sends this.
pub(super) fn sends(kind: &DeletionKind, operation: Operation) -> bool {
    match kind {
        DeletionKind::RejectCall(_) => operation == Operation::Reject,
        DeletionKind::DeleteCall(Scope::Leg) => {
            matches!(operation, Operation::Reject | Operation::HangUp)
        }
        DeletionKind::DeleteCall(Scope::All { .. }) => operation != Operation::Invite,
        DeletionKind::DeleteParticipant(_) => operation == Operation::RemoveParticipant,
        DeletionKind::InviteParticipant(_) => operation == Operation::Invite,
    }
}
