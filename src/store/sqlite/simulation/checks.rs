//! What is demanded of every step and of the end.

use std::fmt::Debug;

use rusqlite::{Connection, params};

use super::World;
use super::graph::Real;
use super::sender::{Request, Worker};
use super::user::{Wanted, sends};
use crate::model::deletion::{DeletionKind, DeletionState, LEG_ASKED_FOR};
use crate::model::participant::ParticipantSelector;
use crate::model::plan::{Operation, Order};
use crate::store::admission::{Leased, Settled, StepRef};
use crate::store::fixture::LEASE;

/// For so many milliseconds a deletion is armed.
const ARMED_FOR: i64 = 60_000;
/// How one ends whose key counts no longer when its call begins, or its turn comes.
const SHUT_OUT: &str = "its key was revoked or expired before ";

impl World<'_> {
    /// Fails by this name unless it is so.
    pub(super) fn demand(&self, is_so: bool, name: &str, about: &dyn Debug) {
        assert!(is_so, "{name}: {about:?}, seed {}", self.seed);
    }

    pub(super) fn fence_now(&self, step: StepRef) -> i64 {
        let sql = "SELECT fence FROM steps WHERE deletion = ?1 AND position = ?2";
        let values = params![step.deletion, step.position];
        self.one(sql, values)
    }

    /// A hold stands on the call, or on the one that an invitation drops.
    pub(super) fn is_held(&self, line: usize, kind: &DeletionKind) -> bool {
        let tenant = self.lines[line].tenant;
        let mut calls = vec![line];
        if let DeletionKind::InviteParticipant(invitation) = kind {
            calls.extend(invitation.replaces.as_ref().map(|id| self.position_of(id)));
        }
        calls.iter().any(|call| self.holds.iter().any(|hold| hold.covers(tenant, *call)))
    }

    /// Nothing is leased that may not be sent now.
    pub(super) fn check_lease(&self, leased: &Leased) {
        let wanted = &self.wanted[self.wanted_by(leased.deletion_id)];
        let line = self.position_of(&leased.graph_id.0);
        let tenant = self.lines[line].tenant;
        self.demand(!self.is_held(line, &wanted.kind), "leased although it is held", leased);
        let is_paused = self.paused[tenant] || self.paused[2];
        self.demand(!is_paused, "leased although it is paused", leased);
        self.demand(!wanted.is_stopped, "leased after it was stopped", leased);
        let lease = i64::try_from(LEASE.as_millis()).unwrap();
        let has_it = |worker: &Worker| {
            worker.leased.step == leased.step
                && !worker.is_void
                && self.passed < worker.began + lease
        };
        let flying = self.flying.iter().map(|(worker, _)| worker);
        let lost = self.lost.iter().map(|(worker, _)| worker);
        let is_twice = self.held.iter().chain(flying).chain(lost).any(has_it);
        self.demand(!is_twice, "leased by two", leased);
    }

    /// What is sent was asked for, is on disk, and may be sent.
    pub(super) fn check_sending(&mut self, worker: &Worker) {
        let leased = &worker.leased;
        let position = self.wanted_by(leased.deletion_id);
        self.check_record(leased);
        self.check_target(leased, &self.wanted[position]);
        let wanted = &self.wanted[position];
        self.demand(!wanted.is_stopped, "sent after it was stopped", leased);
        let waits = wanted.not_before.get(&leased.step.position).copied().unwrap_or_default();
        let waits = waits.max(wanted.retried_not_before);
        self.demand(waits <= self.passed, "sent before Retry-After", leased);
        let kept = self.kept.get(&self.request(leased)).copied().unwrap_or_default();
        let is_known = kept.told < worker.began;
        self.demand(
            !is_known || kept.until <= self.passed,
            "asked anew before Retry-After",
            leased,
        );
        let lease = i64::try_from(LEASE.as_millis()).unwrap();
        self.demand(self.passed < worker.began + lease, "sent without its lease", leased);
        let target = leased.order.target().map(str::to_owned);
        let operation = leased.order.operation();
        let again = wanted.confirmed.contains(&(operation.as_str(), target));
        let is_reject = operation == Operation::Reject;
        self.demand(!again || is_reject, "sent again after Graph confirmed it", leased);
        let is_invited = operation == Operation::Invite && wanted.is_done;
        self.demand(!is_invited, "invited twice although it is done", leased);
        if is_reject {
            self.check_ringing(leased);
        }
        if leased.is_part && operation == Operation::HangUp {
            self.check_everybody_was_removed(leased);
        }
        self.wanted[position].was_sent |= operation != Operation::ReadRoster;
    }

    /// What Graph is asked, whichever deletion it is for.
    pub(super) fn request(&self, leased: &Leased) -> Request {
        let target = leased.order.target().map(str::to_owned);
        (self.position_of(&leased.graph_id.0), leased.order.operation().as_str(), target)
    }

    fn check_record(&self, leased: &Leased) {
        let found: Result<(String, Option<String>, String, String), _> =
            self.connection().query_row(
                "SELECT s.operation, s.target, c.graph_id, t.tenant_id FROM steps AS s \
             JOIN deletions AS d ON d.deletion = s.deletion JOIN calls AS c ON c.call = d.call \
             JOIN tenants AS t ON t.tenant = c.tenant \
             JOIN attempts AS a ON a.deletion = s.deletion AND a.position = s.position \
             WHERE s.deletion = ?1 AND s.position = ?2 AND a.number = ?3 \
             AND a.answered_at IS NULL AND d.deletion_id = ?4",
                params![
                    leased.step.deletion,
                    leased.step.position,
                    leased.attempt,
                    leased.deletion_id.to_string()
                ],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
            );
        let is_recorded = found.is_ok_and(|(operation, target, graph_id, tenant)| {
            let is_target = leased.order.target().is_none_or(|id| target.as_deref() == Some(id));
            operation == leased.order.operation().as_str()
                && is_target
                && graph_id == leased.graph_id.0
                && tenant == leased.tenant.as_str()
        });
        self.demand(is_recorded, "sent without a record", leased);
    }

    fn check_target(&self, leased: &Leased, wanted: &Wanted) {
        let line = self.position_of(&leased.graph_id.0);
        let is_its = wanted.line == Some(line) && self.lines[line].tenant == wanted.tenant;
        self.demand(is_its, "sent to another call", leased);
        let is_sent = sends(&wanted.kind, leased.order.operation());
        self.demand(is_sent, "another operation was sent", leased);
        let is_whom = match (&leased.order, &wanted.kind) {
            (
                Order::RemoveParticipant(id),
                DeletionKind::DeleteParticipant(ParticipantSelector::Id(asked)),
            ) => id == asked,
            (Order::RemoveParticipant(id), _) => id != "me",
            (Order::Invite(sent), DeletionKind::InviteParticipant(asked)) => {
                sent.user_id == asked.user_id
            }
            _ => true,
        };
        self.demand(is_whom, "sent to another participant", leased);
    }

    fn check_ringing(&self, leased: &Leased) {
        let state: String =
            self.one("SELECT state FROM calls WHERE graph_id = ?1", [&leased.graph_id.0]);
        self.demand(state == "incoming", "rejected although it is known to ring no more", leased);
        let line = self.line_of(&leased.graph_id.0);
        let (_, since, _) = line.known_at.expect("it was told of as ringing");
        let is_late = self.clock_set_at < since && since + line.rings_for <= self.passed;
        self.demand(!is_late, "rejected late", leased);
    }

    /// Of those whom the roster showed when it was read last.
    fn check_everybody_was_removed(&self, leased: &Leased) {
        let people = &self.line_of(&leased.graph_id.0).people;
        let mut statement = self
            .connection()
            .prepare_cached(
                "SELECT target, state FROM steps WHERE deletion = ?1 AND target IS NOT NULL \
                 AND position > (SELECT max(position) FROM steps WHERE deletion = ?1 \
                 AND operation = 'read-roster')",
            )
            .unwrap();
        let rows = statement
            .query_map([leased.step.deletion], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap();
        for (target, state) in rows.map(Result::<(String, String), _>::unwrap) {
            let is_over = ["sent", "gone"].contains(&state.as_str()) && !people.contains(&target);
            self.demand(is_over, "our leg ends before somebody else's", leased);
        }
    }

    /// Somebody is told how a deletion ended: what is called done is done.
    pub(super) fn is_told(&mut self, settled: &Settled) {
        let position = self.wanted_by(settled.deletion_id);
        self.note(format_args!("{position} is {}: {:?}", settled.state, settled.failure));
        self.wanted[position].was_told = true;
        let wanted = &self.wanted[position];
        let excuse = wanted.line.is_some_and(|line| self.lines[line].lied);
        let is_so = !settled.state.is_taken() || self.is_true_of(wanted) || excuse;
        self.demand(is_so, "told a false success", settled);
    }

    /// Graph knows that it is as was asked for.
    fn is_true_of(&self, wanted: &Wanted) -> bool {
        let Some(line) = wanted.line.map(|line| &self.lines[line]) else { return false };
        match &wanted.kind {
            DeletionKind::DeleteCall(_) | DeletionKind::RejectCall(_) => line.real == Real::Over,
            DeletionKind::DeleteParticipant(ParticipantSelector::Id(id)) => {
                !line.people.contains(id)
            }
            DeletionKind::DeleteParticipant(_) => false,
            DeletionKind::InviteParticipant(_) => wanted.is_done,
        }
    }

    /// What every state of the database has to be like.
    pub(super) fn check_rows(&mut self) {
        let wrong = self.count(
            "SELECT EXISTS (SELECT 1 FROM deletions WHERE state IN ('pending_approval', 'armed', 'open') \
             AND call IS NOT NULL GROUP BY call, kind, coalesce(target, '') HAVING count(*) > 1)",
        );
        self.demand(wrong == 0, "two are open of one call and kind", &());
        let wrong = self.count(
            "SELECT EXISTS (SELECT 1 FROM deletions AS d WHERE state = 'open' AND NOT EXISTS (SELECT 1 \
             FROM steps AS s WHERE s.deletion = d.deletion AND s.state = 'open' \
             AND s.next_attempt_at IS NOT NULL))",
        );
        self.demand(wrong == 0, "open, and nothing of it is due", &());
        let wrong = self.count(
            "SELECT EXISTS (SELECT 1 FROM steps AS s JOIN deletions AS d ON d.deletion = s.deletion \
             WHERE s.state = 'open' AND d.state <> 'open')",
        );
        self.demand(wrong == 0, "over, and something of it is due", &());
        self.check_armed();
    }

    /// What was armed is for one call, which began in its time.
    pub(super) fn check_armed(&mut self) {
        for position in 0..self.wanted.len() {
            let wanted = &self.wanted[position];
            let Some((number, event, since)) = wanted.armed else { continue };
            let call: Option<String> = self.one(
                "SELECT c.graph_id FROM deletions AS d JOIN armed AS a ON a.deletion = d.deletion \
                     LEFT JOIN calls AS c ON c.call = coalesce(d.call, a.call) \
                     WHERE d.deletion_id = ?1",
                [wanted.id.to_string()],
            );
            let Some(call) = call.map(|id| self.position_of(&id)) else { continue };
            if let Some(before) = wanted.line {
                self.demand(before == call, "fired for two calls", wanted);
                continue;
            }
            let line = &self.lines[call];
            let is_its = line.tenant == wanted.tenant && line.number == number && line.was_begun;
            self.demand(is_its, "fired for another call", wanted);
            let is_later = line.known_at.is_some_and(|(known, ..)| known > event);
            let in_time = self.passed < since + ARMED_FOR;
            self.demand(is_later && in_time, "fired outside its time", wanted);
            self.wanted[position].line = Some(call);
            self.records += 1;
            self.note(format_args!("{position} has fired for call {call}"));
            self.meet("fired");
        }
    }

    /// Something was told of a call: nothing that is armed for it stays so.
    pub(super) fn check_armed_for(&mut self, call: usize) {
        let line = &self.lines[call];
        let begun = line.known_at.filter(|_| line.was_begun && line.was_numbered);
        let Some((known, first, _)) = begun else { return };
        // When it began is known by the clock of then only.
        let is_known = known == self.events || self.clock_set_at < first;
        let runs: bool = self.one(
            "SELECT ended_at IS NULL AND state NOT IN ('terminating', 'terminated') FROM calls \
                 WHERE graph_id = ?1",
            [&line.id],
        );
        if !runs || !is_known || self.passed >= first + ARMED_FOR {
            return;
        }
        for wanted in self.wanted.iter().filter(|wanted| wanted.tenant == line.tenant) {
            let Some((number, event, since)) = wanted.armed else { continue };
            let is_over =
                self.passed >= since + ARMED_FOR || self.clock_set_while_stopped_at >= since;
            if number != line.number || event >= known || is_over {
                continue;
            }
            let waits: bool = self.one(
                "SELECT d.state = 'armed' AND a.call IS NULL FROM deletions AS d \
                     JOIN armed AS a ON a.deletion = d.deletion WHERE d.deletion_id = ?1",
                [wanted.id.to_string()],
            );
            self.demand(!waits, "missed its call", wanted);
        }
    }

    /// Everything is over, and is what the truth makes of it.
    pub(super) fn check_the_end(&mut self) {
        for position in 0..self.wanted.len() {
            let wanted = &self.wanted[position];
            let (state, failure): (String, Option<String>) = self
                .connection()
                .query_row(
                    "SELECT state, failure FROM deletions WHERE deletion_id = ?1",
                    [wanted.id.to_string()],
                    |row| Ok((row.get(0)?, row.get(1)?)),
                )
                .unwrap();
            let state: DeletionState = state.parse().unwrap();
            self.demand(!state.is_taken() || self.is_true_of(wanted), "a false success", wanted);
            let is_known = wanted.was_told || wanted.is_stopped || wanted.armed.is_some();
            self.demand(is_known, "nobody was told", wanted);
            let is_denied = !state.is_taken() && state != DeletionState::Unknown;
            let excuse = failure.as_deref() == Some(LEG_ASKED_FOR);
            self.demand(
                !is_denied || !wanted.is_done || excuse,
                "denied although it is done",
                wanted,
            );
            if wanted.armed.is_some()
                && failure.as_ref().is_some_and(|why| why.starts_with(SHUT_OUT))
            {
                // Its call began, and that was decided.
                self.demand(self.revoked.contains(&true), "shut out without a reason", wanted);
                self.records += 1;
                self.meet("shut out");
            }
            let wanted = &self.wanted[position];
            let (is_all, kind) = (wanted.kind.is_all(), wanted.kind.as_str());
            self.note(format_args!("{position} ends as {state}: {failure:?}"));
            self.meet(match (state, kind) {
                (DeletionState::Confirmed, "RejectCall") => "rejected",
                (DeletionState::Sent, "InviteParticipant") => "invited",
                (DeletionState::Sent | DeletionState::Confirmed, "DeleteParticipant") => "removed",
                (DeletionState::Confirmed, _) if is_all => "everybody",
                (DeletionState::Confirmed | DeletionState::Sent, _) => "confirmed",
                (DeletionState::Gone, _) => "gone",
                (DeletionState::Held, _) => "held",
                (DeletionState::Unknown, _) => "unknown",
                (DeletionState::Obsolete, _) => "obsolete",
                (DeletionState::Failed, _) => "failed",
                _ => "cancelled",
            });
        }
        self.check_audit();
        self.check_pages();
    }

    /// Every decision has its record, and every deletion is named by one.
    fn check_audit(&self) {
        let records = usize::try_from(self.count("SELECT count(*) FROM audit")).unwrap();
        self.demand(
            records == self.records,
            "a decision without a record",
            &(records, self.records),
        );
        let unnamed = self.count(
            "SELECT count(*) FROM deletions AS d WHERE NOT EXISTS (SELECT 1 FROM audit AS a \
             WHERE instr(a.canonical, CAST(d.deletion_id AS BLOB)) > 0)",
        );
        self.demand(unnamed == 0, "a deletion without a record", &unnamed);
    }
}

/// The deletions and steps, as far as a settlement or an operator may change them.
pub(super) fn rows(connection: &Connection) -> Vec<(i64, String, String)> {
    connection
        .prepare_cached(
            "SELECT d.deletion, d.state, coalesce(group_concat(s.position || s.state \
             || coalesce(s.next_attempt_at, '') || coalesce(s.lease_owner, '')), '') \
             FROM deletions AS d LEFT JOIN steps AS s ON s.deletion = d.deletion GROUP BY d.deletion",
        )
        .unwrap()
        .query_map((), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap()
}
