//! The sender: the only caller of Graph's operations.
//!
//! First attempt, retry and replay after a crash are one path: a leased step, whose attempt is on
//! disk as started, is sent, judged and settled. Waits are rows, not sleeps: what is due is asked
//! of the store when something ends, when something is admitted, and at the next row's time.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::task::{self, JoinError, JoinSet};
use tokio::time::Instant;

use super::Journal;
use super::attempt::{Attempt, give_back};
use crate::graph::GraphClient;
use crate::health::Health;
use crate::id::DeletionId;
use crate::store::admission::{Lease, Leased, StepRef};

/// How long the sender trusts its idea of when the next step is due.
const LONGEST_REST: Duration = Duration::from_secs(1);

/// A step to be sent now, in a slot of the concurrency budget.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) leased: Leased,
    /// When the lease began, at the latest.
    pub(super) began: Instant,
    pub(super) slot: OwnedSemaphorePermit,
}

/// The sender; it sends while [`Dispatch::run`] runs.
#[derive(Debug)]
pub(crate) struct Dispatch {
    journal: Journal,
    graph: GraphClient,
    ready: mpsc::UnboundedReceiver<Ready>,
    health: Health,
    sending: JoinSet<()>,
    /// What the tasks in `sending` send.
    under_way: HashMap<task::Id, (StepRef, DeletionId)>,
    /// When the store is asked again.
    look_at: Instant,
}

impl Dispatch {
    pub(super) fn new(
        journal: Journal,
        graph: GraphClient,
        ready: mpsc::UnboundedReceiver<Ready>,
        health: Health,
    ) -> Self {
        let (sending, under_way) = (JoinSet::new(), HashMap::new());
        Self { journal, graph, ready, health, sending, under_way, look_at: Instant::now() }
    }

    /// Sends what is due until `shutdown`, then lets what is under way finish. Dropped before that,
    /// it leaves attempts that the next start takes up again.
    pub(crate) async fn run(mut self, mut shutdown: watch::Receiver<bool>) {
        let wake = Arc::clone(&self.journal.wake);
        while !*shutdown.borrow_and_update() {
            tokio::select! {
                biased;
                changed = shutdown.changed() => if changed.is_err() { break },
                Some(ready) = self.ready.recv() => self.send(ready),
                Some(ended) = self.sending.join_next_with_id() => self.ended(ended),
                () = wake.notified() => self.lease().await,
                () = tokio::time::sleep_until(self.look_at) => self.lease().await,
            }
        }
        // Leased and not begun: the next start takes these up again, as never sent.
        self.ready.close();
        while let Some(ready) = self.ready.recv().await {
            give_back(&self.journal, ready.leased, Duration::ZERO).await;
        }
        while let Some(ended) = self.sending.join_next_with_id().await {
            self.ended(ended);
        }
    }

    /// Leases what is due, as much as fits into half of the free slots: what is admitted meanwhile
    /// finds one, too. When there is more, the next look comes at once.
    async fn lease(&mut self) {
        let journal = &self.journal;
        journal.waiting.note_again();
        let mut slots = Vec::new();
        for _ in 0..journal.slots.available_permits().div_ceil(2) {
            slots.extend(Arc::clone(&journal.slots).try_acquire_owned());
        }
        let began = Instant::now();
        self.look_at = began + LONGEST_REST;
        if slots.is_empty() {
            return;
        }
        journal.backlog.store(false, Ordering::Relaxed);
        let now = journal.clock.now();
        let lease = Lease::starting(journal.process, now, journal.rules.lease());
        let sending = self.under_way.values().map(|(step, _)| *step).collect();
        match journal.store.lease_due(now, lease, slots.len(), sending).await {
            Ok(due) => {
                self.health.ready("sender");
                for settled in &due.over {
                    journal.waiting.settled(settled);
                }
                // What was skipped stays due until its attempt ends, and needs no look before that.
                if let Some(next) = due.next.filter(|_| !due.skipped) {
                    self.look_at = began + next.since(now).min(LONGEST_REST);
                }
                if due.leased.len() == slots.len() {
                    journal.backlog.store(true, Ordering::Relaxed);
                }
                for (leased, slot) in due.leased.into_iter().zip(slots) {
                    self.send(Ready { leased, began, slot });
                }
            }
            Err(error) => {
                self.health.unready("sender", "the journal cannot be read");
                tracing::error!("what is due could not be read from the journal: {error}");
            }
        }
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
