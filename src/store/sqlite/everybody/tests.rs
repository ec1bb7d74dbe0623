//! A group call on its way through the journal, while people come and go, news are late, holds are set,
//! answers are lost and the process stops: single removals, invitations, `scope=all` and our own leg.

mod graph;

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, params};

use super::super::model_test::{Dice, database, imported};
use super::super::{admit, apply, calls, sender, settle};
use crate::clock::Timestamp;
use crate::id::{DeletionId, GraphCallId, ProcessId, TenantId};
use crate::model::chain::Personal;
use crate::model::change::{CallChange, Participant, RosterChange};
use crate::model::deletion::{DeletionKind, Scope};
use crate::model::participant::{Invitation, ParticipantSelector};
use crate::model::plan::{Order, Question};
use crate::store::access::Checked;
use crate::store::admission::{Admission, Ask, AttemptEnd, Lease, Leased, Settled};
use crate::store::fixture::{DEADLINE, LEASE, NOW, api_key, by_call_id, event, selection_rules};
use crate::store::records::CallNews;

/// How many histories are told.
const HISTORIES: u64 = 1_000;
const SECOND: Duration = Duration::from_secs(1);
const OURS: &str = "2891555a-92ff-42e6-80fa-6e1300c6b5c6";

/// One history.
struct World<'c> {
    connection: &'c Connection,
    seed: u64,
    dice: Dice,
    now: Timestamp,
    /// Who is in the call, as Graph knows.
    people: BTreeSet<String>,
    /// Our leg, as Graph knows.
    is_there: bool,
    came: usize,
    /// What Graph has told of the roster, and did not arrive yet.
    on_their_way: Vec<Vec<String>>,
    held: Vec<Leased>,
    /// Those whose lease was lost with the process, or lapsed; their answers may still come.
    lost: Vec<(Leased, AttemptEnd)>,
    /// Invitations that have arrived at Graph.
    invited: HashSet<DeletionId>,
    settled: Vec<Settled>,
    hung_up: bool,
}

#[test]
fn whatever_comes_between_only_what_was_asked_for_is_sent_and_everything_comes_to_an_end() {
    let folder = tempfile::tempdir().unwrap();
    let connection = database(&folder);
    let mut met = [0; 8];
    for seed in 0..HISTORIES {
        connection.execute_batch("BEGIN").unwrap();
        let mut world = World::begin(&connection, seed);
        for _ in 0..50 {
            world.something_happens();
            world.the_sender_goes_on();
        }
        world.comes_to_an_end();
        for (count, happened) in met.iter_mut().zip(world.what_was_met()) {
            *count += usize::from(happened);
        }
        connection.execute_batch("ROLLBACK").unwrap();
    }
    assert!(met.iter().all(|count| *count >= 20), "{met:?}");
}

impl<'c> World<'c> {
    fn begin(connection: &'c Connection, seed: u64) -> Self {
        let mut inserts = calls::Inserts::prepare(connection).unwrap();
        for id in ["call", "other"] {
            assert!(inserts.insert(connection, &imported(1, id), NOW).unwrap());
        }
        let mut world = Self {
            connection,
            seed,
            dice: Dice::new(seed),
            now: NOW,
            people: BTreeSet::new(),
            is_there: true,
            came: 0,
            on_their_way: Vec::new(),
            held: Vec::new(),
            lost: Vec::new(),
            invited: HashSet::new(),
            settled: Vec::new(),
            hung_up: false,
        };
        for _ in 0..=world.dice.roll(3) {
            world.somebody_comes();
        }
        if !world.dice.one_in(4) {
            world.news_arrive();
        }
        world
    }

    fn told(&self) -> String {
        format!("seed {}: people {:?}, ends {:?}", self.seed, self.people, self.settled)
    }

    fn count(&self, sql: &str) -> i64 {
        self.connection.query_row(sql, (), |row| row.get(0)).unwrap()
    }

    fn ask(&mut self) {
        let kind = match self.dice.roll(7) {
            0..=2 => {
                let most = u32::try_from(2 + self.dice.roll(6)).unwrap();
                DeletionKind::DeleteCall(Scope::All { most })
            }
            3 | 4 => {
                let id = format!("p{}", self.dice.roll(self.came + 1));
                DeletionKind::DeleteParticipant(ParticipantSelector::Id(id))
            }
            5 => DeletionKind::InviteParticipant(Invitation {
                user_id: format!("user-{}", self.dice.roll(2)),
                user_tenant: None,
                replaces: self.dice.one_in(3).then(|| "other".to_owned()),
                context: None,
            }),
            _ if self.dice.one_in(2) => DeletionKind::DeleteCall(Scope::Leg),
            _ => return,
        };
        let lease = Lease::starting(ProcessId::random(), self.now, LEASE);
        let key = api_key(1, 1);
        let selection = selection_rules().select_for(&key, by_call_id("call"), &kind);
        let ask = Ask {
            checked: Checked { generation: 5, key: Arc::new(key), session: None },
            question: Question {
                kind,
                now: self.now,
                status: None,
                dry_run: false,
                ended_is_success: false,
                client_id: Some(OURS.to_owned()),
                sees_candidates: false,
            },
            selection,
            peer: String::new(),
            reason: None,
            now: self.now,
            deadline: self.now + DEADLINE,
            lease: (!self.dice.one_in(3)).then_some(lease),
            audit: event(),
            personal: Personal::default(),
        };
        let Admission::Decided(decided) = admit::admit(self.connection, &ask).unwrap() else {
            panic!("access has not changed")
        };
        self.settled.extend(decided.superseded);
        self.held.extend(decided.leased);
    }

    /// Those in the call, the clock, the news, the operator, or the process.
    fn something_happens(&mut self) {
        match self.dice.roll(16) {
            0..=2 => self.ask(),
            3 if self.is_there => self.somebody_comes(),
            4 if self.dice.one_in(2) => {
                if let Some(id) = self.people.iter().next().cloned() {
                    self.leaves(&id);
                }
            }
            5..=7 => self.news_arrive(),
            8 | 9 => self.now = self.now + SECOND * u32::try_from(self.dice.roll(4)).unwrap(),
            10 if self.dice.one_in(4) => self.the_process_stops(),
            11 if self.dice.one_in(4) => self.leases_lapse(),
            12 if self.dice.one_in(4) => self.set_hold("all", ""),
            13 if self.dice.one_in(4) => self.set_hold("call", "other"),
            14 => {
                let sql = "UPDATE holds SET lifted_at = 1";
                self.connection.execute_batch(sql).unwrap();
            }
            15 if !self.lost.is_empty() => {
                let (leased, end) = self.lost.remove(0);
                self.settle(&leased, &end);
            }
            _ => {}
        }
    }

    fn somebody_comes(&mut self) {
        self.people.insert(format!("p{}", self.came));
        self.came += 1;
        self.on_their_way.push(self.people.iter().cloned().collect());
    }

    fn leaves(&mut self, id: &str) {
        self.people.remove(id);
        self.on_their_way.push(self.people.iter().cloned().collect());
    }

    fn news_arrive(&mut self) {
        if self.on_their_way.is_empty() {
            return;
        }
        let which = self.dice.roll(self.on_their_way.len());
        let people = self.on_their_way.remove(which);
        let roster = Some(RosterChange::Whole(people.iter().map(|id| participant(id)).collect()));
        let change = CallChange { roster, ..CallChange::of(GraphCallId("call".to_owned())) };
        let tenant = TenantId::new("tenant-1");
        let news = CallNews { tenant, app_id: None, changes: vec![change], now: self.now };
        apply::apply(self.connection, &news).unwrap();
    }

    fn set_hold(&mut self, kind: &str, value: &str) {
        let id = format!("hold-{}", self.count("SELECT count(*) FROM holds"));
        self.connection
            .execute(
                "INSERT INTO holds (hold_id, tenant, kind, value, set_by, set_at) \
                 VALUES (?1, 1, ?2, ?3, 'me', 1)",
                params![id, kind, value],
            )
            .unwrap();
    }

    fn the_process_stops(&mut self) {
        for leased in std::mem::take(&mut self.held) {
            self.is_lost(leased);
        }
        sender::take_over(self.connection, ProcessId::random(), self.now).unwrap();
    }

    fn leases_lapse(&mut self) {
        for leased in std::mem::take(&mut self.held) {
            self.is_lost(leased);
        }
        self.now = self.now + LEASE;
    }

    /// It was sent or was not, and nobody waits for the answer.
    fn is_lost(&mut self, leased: Leased) {
        if self.dice.one_in(2) {
            let end = self.send(&leased);
            self.lost.push((leased, end));
        }
    }

    /// What the sender does next: lease, give back, or send, judge and settle.
    fn the_sender_goes_on(&mut self) {
        if self.held.is_empty() || self.dice.one_in(3) {
            let lease = Lease::starting(ProcessId::random(), self.now, LEASE);
            let sending: Vec<_> = self.held.iter().map(|leased| leased.step).collect();
            let due = sender::lease_due(self.connection, self.now, lease, 3, &sending).unwrap();
            self.held.extend(due.leased);
            self.settled.extend(due.over);
            return;
        }
        let which = self.dice.roll(self.held.len());
        let leased = self.held.remove(which);
        if self.dice.one_in(9) {
            let later = self.now + SECOND;
            settle::give_back(self.connection, &leased, self.now, later).unwrap();
            return;
        }
        let end = self.send(&leased);
        if self.dice.one_in(3) {
            self.something_happens();
        }
        self.settle(&leased, &end);
    }

    fn settle(&mut self, leased: &Leased, end: &AttemptEnd) {
        self.settled.extend(settle::settle(self.connection, leased, end).unwrap());
    }

    /// Nothing is sent that was not recorded, nor for another call or another target.
    fn may_be_sent(&self, leased: &Leased) {
        let told = format!("{} {leased:?}", self.told());
        assert_eq!(leased.graph_id.0, "call", "{told}");
        let (target, kind, state): (Option<String>, String, String) = self
            .connection
            .query_row(
                "SELECT s.target, d.kind, s.operation FROM steps AS s \
                 JOIN deletions AS d ON d.deletion = s.deletion \
                 JOIN attempts AS a ON a.deletion = s.deletion AND a.position = s.position \
                 WHERE s.deletion = ?1 AND s.position = ?2 AND a.number = ?3 \
                 AND a.answered_at IS NULL AND d.deletion_id = ?4",
                params![
                    leased.step.deletion,
                    leased.step.position,
                    leased.attempt,
                    leased.deletion_id.to_string()
                ],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )
            .expect(&told);
        assert_eq!(state, leased.order.operation().as_str(), "{told}");
        match &leased.order {
            Order::RemoveParticipant(id) => {
                assert_eq!(target.as_deref(), Some(id.as_str()), "{told}");
            }
            Order::Invite(_) => {
                assert_eq!(kind, "InviteParticipant", "{told}");
                assert!(!self.invited.contains(&leased.deletion_id), "invited twice: {told}");
            }
            Order::HangUp if leased.is_part => self.everybody_was_removed(leased, &told),
            Order::HangUp | Order::ReadRoster => assert_eq!(kind, "DeleteCall", "{told}"),
            Order::Reject(_) => panic!("nothing rings: {told}"),
        }
    }

    fn everybody_was_removed(&self, leased: &Leased, told: &str) {
        let mut statement = self
            .connection
            .prepare("SELECT target, state FROM steps WHERE deletion = ?1 AND target IS NOT NULL")
            .unwrap();
        let rows = statement
            .query_map([leased.step.deletion], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
            })
            .unwrap();
        for (target, state) in rows.map(Result::unwrap) {
            assert!(["sent", "gone"].contains(&state.as_str()), "{target} {state}: {told}");
            assert!(!self.people.contains(&target), "{target} is there: {told}");
        }
    }

    /// Past every deadline, nothing is open any more.
    fn comes_to_an_end(&mut self) {
        self.held.clear();
        self.now = self.now + DEADLINE + LEASE;
        for _ in 0..40 {
            let lease = Lease::starting(ProcessId::random(), self.now, LEASE);
            let due = sender::lease_due(self.connection, self.now, lease, 9, &[]).unwrap();
            assert!(due.leased.is_empty(), "{} {:?}", self.told(), due.leased);
            self.settled.extend(due.over);
            self.now = self.now + SECOND;
        }
        let open = "SELECT count(*) FROM deletions WHERE state = 'open'";
        assert_eq!(self.count(open), 0, "{}", self.told());
        let open = "SELECT count(*) FROM steps WHERE state = 'open'";
        assert_eq!(self.count(open), 0, "{}", self.told());
        let all = usize::try_from(self.count("SELECT count(*) FROM deletions")).unwrap();
        assert_eq!(self.settled.len(), all, "each is told once: {}", self.told());
        // Nobody is told that the call is over while our leg is in it.
        let taken = "SELECT count(*) FROM deletions WHERE kind = 'DeleteCall' \
                     AND state IN ('sent', 'confirmed', 'gone')";
        assert!(self.count(taken) == 0 || self.hung_up, "{}", self.told());
    }

    fn what_was_met(&self) -> [bool; 8] {
        let met = |condition: &str| {
            self.count(&format!("SELECT count(*) FROM deletions WHERE {condition}")) > 0
        };
        [
            met("scope = 'all' AND state IN ('sent', 'confirmed', 'gone')"),
            met("scope = 'all' AND state = 'failed' AND failure = 'refused'"),
            met("scope = 'all' AND state = 'held'"),
            met("scope = 'all' AND state = 'unknown'"),
            met("kind = 'DeleteParticipant' AND state = 'confirmed'"),
            met("kind = 'DeleteParticipant' AND state = 'obsolete'"),
            met("kind = 'InviteParticipant' AND state = 'sent'"),
            met("kind = 'InviteParticipant' AND state = 'unknown'"),
        ]
    }
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
