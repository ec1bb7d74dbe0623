//! A ringing call on its way through the journal, while the registry, the clock and Graph change under
//! it: what is sent is sent to this call, a reject only while it rings, and Graph takes one of both.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;

use super::super::model_test::{Dice, database, imported};
use super::super::{admit, apply, calls, lease, sender, settle};
use super::{still_rings, was_answered};
use crate::clock::Timestamp;
use crate::id::{DeletionId, GraphCallId, ProcessId, TenantId};
use crate::model::call::CallState;
use crate::model::chain::Personal;
use crate::model::change::CallChange;
use crate::model::deletion::{DeletionKind, DeletionState, Scope};
use crate::model::plan::{Operation, Question, RejectReason};
use crate::store::access::Checked;
use crate::store::admission::{
    Admission, Ask, AttemptEnd, Lease, Leased, Next, Selection, Settled,
};
use crate::store::fixture::{
    DEADLINE, LEASE, NOW, answered, api_key, by_call_id, event, over, selection_rules,
};
use crate::store::records::CallNews;

/// How many histories are told.
const HISTORIES: u64 = 1_500;
const SECOND: Duration = Duration::from_secs(1);

/// What Graph has of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Real {
    Rings,
    Runs,
    Over,
}

/// One history.
struct World<'c> {
    connection: &'c Connection,
    dice: Dice,
    now: Timestamp,
    real: Real,
    /// What Graph has told, and did not arrive yet.
    on_their_way: Vec<CallState>,
    recorded: bool,
    limit: Duration,
    held: Vec<Leased>,
    settled: Vec<Settled>,
    /// What Graph took.
    taken: Vec<Operation>,
    sent: Vec<(DeletionId, Operation)>,
    /// Graph said that it rejected the call, which had been answered.
    lied: bool,
    /// What was asked for.
    delete: Option<DeletionId>,
    reject: Option<DeletionId>,
}

#[test]
fn whatever_changes_meanwhile_nothing_is_rejected_that_rings_no_more_and_one_operation_succeeds() {
    let folder = tempfile::tempdir().unwrap();
    let connection = database(&folder);
    let mut met = [0; 11];
    for seed in 0..HISTORIES {
        connection.execute_batch("BEGIN").unwrap();
        let mut world = World::begin(&connection, Dice::new(seed));
        for _ in 0..60 {
            world.something_happens();
            world.the_sender_goes_on();
            if world.settled.len() >= world.asked() && !world.lied {
                break;
            }
        }
        world.everything_is_told();
        world.check(seed);
        for (count, happened) in met.iter_mut().zip(world.what_was_met()) {
            *count += usize::from(happened);
        }
        connection.execute_batch("ROLLBACK").unwrap();
    }
    assert!(met.iter().all(|count| *count >= 20), "{met:?}");
}

impl<'c> World<'c> {
    fn begin(connection: &'c Connection, mut dice: Dice) -> Self {
        let recorded = dice.one_in(3);
        let limit = SECOND * if recorded { 5 } else { 15 };
        let mut other = imported(1, "other");
        other.state = CallState::Incoming;
        let is_new = calls::Inserts::prepare(connection).unwrap().insert(connection, &other, NOW);
        assert!(is_new.unwrap());
        let mut world = Self {
            connection,
            dice,
            now: NOW,
            real: Real::Rings,
            on_their_way: Vec::new(),
            recorded,
            limit,
            held: Vec::new(),
            settled: Vec::new(),
            taken: Vec::new(),
            sent: Vec::new(),
            lied: false,
            delete: None,
            reject: None,
        };
        world.tell("call", Some(CallState::Incoming));
        world.something_happens();
        let asked = world.dice.roll(4);
        if asked == 0 || asked == 1 {
            world.reject = world.ask(DeletionKind::RejectCall(RejectReason::Busy));
        }
        if asked != 0 {
            world.delete = world.ask(DeletionKind::DeleteCall(Scope::Leg));
        }
        if asked == 2 {
            world.reject = world.ask(DeletionKind::RejectCall(RejectReason::Busy));
        }
        world
    }

    fn ask(&mut self, kind: DeletionKind) -> Option<DeletionId> {
        let lease = Lease::starting(ProcessId::random(), self.now, LEASE);
        let lease = (!self.dice.one_in(3)).then_some(lease);
        let selector = by_call_id("call");
        let ask = Ask {
            checked: Checked { generation: 5, key: Arc::new(api_key(1, 1)), session: None },
            question: Question {
                kind,
                now: self.now,
                status: None,
                dry_run: false,
                ended_is_success: false,
                client_id: None,
                sees_candidates: false,
            },
            selection: Selection::new(1, &[], selector, &selection_rules()),
            peer: String::new(),
            reason: None,
            now: self.now,
            deadline: self.now + DEADLINE,
            lease,
            audit: event(),
            personal: Personal::default(),
        };
        match admit::admit(self.connection, &ask).unwrap() {
            Admission::Decided(decided) => {
                self.held.extend(decided.leased);
                decided.recorded
            }
            Admission::AccessChanged => panic!("access has not changed"),
        }
    }

    /// The world, the clock, the news, or the process.
    fn something_happens(&mut self) {
        match self.dice.roll(12) {
            0 if self.real == Real::Rings => {
                self.real = Real::Runs;
                self.on_their_way.push(CallState::Established);
            }
            1 if self.dice.one_in(2) => self.ends(),
            2 | 3 => self.now = self.now + SECOND * u32::try_from(self.dice.roll(4)).unwrap(),
            4 => self.now = self.now + SECOND * 7,
            5 => self.tell("call", None),
            6 => self.tell("other", Some(CallState::Terminated)),
            7..=9 if !self.on_their_way.is_empty() => {
                let which = self.dice.roll(self.on_their_way.len());
                let state = self.on_their_way.remove(which);
                self.tell("call", Some(state));
            }
            10 if self.dice.one_in(3) => {
                self.held.clear();
                sender::take_over(self.connection, ProcessId::random(), self.now).unwrap();
            }
            _ => {}
        }
    }

    fn ends(&mut self) {
        if self.real != Real::Over {
            self.real = Real::Over;
            self.on_their_way.push(CallState::Terminated);
        }
    }

    fn tell(&mut self, graph_id: &str, state: Option<CallState>) {
        let observed = self.recorded.then(|| "observed".to_owned());
        let change =
            CallChange { state, observed, ..CallChange::of(GraphCallId(graph_id.to_owned())) };
        let tenant = TenantId::new("tenant-1");
        let news = CallNews { tenant, app_id: None, changes: vec![change], now: self.now };
        apply::apply(self.connection, &news).unwrap();
    }

    /// What the sender does next: lease, or look again, send, judge and settle.
    fn the_sender_goes_on(&mut self) {
        if self.held.is_empty() || self.dice.one_in(3) {
            let lease = Lease::starting(ProcessId::random(), self.now, LEASE);
            let sending: Vec<_> = self.held.iter().map(|leased| leased.step).collect();
            let due = sender::lease_due(self.connection, self.now, lease, 4, &sending).unwrap();
            self.held.extend(due.leased);
            self.settled.extend(due.over);
            return;
        }
        let which = self.dice.roll(self.held.len());
        let leased = self.held.remove(which);
        assert!(self.held.is_empty(), "two are sent at once");
        if leased.order.operation() == Operation::Reject
            && still_rings(self.connection, leased.step, self.now).unwrap().is_none()
        {
            settle::give_back(self.connection, &leased, self.now, self.now).unwrap();
            return;
        }
        let end = self.send(&leased);
        if self.dice.one_in(3) {
            self.something_happens();
        }
        self.settled.extend(settle::settle(self.connection, &leased, &end).unwrap());
    }

    fn send(&mut self, leased: &Leased) -> AttemptEnd {
        assert_eq!(leased.graph_id.0, "call", "another call");
        if leased.order.operation() == Operation::Reject {
            assert!(self.now < NOW + self.limit && self.now < leased.deadline, "rejected late");
            let known: String = self
                .connection
                .query_row("SELECT state FROM calls WHERE graph_id = 'call'", (), |row| row.get(0))
                .unwrap();
            assert_eq!(known, "incoming", "rejected although it was known to ring no more");
        }
        self.sent.push((leased.deletion_id, leased.order.operation()));
        let fault = self.dice.roll(6);
        if fault == 0 {
            let again = self.now + SECOND * u32::try_from(1 + self.dice.roll(6)).unwrap();
            return answered(self.now, 429, Next::At(again));
        }
        let takes = match leased.order.operation() {
            Operation::Reject => self.real == Real::Rings && self.now < NOW + self.limit,
            _ => self.real != Real::Over,
        };
        if fault == 3 && self.real == Real::Runs && leased.order.operation() == Operation::Reject {
            self.lied = true;
            return answered(self.now, 202, over(DeletionState::Sent, None, false));
        }
        if takes && fault != 1 {
            self.ends();
            self.taken.push(leased.order.operation());
        }
        if fault <= 2 {
            // The answer is lost, or the request.
            let again = self.now + SECOND;
            return AttemptEnd { status: None, ..answered(self.now, 500, Next::At(again)) };
        }
        if takes {
            return answered(self.now, 204, over(DeletionState::Sent, None, false));
        }
        let effect = lease::effect_possible(self.connection, leased.step, leased.attempt).unwrap();
        let was_answered = was_answered(self.connection, leased.step).unwrap();
        let next = match leased.order.operation() {
            Operation::Reject if effect || was_answered => Next::Replan,
            Operation::HangUp if effect => over(DeletionState::Gone, None, true),
            _ => over(DeletionState::Failed, Some("never there"), true),
        };
        answered(self.now, 404, next)
    }

    /// Every news arrives in the end, and what is due then is sent.
    fn everything_is_told(&mut self) {
        for _ in 0..30 {
            for state in std::mem::take(&mut self.on_their_way) {
                self.tell("call", Some(state));
            }
            self.now = self.now + SECOND;
            self.the_sender_goes_on();
        }
    }

    /// How the deletion stands now.
    fn stands(&self, deletion: Option<DeletionId>) -> Option<DeletionState> {
        let state: String = self
            .connection
            .query_row(
                "SELECT state FROM deletions WHERE deletion_id = ?1",
                [deletion?.to_string()],
                |row| row.get(0),
            )
            .unwrap();
        Some(state.parse().unwrap())
    }

    /// How many deletions were recorded.
    fn asked(&self) -> usize {
        usize::from(self.delete.is_some()) + usize::from(self.reject.is_some())
    }

    fn sent_for(&self, deletion: Option<DeletionId>) -> Vec<Operation> {
        let ours = self.sent.iter().filter(|(id, _)| Some(*id) == deletion);
        ours.map(|(_, operation)| *operation).collect()
    }

    fn end_of(&self, deletion: Option<DeletionId>) -> Option<DeletionState> {
        let ours = self.settled.iter().rfind(|settled| Some(settled.deletion_id) == deletion);
        ours.map(|settled| settled.state)
    }

    fn what_was_met(&self) -> [bool; 11] {
        use DeletionState::{Failed, Gone, Obsolete, Sent, Unknown};
        let sent = self.sent_for(self.delete);
        let (deleted, rejected) = (self.end_of(self.delete), self.end_of(self.reject));
        [
            sent == [Operation::Reject] && deleted == Some(Sent),
            sent == [Operation::HangUp] && deleted == Some(Sent),
            sent.starts_with(&[Operation::Reject, Operation::HangUp]),
            sent.starts_with(&[Operation::Reject, Operation::Reject]),
            deleted == Some(Gone),
            deleted == Some(Failed),
            rejected == Some(Sent),
            rejected == Some(Obsolete),
            rejected == Some(Unknown),
            deleted == Some(Gone) && rejected == Some(Sent),
            self.lied && sent.contains(&Operation::HangUp),
        ]
    }

    fn check(&self, seed: u64) {
        let told = format!(
            "seed {seed}: sent {:?}, taken {:?}, ends {:?}",
            self.sent, self.taken, self.settled
        );
        assert!(self.taken.len() <= 1, "{told}");
        assert!(!self.sent_for(self.reject).contains(&Operation::HangUp), "{told}");
        // Nobody is told that it is over while the call goes on, once that is known.
        for deletion in [self.delete, self.reject] {
            let is_over = self.stands(deletion).is_some_and(DeletionState::is_taken);
            assert!(!is_over || self.real == Real::Over, "{told}");
        }
        let ended = self.stands(self.delete);
        assert!(ended.is_none_or(|_| self.real == Real::Over), "{told}");
        let is_hung_up = self.taken.contains(&Operation::HangUp);
        let rejected = self.stands(self.reject).is_some_and(DeletionState::is_taken);
        assert!(!is_hung_up || !rejected, "{told}");
        let successes = self.settled.iter().filter(|settled| {
            matches!(settled.state, DeletionState::Sent | DeletionState::Confirmed)
        });
        for settled in successes {
            assert!(self.taken.len() == 1 || self.lied, "{told}");
            let sent = self.sent_for(Some(settled.deletion_id));
            assert!(sent.contains(&settled.operation.unwrap()), "{told}");
        }
    }
}
