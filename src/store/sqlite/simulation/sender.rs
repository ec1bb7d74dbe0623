//! The senders: who has a lease sends, judges and settles, gives back, or comes too late.

use std::collections::HashMap;
use std::time::Duration;

use super::graph::Answer;
use super::{Forgets, SECOND, World, checks};
use crate::clock::Timestamp;
use crate::id::{ProcessId, TenantId};
use crate::model::deletion::{DeletionState, LEG_OVER};
use crate::model::plan::{Operation, Order};
use crate::store::admission::{Asked, AttemptEnd, First, Lease, Leased, Next, Room, Share};
use crate::store::fixture::{LEASE, answered, over};
use crate::store::sqlite::{lease, ringing, sender as store, settle, waits};

/// Whoever has less than this left of a lease does not send.
const REQUEST: Duration = Duration::from_secs(30);

/// Somebody who was given a lease.
#[derive(Clone, Debug)]
pub(super) struct Worker {
    pub(super) leased: Leased,
    pub(super) began: i64,
    /// Another process has taken over since.
    pub(super) is_void: bool,
}

/// What Graph is asked: about which line, what, and about whom.
pub(super) type Request = (usize, &'static str, Option<String>);

/// That it asked for patience: when that was told, and until when, by the clock that nobody sets.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Kept {
    pub(super) told: i64,
    pub(super) until: i64,
}

impl World<'_> {
    /// A look, an answer, a step that is given back, or one that is sent.
    pub(super) fn the_sender_goes_on(&mut self) {
        if self.held.is_empty() && self.flying.is_empty() || self.dice.one_in(3) {
            self.look();
        } else if !self.flying.is_empty() && (self.held.is_empty() || self.dice.one_in(2)) {
            let which = self.dice.roll(self.flying.len());
            let (worker, answer) = self.flying.remove(which);
            self.settle(&worker, &answer);
        } else {
            let which = self.dice.roll(self.held.len());
            let worker = self.held.remove(which);
            self.go_on(worker);
        }
    }

    /// What may be sent for a tenant, as far as its last answers tell.
    pub(super) fn is_open(&self, tenant: usize) -> bool {
        self.closed[tenant] <= self.passed
    }

    /// Asks what is due; gives when to ask again.
    pub(super) fn look(&mut self) -> Option<Timestamp> {
        waits::follow(self.connection(), self.clock.moment()).unwrap();
        if let Forgets::By(sql) = self.forgets {
            let sql = sql.replace(":now", &self.now().0.to_string());
            self.connection().execute_batch(&sql).unwrap();
        }
        let all = if self.is_calm { 9 } else { 1 + self.dice.roll(4) };
        let mut tenants = HashMap::new();
        for tenant in 0..2 {
            let is_ours = |worker: &&Worker| worker.leased.tenant == name(tenant);
            let flying = self.flying.iter().map(|(worker, _)| worker);
            let busy = self.held.iter().chain(flying).filter(is_ours).count();
            let room = if self.is_open(tenant) { all } else { 0 };
            let is_probe = room > 0 && self.dice.one_in(4);
            let first = if self.dice.one_in(2) { First::EndsSoon } else { First::HasTime };
            let (room, probe) = if is_probe { (1, Some(first)) } else { (room, None) };
            tenants.insert(name(tenant), Share { room, busy, probe });
        }
        let flying = self.flying.iter().map(|(worker, _)| worker.leased.step);
        let sending: Vec<_> =
            self.held.iter().map(|worker| worker.leased.step).chain(flying).collect();
        let lease = Lease::starting(self.process, self.now(), LEASE);
        let room = Room { all, tenants };
        let due = store::lease_due(self.connection(), self.now(), lease, room, &sending).unwrap();
        self.demand(due.leased.len() <= all, "more leases than room", &due.leased.len());
        for settled in &due.over {
            self.is_told(settled);
        }
        for leased in due.leased {
            let tenant = usize::from(leased.tenant == name(1));
            self.demand(self.is_open(tenant), "leased for a tenant without room", &leased.step);
            self.is_leased(leased);
        }
        due.next
    }

    pub(super) fn is_leased(&mut self, leased: Leased) {
        self.note(format_args!(
            "{} is leased: {:?} by {}",
            self.wanted_by(leased.deletion_id),
            leased.order,
            leased.fence
        ));
        self.check_lease(&leased);
        self.fences.insert(leased.step, leased.fence);
        self.held.push(Worker { leased, began: self.passed, is_void: false });
    }

    fn has_lapsed(&self, worker: &Worker, needs: Duration) -> bool {
        let lease = i64::try_from(LEASE.as_millis()).unwrap();
        let needs = i64::try_from(needs.as_millis()).unwrap();
        self.passed - worker.began + needs >= lease
    }

    /// Sends, unless too little is left of the lease or the call rings no more.
    pub(super) fn go_on(&mut self, worker: Worker) {
        let now = self.now();
        let is_reject = worker.leased.order.operation() == Operation::Reject;
        let rings = !is_reject
            || ringing::still_rings(self.connection(), worker.leased.step, now).unwrap().is_some();
        let gives_up = !self.is_calm && self.dice.one_in(12);
        if self.has_lapsed(&worker, REQUEST) || !rings || gives_up {
            let later = now + if gives_up { SECOND } else { Duration::ZERO };
            let moment = self.clock.moment();
            let seen = waits::note(self.connection(), moment).unwrap();
            let later = later.moved(seen.ahead_of(moment.wall));
            return settle::give_back(self.connection(), &worker.leased, seen, later).unwrap();
        }
        self.check_sending(&worker);
        let answer = self.graph_answers(&worker.leased);
        self.note(format_args!("{:?} is answered {answer:?}", worker.leased.step));
        if self.is_calm || self.dice.one_in(2) {
            self.settle(&worker, &answer);
        } else {
            self.flying.push((worker, answer));
        }
    }

    pub(super) fn settle(&mut self, worker: &Worker, answer: &Answer) {
        let mut leased = worker.leased.clone();
        let has_lease = !worker.is_void && self.fences[&leased.step] == leased.fence;
        let end = self.judge(&leased, answer);
        if self.forgets == Forgets::TheFence {
            leased.fence = self.fence_now(leased.step);
        }
        let before = (!has_lease).then(|| checks::rows(self.connection()));
        let settled = settle::settle_as_seen(self.connection(), &leased, &end).unwrap();
        if let Some(before) = before {
            let is_same = before == checks::rows(self.connection()) && settled.is_none();
            self.demand(is_same, "settled without its lease", &leased.step);
            self.meet("late settlement");
        }
        self.is_answered_to(&leased, answer, has_lease);
        if let Some(settled) = settled {
            self.is_told(&settled);
        }
    }

    /// What is known of the deletion and its tenant from now on.
    fn is_answered_to(&mut self, leased: &Leased, answer: &Answer, has_lease: bool) {
        let position = self.wanted_by(leased.deletion_id);
        let tenant = self.wanted[position].tenant;
        let is_reading = leased.order == Order::ReadRoster;
        let is_one_of_all = leased.is_part && matches!(leased.order, Order::RemoveParticipant(_));
        match answer {
            Answer::Took | Answer::Invited(_) if !is_reading && !is_one_of_all => {
                let lied = self.line_of(&leased.graph_id.0).lied;
                let wanted = &mut self.wanted[position];
                wanted.is_accepted |= !lied;
                if has_lease {
                    let target = leased.order.target().map(str::to_owned);
                    wanted.confirmed.insert((leased.order.operation().as_str(), target));
                }
                self.closed[tenant] = 0;
            }
            Answer::Throttled(wait) => {
                let at = self.passed + wait;
                if has_lease {
                    self.wanted[position].not_before.insert(leased.step.position, at);
                }
                let request = self.request(leased);
                let kept = self.kept.entry(request).or_default();
                *kept = Kept { told: self.passed, until: at.max(kept.until) };
                self.meet("throttled");
            }
            Answer::TenantFault => {
                self.closed[tenant] = self.passed + 1_000;
                self.meet("tenant fault");
            }
            Answer::ServerError => self.meet("server error"),
            _ => {}
        }
    }

    /// The rows of the Graph contract.
    fn judge(&self, leased: &Leased, answer: &Answer) -> AttemptEnd {
        let now = self.now();
        let invites = matches!(leased.order, Order::Invite(_));
        let lost = || {
            if invites {
                over(DeletionState::Unknown, Some("lost"), false)
            } else {
                again(leased, now, 0)
            }
        };
        let (status, next) = match answer {
            Answer::Took => (Some(204), over(DeletionState::Sent, None, false)),
            Answer::Invited(made) => (Some(200), Next::Invited(made.clone())),
            Answer::Roster(everybody) => (Some(200), Next::RemoveAll(everybody.clone())),
            Answer::NoCall | Answer::NoParticipant => {
                (Some(404), self.not_found(leased, matches!(answer, Answer::NoCall)))
            }
            Answer::Throttled(wait) => (Some(429), again(leased, now, *wait)),
            Answer::Refused => (Some(403), over(DeletionState::Failed, Some("refused"), false)),
            Answer::TenantFault => (Some(403), again(leased, now, 0)),
            Answer::ServerError => (Some(502), lost()),
            Answer::Lost => (None, lost()),
            Answer::Unreachable => (None, again(leased, now, 0)),
        };
        let is_possible = matches!(answer, Answer::ServerError | Answer::Lost);
        let effect_possible = is_possible && leased.order != Order::ReadRoster;
        let asked = match answer {
            Answer::Throttled(wait) => {
                Some(Asked { not_before: now.moved(*wait), by_login: false })
            }
            _ => None,
        };
        let steady = self.clock.moment().steady;
        AttemptEnd { steady, status, asked, effect_possible, ..answered(now, 200, next) }
    }

    fn not_found(&self, leased: &Leased, is_call: bool) -> Next {
        let possible =
            || lease::effect_possible(self.connection(), leased.step, leased.attempt).unwrap();
        let is_removal = matches!(leased.order, Order::RemoveParticipant(_));
        let is_leg_over = is_removal && leased.is_part && is_call;
        match leased.order {
            Order::Invite(_) => over(DeletionState::Failed, Some("no call"), false),
            Order::Reject(_)
                if possible() || ringing::was_answered(self.connection(), leased.step).unwrap() =>
            {
                Next::Replan
            }
            Order::Reject(_) => over(DeletionState::Failed, Some("no such call"), true),
            _ if leased.earlier_effect_possible && possible() && is_leg_over => {
                over(DeletionState::Unknown, Some(LEG_OVER), false)
            }
            _ if leased.earlier_effect_possible && possible() => {
                over(DeletionState::Gone, None, !is_removal)
            }
            _ if is_leg_over => over(DeletionState::Obsolete, Some(LEG_OVER), false),
            _ if is_removal && leased.is_part => over(DeletionState::Gone, None, false),
            _ => over(DeletionState::Failed, Some("never there"), !is_removal),
        }
    }

    /// The process stops, perhaps for a while in which its clock is set, and another one takes over.
    pub(super) fn the_process_stops(&mut self) {
        self.meet("another process");
        // A clock that was set forward a moment before counts as time that passed.
        waits::follow(self.connection(), self.clock.moment()).unwrap();
        self.nobody_waits_any_more(true);
        self.lost.iter_mut().for_each(|(worker, _)| worker.is_void = true);
        if !self.is_calm && self.dice.one_in(3) {
            self.pass(SECOND * 5);
            self.clock_set_while_stopped_at = self.passed;
            if self.set_clock() > 0 {
                // Nobody knows that it was set: waits are over that would not be.
                for wanted in &mut self.wanted {
                    wanted.not_before.clear();
                    wanted.retried_not_before = 0;
                }
                self.kept.clear();
            }
            self.meet("clock while stopped");
        }
        self.closed = [0; 2];
        self.process = ProcessId::random();
        store::take_over(self.connection(), self.process, self.clock.moment()).unwrap();
    }

    /// Everybody who has a lease stalls until it is over.
    pub(super) fn leases_lapse(&mut self) {
        self.nobody_waits_any_more(false);
        self.pass(LEASE);
    }

    fn nobody_waits_any_more(&mut self, is_void: bool) {
        for worker in std::mem::take(&mut self.held) {
            // It was sent or was not.
            if !self.is_calm && !self.has_lapsed(&worker, REQUEST) && self.dice.one_in(2) {
                let reject = worker.leased.order.operation() == Operation::Reject;
                if !reject {
                    self.check_sending(&worker);
                    let answer = self.graph_answers(&worker.leased);
                    self.lost.push((Worker { is_void, ..worker }, Some(answer)));
                    continue;
                }
            }
            self.lost.push((Worker { is_void, ..worker }, None));
        }
        for (worker, answer) in std::mem::take(&mut self.flying) {
            self.lost.push((Worker { is_void, ..worker }, Some(answer)));
        }
    }

    /// Somebody whose lease is over wakes up: with an answer, or with nothing but what he had to send.
    pub(super) fn somebody_settles_late(&mut self) {
        if self.lost.is_empty() {
            return;
        }
        let which = self.dice.roll(self.lost.len());
        match self.lost.remove(which) {
            (worker, Some(answer)) => self.settle(&worker, &answer),
            (worker, None) => {
                let now = waits::note(self.connection(), self.clock.moment()).unwrap();
                settle::give_back(self.connection(), &worker.leased, now, now).unwrap();
            }
        }
    }

    /// No fault happens any more, nobody asks, everything is told: all that is open ends.
    pub(super) fn comes_to_an_end(&mut self) {
        self.note(format_args!("the world calms down"));
        self.is_calm = true;
        self.the_process_stops();
        for tenant in [Some(0), Some(1), None] {
            self.resume(tenant);
        }
        for round in 0..600 {
            while !self.news.is_empty() {
                self.news_arrive();
            }
            let next = self.look();
            while let Some(worker) = self.held.pop() {
                self.go_on(worker);
            }
            self.check_rows();
            let open = self.count("SELECT count(*) FROM deletions WHERE state = 'open'");
            let armed = self.count("SELECT count(*) FROM deletions WHERE state = 'armed'");
            if open + armed == 0 && self.news.is_empty() {
                return;
            }
            let is_due = self.count("SELECT count(*) FROM steps WHERE state = 'open'") > 0;
            let next = if next.is_none() && is_due { self.look() } else { next };
            let is_left = next.is_none() && self.held.is_empty() && self.news.is_empty();
            let is_due = self.count("SELECT count(*) FROM steps WHERE state = 'open'") > 0;
            self.demand(!is_left || !is_due, "nobody looks again", &open);
            let wait = next.map_or(SECOND, |next| next.since(self.now()));
            // Whoever waits for another's turn looks five times a second, which is not told: one whose
            // deadline a clock that was set has moved hours away.
            self.pass(wait.max(SECOND * (2 + round / 10)));
        }
        let open = checks::rows(self.connection());
        self.demand(false, "it never comes to an end", &open);
    }
}

/// When the next attempt may be made, be that after the deadline.
fn again(leased: &Leased, now: Timestamp, retry_after: i64) -> Next {
    let attempt = u32::try_from(leased.attempt).unwrap().clamp(1, 8);
    let backoff = (500_i64 << attempt).min(120_000);
    Next::At(now.moved(backoff.max(retry_after)))
}

fn name(tenant: usize) -> TenantId {
    TenantId::new(["tenant-1", "tenant-2"][tenant])
}
