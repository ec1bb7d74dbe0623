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
use super::verdict::{Verdict, effect_possible, verdict};
use crate::graph::error::{GraphError, LoginError};
use crate::graph::pacing::next_attempt;
use crate::graph::{Answer, GraphClient};
use crate::health::Health;
use crate::id::DeletionId;
use crate::model::deletion::{DeletionState, NO_SUCH_CALL};
use crate::model::plan::Operation;
use crate::store::admission::{AttemptEnd, Before, Lease, Leased, Next, Settled, StepRef};
use crate::store::error::StoreError;

/// How long the sender trusts its idea of when the next step is due.
const LONGEST_REST: Duration = Duration::from_secs(1);
/// The first wait before a settlement is written again, and the longest.
const SETTLE_AGAIN: Duration = Duration::from_millis(100);
const SETTLE_RARELY: Duration = Duration::from_secs(5);

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
            give_back(&self.journal, ready.leased).await;
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

/// Makes a step due again that was not sent.
async fn give_back(journal: &Journal, leased: Leased) {
    match journal.store.give_back(leased, journal.clock.now()).await {
        Ok(()) => journal.backlog.store(true, Ordering::Relaxed),
        Err(error) => tracing::warn!("a step could not be given back: {error}"),
    }
}

/// One attempt.
struct Attempt {
    journal: Journal,
    graph: GraphClient,
    health: Health,
}

impl Attempt {
    async fn run(self, ready: Ready) {
        let Ready { leased, began, slot } = ready;
        let rules = &self.journal.rules;
        // A lease that could end before the answer might let somebody else send as well.
        if began.elapsed() + rules.request_timeout >= rules.lease() {
            give_back(&self.journal, leased).await;
        } else {
            match leased.operation {
                Operation::HangUp => {
                    let answer = self.graph.hang_up(&leased.tenant, &leased.graph_id).await;
                    self.settle(leased, &answer, began).await;
                }
                Operation::Reject => self.reject(leased, began).await,
                other => tracing::error!(
                    deletion.id = %leased.deletion_id,
                    "this version cannot send `{}`; deletion {} waits for one that can",
                    other.as_str(), leased.deletion_id
                ),
            }
        }
        drop(slot);
        self.journal.look_at_backlog();
    }

    /// Rejects a call that still rings, and no other: what was told since the lease counts, and nothing
    /// is sent after the step's deadline.
    async fn reject(&self, leased: Leased, began: Instant) {
        let now = self.journal.clock.now();
        let rings = self.journal.store.still_rings(leased.step, now).await;
        if !rings.unwrap_or_else(|error| {
            tracing::warn!(
                deletion.id = %leased.deletion_id, "not rejected: nobody knows whether it rings: {error}"
            );
            false
        }) {
            return give_back(&self.journal, leased).await;
        }
        let (tenant, call) = (&leased.tenant, &leased.graph_id);
        let within = leased.deadline.since(now);
        let answer = self.graph.reject(tenant, call, leased.reject_reason, within).await;
        self.settle(leased, &answer, began).await;
        // A hang-up may be due at once.
        self.journal.backlog.store(true, Ordering::Relaxed);
    }

    /// Judges the answer and writes it down: again and again while the store is busy or full, and
    /// until the lease ends when it failed otherwise, because another operation that was committed
    /// with this one may have been at fault.
    async fn settle(&self, leased: Leased, answer: &Answer, began: Instant) {
        let before = self.before(&leased, answer).await;
        let verdict = verdict(leased.operation, before, answer);
        self.report(&leased, verdict, answer);
        if verdict == Verdict::Sent {
            // Graph has taken it, and the deletion has long been on disk: who waits need not wait
            // for this to be written as well. After a crash before that it is sent again and gone.
            self.journal.waiting.settled(&Settled {
                deletion_id: leased.deletion_id,
                state: DeletionState::Sent,
                failure: None,
                operation: Some(leased.operation),
            });
        }
        let end = self.end(&leased, verdict, answer);
        let mut wait = SETTLE_AGAIN;
        loop {
            match self.journal.store.settle(leased.clone(), end.clone()).await {
                Ok(Some(settled)) => return self.journal.waiting.settled(&settled),
                Ok(None) => return,
                Err(error) if self.may_settle(&error, began) => {
                    tracing::warn!(deletion.id = %leased.deletion_id, "not settled yet: {error}");
                    tokio::time::sleep(wait).await;
                    wait = SETTLE_RARELY.min(wait * 2);
                }
                Err(error) => {
                    // The lease lapses, and the step is sent again: Graph then has no such call.
                    tracing::error!(deletion.id = %leased.deletion_id, "not settled: {error}");
                    return;
                }
            }
        }
    }

    /// What is known now: an answer that came since the lease may have told that an earlier attempt
    /// had no effect, never that it had one; and a call may have been answered. Asked only where it
    /// decides anything.
    async fn before(&self, leased: &Leased, answer: &Answer) -> Before {
        let at_the_lease =
            Before { effect_possible: leased.earlier_effect_possible, call_answered: false };
        let matters = leased.earlier_effect_possible || leased.operation == Operation::Reject;
        if !matters || !matches!(answer.result, Err(GraphError::NotFound)) {
            return at_the_lease;
        }
        let known = self.journal.store.before(leased.step, leased.attempt).await;
        known.unwrap_or_else(|error| {
            tracing::warn!(
                deletion.id = %leased.deletion_id,
                "earlier attempts are judged by what was known at the lease: {error}"
            );
            at_the_lease
        })
    }

    fn may_settle(&self, error: &StoreError, began: Instant) -> bool {
        match error {
            StoreError::Busy | StoreError::Full => true,
            StoreError::Stopped => false,
            _ => began.elapsed() < self.journal.rules.lease(),
        }
    }

    fn end(&self, leased: &Leased, verdict: Verdict, answer: &Answer) -> AttemptEnd {
        let now = self.journal.clock.now();
        let explanation = answer.result.as_ref().err().map(GraphError::explanation);
        let over = |state, failure, call_is_gone| Next::Over { state, failure, call_is_gone };
        let again = |retry_after| {
            let attempt = u32::try_from(leased.attempt).unwrap_or(u32::MAX);
            Next::At(next_attempt(attempt, now, retry_after, jitter()))
        };
        let next = match verdict {
            Verdict::Sent => over(DeletionState::Sent, None, false),
            Verdict::Gone => over(DeletionState::Gone, None, true),
            Verdict::NeverThere => over(DeletionState::Failed, Some(NO_SUCH_CALL.to_owned()), true),
            Verdict::Again { retry_after } => again(retry_after),
            Verdict::TenantFault { .. } => again(None),
            Verdict::Replan => Next::Replan,
            Verdict::Failed { .. } => over(DeletionState::Failed, explanation.clone(), false),
            Verdict::Unknown => over(DeletionState::Unknown, explanation.clone(), false),
        };
        AttemptEnd {
            answered_at: now,
            status: answer.status,
            error: explanation,
            request_id: answer.request_id.clone(),
            client_request_id: answer.client_request_id.clone(),
            date: answer.date.clone(),
            diagnostic: answer.diagnostic.clone(),
            effect_possible: effect_possible(answer),
            next,
        }
    }

    /// Says in log and health what an operator should know.
    fn report(&self, leased: &Leased, verdict: Verdict, answer: &Answer) {
        let explanation = answer.result.as_ref().err().map(GraphError::for_log);
        let explanation = explanation.as_deref().unwrap_or("accepted");
        let status = answer.status;
        match verdict {
            Verdict::TenantFault { hint } => {
                let not_configured =
                    matches!(answer.result, Err(GraphError::Login(LoginError::NotConfigured)));
                let reason = if not_configured {
                    "deletions wait for a tenant that is not configured"
                } else {
                    "Graph or its login refuses a configured app"
                };
                self.health.degraded("graph", reason);
                tracing::error!(
                    deletion.id = %leased.deletion_id, attempt = leased.attempt, status,
                    tenant.id = %leased.tenant,
                    "nothing can be sent for this tenant: {explanation}; {hint}"
                );
            }
            Verdict::Failed { hint } => tracing::warn!(
                deletion.id = %leased.deletion_id, attempt = leased.attempt, status,
                "deletion {} failed: {explanation}; {}", leased.deletion_id, hint.unwrap_or("")
            ),
            Verdict::Again { .. } => tracing::warn!(
                deletion.id = %leased.deletion_id, attempt = leased.attempt, status,
                "deletion {} is tried again: {explanation}", leased.deletion_id
            ),
            _ => {
                self.health.restored("graph");
                tracing::debug!(
                    deletion.id = %leased.deletion_id, attempt = leased.attempt, status,
                    "deletion {}: {explanation}", leased.deletion_id
                );
            }
        }
    }
}

/// A number between 0 and 1, so that what failed together is not tried again together.
fn jitter() -> f64 {
    let mut byte = [0; 1];
    // Without randomness there is no jitter, which delays nothing.
    let _ = aws_lc_rs::rand::fill(&mut byte);
    f64::from(byte[0]) / f64::from(u8::MAX)
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
            tenants: Vec::new(),
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
