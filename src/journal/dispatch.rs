//! The sender: the only caller of Graph's operations.
//!
//! First attempt, retry and replay after a crash are one path: a leased step, whose attempt is on
//! disk as started, is sent, judged and settled. Waits are rows, not sleeps: what is due is asked
//! of the store when something ends, when something is admitted, and at the next row's time. Sending
//! goes on while the store is asked.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{self, JoinError, JoinSet};
use tokio::time::Instant;

use super::Journal;
use super::attempt::{Attempt, give_back};
use super::budget::{Draw, Place};
use super::report;
use crate::clock::{ClockWatch, Moment, Timestamp};
use crate::graph::GraphClient;
use crate::health::Health;
use crate::id::DeletionId;
use crate::store::Due;
use crate::store::admission::{Lease, Leased, StepRef};
use crate::store::error::StoreError;

/// How long the sender trusts its idea of when the next step is due.
const LONGEST_REST: Duration = Duration::from_secs(1);

/// How long `/readyz` shows that the clock was set.
const CLOCK_SHOWN: Duration = Duration::from_mins(10);

/// A step to be sent now, in a place of the concurrency budget.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) leased: Leased,
    /// When the lease began, at the latest.
    pub(super) began: Instant,
    pub(super) place: Place,
}

/// What the store said is due.
#[derive(Debug)]
struct Looked {
    due: Result<Due, StoreError>,
    seen: Seen,
}

/// With what it was asked.
#[derive(Debug)]
struct Seen {
    draw: Draw,
    /// When the store was asked, by both clocks.
    began: Instant,
    now: Timestamp,
}

/// The sender; it sends while [`Dispatch::run`] runs.
#[derive(Debug)]
pub(crate) struct Dispatch {
    journal: Journal,
    graph: GraphClient,
    ready: mpsc::UnboundedReceiver<Ready>,
    health: Health,
    sending: JoinSet<()>,
    /// The one look that is under way, if any.
    looking: JoinSet<Looked>,
    /// What the tasks in `sending` send.
    under_way: HashMap<task::Id, (StepRef, DeletionId)>,
    /// When the store is asked again.
    look_at: Instant,
    clock: ClockWatch,
    /// Until when the process is shown as one whose clock was set.
    clock_was_set: Option<Instant>,
}

impl Dispatch {
    pub(super) fn new(
        journal: Journal,
        graph: GraphClient,
        ready: mpsc::UnboundedReceiver<Ready>,
        health: Health,
    ) -> Self {
        let (sending, under_way) = (JoinSet::new(), HashMap::new());
        let (looking, look_at) = (JoinSet::new(), Instant::now());
        let clock = ClockWatch::new(journal.clock.moment());
        Self {
            journal,
            graph,
            ready,
            health,
            sending,
            looking,
            under_way,
            look_at,
            clock,
            clock_was_set: None,
        }
    }

    /// Sends what is due until `shutdown`, then lets what is under way finish. Dropped before that,
    /// it leaves attempts that the next start takes up again.
    pub(crate) async fn run(mut self, mut shutdown: watch::Receiver<bool>) {
        let wake = Arc::clone(&self.journal.wake);
        let fired = self.journal.store.fired();
        while !*shutdown.borrow_and_update() {
            let is_looking = !self.looking.is_empty();
            tokio::select! {
                biased;
                changed = shutdown.changed() => if changed.is_err() { break },
                Some(ready) = self.ready.recv() => self.send(ready),
                Some(ended) = self.sending.join_next_with_id() => self.ended(ended),
                Some(looked) = self.looking.join_next() => self.looked(looked),
                () = wake.notified(), if !is_looking => self.look(),
                () = fired.notified() => {
                    // Whether or not there is a place now.
                    self.journal.backlog.store(true, Ordering::Relaxed);
                    wake.notify_one();
                }
                () = self.journal.clock.rest_until(self.look_at), if !is_looking => self.look(),
            }
        }
        // Leased and not begun: the next start takes these up again, as never sent.
        self.ready.close();
        while let Some(ready) = self.ready.recv().await {
            give_back(&self.journal, ready.leased, Duration::ZERO).await;
        }
        while let Some(looked) = self.looking.join_next().await {
            for leased in self.judged(looked).map(|(due, _)| due.leased).unwrap_or_default() {
                give_back(&self.journal, leased, Duration::ZERO).await;
            }
        }
        while let Some(ended) = self.sending.join_next_with_id().await {
            self.ended(ended);
        }
    }

    /// Begins to ask the store what is due: to be sent as far as there is room, and to end whether or not.
    fn look(&mut self) {
        let moment = self.journal.clock.moment();
        let now = moment.wall;
        self.watch_clock(moment);
        let journal = self.journal.clone();
        journal.waiting.note_again();
        for tenant in journal.budget.without_other_app() {
            self.health.restored(&report::part_of_other_app(&tenant));
        }
        let began = Instant::now();
        self.look_at = began + LONGEST_REST;
        // What needs no place is done without one: deadlines, and what comes in place of a rejection.
        let draw = journal.budget.draw();
        if draw.room.all > 0 {
            journal.backlog.store(false, Ordering::Relaxed);
        }
        let lease = Lease::starting(journal.process, now, journal.rules.lease());
        let sending = self.under_way.values().map(|(step, _)| *step).collect();
        self.looking.spawn(async move {
            let due = journal.store.lease_due(moment, lease, draw.room.clone(), sending).await;
            Looked { due, seen: Seen { draw, began, now } }
        });
    }

    /// Sends what was found due. When there is more and a place may be free, the next look comes at
    /// once; what waits for its tenant is looked at when there may be room for it.
    fn looked(&mut self, looked: Result<Looked, JoinError>) {
        let Some((due, Seen { mut draw, began, now })) = self.judged(looked) else { return };
        let journal = self.journal.clone();
        // What was skipped stays due until its attempt ends, and needs no look before that.
        let next = due.next.filter(|_| !due.skipped);
        let mut rest = next.map_or(LONGEST_REST, |next| next.since(now));
        let is_full = due.leased.len() == draw.room.all;
        for leased in due.leased {
            let place = draw.place(&leased.tenant).expect("no more were leased than there is room");
            self.send(Ready { leased, began, place });
        }
        // What was not used is free again before it is asked who has room.
        drop(draw);
        journal.budget.note_waiting(&due.left);
        for (tenant, _) in &due.left {
            match journal.budget.room_at(tenant) {
                Some(at) => rest = rest.min(at.since(now)),
                None => journal.backlog.store(true, Ordering::Relaxed),
            }
        }
        if is_full {
            journal.backlog.store(true, Ordering::Relaxed);
        }
        self.look_at = began + rest.min(LONGEST_REST);
    }

    /// Tells those who wait what has ended, and takes in how the look went; none when it failed.
    fn judged(&self, looked: Result<Looked, JoinError>) -> Option<(Due, Seen)> {
        let failed = match looked {
            Ok(Looked { due: Ok(due), seen }) => {
                self.health.ready("sender");
                for settled in &due.over {
                    self.journal.waiting.settled(settled);
                }
                return Some((due, seen));
            }
            Ok(Looked { due: Err(error), .. }) => (!error.is_shown()).then(|| error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        self.health.unready("sender", "nothing is sent while the store fails");
        if let Some(failed) = failed {
            tracing::error!("what is due could not be read from the journal: {failed}");
        }
        None
    }

    /// Tells that the wall clock was set. The store moves every wait that has begun with it: none ends
    /// early, and none lasts for as long as the clock was set back. Deadlines stay what they are.
    fn watch_clock(&mut self, moment: Moment) {
        let steady = Instant::now();
        if self.clock_was_set.take_if(|until| *until <= steady).is_some() {
            self.health.restored("clock");
        }
        let Some(by) = self.clock.moved(moment) else { return };
        let moved = Duration::from_millis(by.unsigned_abs());
        let direction = if by < 0 { "back" } else { "forward" };
        tracing::warn!(
            "the clock was set {direction} by {moved:?}: waits are moved with it, deadlines and what \
             expires are not"
        );
        let reason = if by < 0 {
            "it was set back: deadlines and what expires last longer by that"
        } else {
            "it was set forward: deletions may have passed their deadline, keys and tokens expired"
        };
        self.health.degraded("clock", reason);
        self.clock_was_set = Some(steady + CLOCK_SHOWN);
    }

    fn send(&mut self, ready: Ready) {
        let attempt = Attempt {
            journal: self.journal.clone(),
            graph: self.graph.clone(),
            health: self.health.clone(),
        };
        let what = (ready.leased.step, ready.leased.deletion_id);
        let task = self.sending.spawn(attempt.run(ready));
        self.under_way.insert(task.id(), what);
    }

    /// Forgets an attempt that is over. One that panicked settled nothing: its lease lapses, and the
    /// step is sent again.
    fn ended(&mut self, ended: Result<(task::Id, ()), JoinError>) {
        let error = match ended {
            Ok((id, ())) => {
                self.under_way.remove(&id);
                return;
            }
            Err(error) => error,
        };
        if let Some((_, deletion)) = self.under_way.remove(&error.id()) {
            tracing::error!(
                deletion.id = %deletion, panicked = error.is_panic(),
                "an attempt of deletion {deletion} failed inside"
            );
        }
        self.journal.look_at_backlog();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::config::graph::{GraphConfig, Outbound};
    use crate::config::legacy::OnEnded;
    use crate::journal::JournalRules;
    use crate::store::fixture::{DEADLINE, Fixture, NOW, selection_rules};

    #[tokio::test]
    async fn an_attempt_that_panics_is_no_longer_under_way() {
        let there = Fixture::new().await;
        let config = GraphConfig {
            tenant: None,
            further: Vec::new(),
            outbound: Outbound::default(),
            rate: None,
            concurrency: 1,
            request_timeout: Duration::from_secs(1),
            deadline: DEADLINE,
            other_host: true,
        };
        let rules = JournalRules {
            apps: Vec::new(),
            selection: selection_rules(),
            on_ended: OnEnded::Forward,
            deadline: DEADLINE,
            concurrency: 1,
            rate: None,
            request_timeout: config.request_timeout,
        };
        let clock = Clock::manual(NOW);
        let graph = GraphClient::new(&config, clock.clone()).unwrap();
        let store = there.store.clone();
        let (_, mut dispatch) = Journal::new(store, graph, clock, rules, Health::default());
        let task = dispatch.sending.spawn(async { panic!("on purpose") });
        let step = StepRef { deletion: 1, position: 1 };
        dispatch.under_way.insert(task.id(), (step, DeletionId::random()));
        let ended = dispatch.sending.join_next_with_id().await.unwrap();
        assert!(ended.is_err());
        dispatch.ended(ended);
        assert!(dispatch.under_way.is_empty());
    }
}
