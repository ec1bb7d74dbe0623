//! One attempt of a step: sent, judged, settled.
//!
//! What it sends is all in its lease; what the registry learned since is asked for where it matters.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::Journal;
use super::dispatch::Ready;
use super::verdict::{Verdict, effect_possible, verdict};
use crate::graph::error::{GraphError, LoginError};
use crate::graph::pacing::next_attempt;
use crate::graph::{Answer, GraphClient};
use crate::health::Health;
use crate::model::change::Participant;
use crate::model::deletion::{DeletionState, LEG_OVER, NO_SUCH_CALL, NO_SUCH_PARTICIPANT};
use crate::model::everybody::{InTheCall, Present};
use crate::model::plan::{Order, RejectReason};
use crate::store::admission::{AttemptEnd, Before, Leased, Next, Settled};
use crate::store::error::StoreError;

/// The first wait before a settlement is written again, and the longest.
const SETTLE_AGAIN: Duration = Duration::from_millis(100);
const SETTLE_RARELY: Duration = Duration::from_secs(5);
/// How long a step waits that was not sent because the store could not be asked.
const PAUSE: Duration = Duration::from_secs(1);

/// One attempt.
pub(super) struct Attempt {
    pub(super) journal: Journal,
    pub(super) graph: GraphClient,
    pub(super) health: Health,
}

impl Attempt {
    /// Sends the step if its lease lasts for long enough, and settles it.
    pub(super) async fn run(self, ready: Ready) {
        let Ready { leased, began, slot } = ready;
        let rules = &self.journal.rules;
        // A lease that could end before the answer might let somebody else send as well.
        if began.elapsed() + rules.request_timeout >= rules.lease() {
            give_back(&self.journal, leased, Duration::ZERO).await;
        } else if let Some(answer) =
            self.graph.refuse_other_app(&leased.tenant, leased.app_id.as_deref())
        {
            self.settle(leased, &answer, began, None).await;
        } else {
            self.send(leased, began).await;
        }
        drop(slot);
        self.journal.look_at_backlog();
    }

    async fn send(&self, leased: Leased, began: Instant) {
        let (tenant, call) = (&leased.tenant, &leased.graph_id);
        let (answer, done) = match &leased.order {
            Order::HangUp => (self.graph.hang_up(tenant, call).await, None),
            Order::RemoveParticipant(id) => {
                (self.graph.remove_participant(tenant, call, id).await, None)
            }
            Order::Invite(invitation) => {
                let (answer, invited) = self.graph.invite(tenant, call, invitation).await.split();
                (answer, invited.map(Next::Invited))
            }
            Order::ReadRoster => {
                let (answer, everybody) = self.graph.roster(tenant, call).await.split();
                let client_id = self.graph.client_id(tenant).map(str::to_owned);
                (answer, everybody.map(|people| Next::RemoveAll(in_the_call(client_id, people))))
            }
            Order::Reject(reason) => match self.reject(&leased, *reason).await {
                Some(answer) => (answer, None),
                None => return,
            },
        };
        // Another step may be due at once.
        let is_followed = leased.is_part || matches!(leased.order, Order::Reject(_));
        self.settle(leased, &answer, began, done).await;
        if is_followed {
            self.journal.backlog.store(true, Ordering::Relaxed);
        }
    }

    /// Rejects a call that still rings, and no other: what was told since the lease counts, and nothing
    /// is sent after the step's deadline. None when it was not sent, but given back.
    async fn reject(&self, leased: &Leased, reason: RejectReason) -> Option<Answer> {
        let (now, asked_at) = (self.journal.clock.now(), Instant::now());
        let left = match self.journal.store.still_rings(leased.step, now).await {
            Ok(Some(left)) => left.saturating_sub(asked_at.elapsed()),
            Ok(None) => {
                give_back(&self.journal, leased.clone(), Duration::ZERO).await;
                return None;
            }
            Err(error) => {
                tracing::warn!(
                    deletion.id = %leased.deletion_id,
                    "not rejected: nobody knows whether it rings: {error}"
                );
                give_back(&self.journal, leased.clone(), PAUSE).await;
                return None;
            }
        };
        Some(self.graph.reject(&leased.tenant, &leased.graph_id, reason, left).await)
    }

    /// Judges the answer and writes it down: again and again while the store is busy or full, and
    /// until the lease ends when it failed otherwise, because another operation that was committed
    /// with this one may have been at fault. `done` is what follows a success that is not the end.
    async fn settle(&self, leased: Leased, answer: &Answer, began: Instant, done: Option<Next>) {
        let before = self.before(&leased, answer).await;
        let verdict = verdict(leased.order.operation(), before, answer);
        self.report(&leased, verdict, answer);
        if verdict == Verdict::Sent && is_told_at_once(&leased) {
            // Graph has taken it, and the deletion has long been on disk: who waits need not wait
            // for this to be written as well. After a crash before that it is sent again and gone.
            self.journal.waiting.settled(&Settled {
                deletion_id: leased.deletion_id,
                state: DeletionState::Sent,
                failure: None,
                operation: Some(leased.order.operation()),
                progress: None,
                invited: None,
            });
        }
        let end = self.end(&leased, verdict, answer, done);
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
        let matters = leased.earlier_effect_possible || matches!(leased.order, Order::Reject(_));
        let is_missing =
            matches!(answer.result, Err(GraphError::NotFound | GraphError::NoParticipant));
        if !matters || !is_missing {
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

    fn end(
        &self,
        leased: &Leased,
        verdict: Verdict,
        answer: &Answer,
        done: Option<Next>,
    ) -> AttemptEnd {
        let now = self.journal.clock.now();
        let explanation = answer.result.as_ref().err().map(GraphError::explanation);
        let is_removal = matches!(leased.order, Order::RemoveParticipant(_));
        let over = |state, failure, call_is_gone| Next::Over { state, failure, call_is_gone };
        let again = |retry_after| {
            let attempt = u32::try_from(leased.attempt).unwrap_or(u32::MAX);
            Next::At(next_attempt(attempt, now, retry_after, jitter()))
        };
        let next = match verdict {
            Verdict::Sent => done.unwrap_or_else(|| over(DeletionState::Sent, None, false)),
            // Without the call nobody was removed from it.
            Verdict::Gone | Verdict::NeverThere if is_leg_over(leased, answer) => {
                let (state, why) = leg_over(verdict);
                over(state, Some(why), false)
            }
            // Of everybody who is to leave, whoever is not there has left.
            Verdict::Gone => over(DeletionState::Gone, None, !is_removal),
            Verdict::NeverThere if is_removal && leased.is_part => {
                over(DeletionState::Gone, None, false)
            }
            Verdict::NeverThere if is_removal => {
                over(DeletionState::Failed, Some(NO_SUCH_PARTICIPANT.to_owned()), false)
            }
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
            effect_possible: may_have_been_done(leased, verdict, answer),
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
                let hint = self.graph.in_keys_of(&leased.tenant, hint);
                tracing::error!(
                    deletion.id = %leased.deletion_id, attempt = leased.attempt, status,
                    tenant.id = %leased.tenant,
                    "nothing can be sent for this tenant: {explanation}; {hint}"
                );
            }
            Verdict::Failed { hint } => tracing::warn!(
                deletion.id = %leased.deletion_id, attempt = leased.attempt, status,
                "deletion {} failed: {explanation}{}", leased.deletion_id, after_failure(hint)
            ),
            Verdict::Again { .. } => {
                let operation = leased.order.operation();
                let hint = answer.result.as_ref().err().and_then(|error| error.hint_for(operation));
                tracing::warn!(
                    deletion.id = %leased.deletion_id, attempt = leased.attempt, status,
                    "deletion {} is tried again: {explanation}{}",
                    leased.deletion_id, after_failure(hint)
                );
            }
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

/// A hint behind the failure that it is about.
fn after_failure(hint: Option<&str>) -> String {
    hint.map(|hint| format!("; {hint}")).unwrap_or_default()
}

/// Who is told before it is settled that Graph took it: nobody of what is one step of several, or tells
/// more than that; nor of a rejection, because a call that was answered meanwhile was not rejected.
fn is_told_at_once(leased: &Leased) -> bool {
    !leased.is_part && matches!(leased.order, Order::HangUp | Order::RemoveParticipant(_))
}

/// One of everybody was to be removed, and Graph has no such call any more.
fn is_leg_over(leased: &Leased, answer: &Answer) -> bool {
    leased.is_part
        && matches!(leased.order, Order::RemoveParticipant(_))
        && matches!(answer.result, Err(GraphError::NotFound))
}

/// How a removal ends that found no call; one that an earlier attempt may have done, nobody knows of.
fn leg_over(verdict: Verdict) -> (DeletionState, String) {
    if verdict == Verdict::Gone {
        let why = format!("{LEG_OVER}, and an earlier attempt may have taken effect");
        (DeletionState::Unknown, why)
    } else {
        (DeletionState::Obsolete, LEG_OVER.to_owned())
    }
}

/// See [`effect_possible`]. To read has no effect, and what invites again was not done.
fn may_have_been_done(leased: &Leased, verdict: Verdict, answer: &Answer) -> bool {
    match (&leased.order, verdict) {
        (Order::ReadRoster, _) | (Order::Invite(_), Verdict::Again { .. }) => false,
        _ => effect_possible(answer),
    }
}

fn in_the_call(client_id: Option<String>, people: Vec<Participant>) -> InTheCall {
    let present = |one: Participant| Present {
        is_person: one.normalised.is_some() || one.user_id.is_some(),
        participant_id: one.participant_id,
        app_id: one.app_id,
    };
    InTheCall { client_id, everybody: people.into_iter().map(present).collect() }
}

/// Makes a step due again, after `pause`, that was not sent.
pub(super) async fn give_back(journal: &Journal, leased: Leased, pause: Duration) {
    let now = journal.clock.now();
    match journal.store.give_back(leased, now, now + pause).await {
        Ok(()) => journal.backlog.store(true, Ordering::Relaxed),
        Err(error) => tracing::warn!("a step could not be given back: {error}"),
    }
}

/// A number between 0 and 1, so that what failed together is not tried again together.
fn jitter() -> f64 {
    let mut byte = [0; 1];
    // Without randomness there is no jitter, which delays nothing.
    let _ = aws_lc_rs::rand::fill(&mut byte);
    f64::from(byte[0]) / f64::from(u8::MAX)
}
