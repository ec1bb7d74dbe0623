//! One attempt of a step: sent, judged, settled.
//!
//! What it sends is all in its lease; what the registry learned since is asked for where it matters.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::Journal;
use super::budget::Place;
use super::dispatch::Ready;
use super::verdict::{Verdict, effect_possible, verdict};
use crate::clock::Timestamp;
use crate::graph::error::GraphError;
use crate::graph::pacing::next_attempt;
use crate::graph::{Answer, GraphClient};
use crate::health::Health;
use crate::model::change::Participant;
use crate::model::deletion::{DeletionState, LEG_OVER, NO_SUCH_CALL, NO_SUCH_PARTICIPANT};
use crate::model::everybody::{InTheCall, Present};
use crate::model::plan::{Order, RejectReason};
use crate::store::admission::{Asked, AttemptEnd, Before, Leased, Next, Settled};
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
        let Ready { leased, began, mut place } = ready;
        if self.is_too_late(began) {
            give_back(&self.journal, leased, Duration::ZERO).await;
        } else if let Some(answer) =
            self.graph.refuse_other_app(&leased.tenant, leased.app_id.as_deref())
        {
            self.settle(leased, &answer, began, None, &mut place).await;
        } else {
            self.send(leased, began, &mut place).await;
        }
        drop(place);
        self.journal.look_at_backlog();
    }

    /// A lease that could end before the answer might let somebody else send as well.
    fn is_too_late(&self, began: Instant) -> bool {
        let rules = &self.journal.rules;
        began.elapsed() + rules.request_timeout >= rules.lease()
    }

    async fn send(&self, leased: Leased, began: Instant, place: &mut Place) {
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
            Order::Reject(reason) => match self.reject(&leased, *reason, began).await {
                Some(answer) => (answer, None),
                None => return,
            },
        };
        // Another step may be due at once.
        let is_followed = leased.is_part || matches!(leased.order, Order::Reject(_));
        self.settle(leased, &answer, began, done, place).await;
        if is_followed {
            self.journal.backlog.store(true, Ordering::Relaxed);
        }
    }

    /// Rejects a call that still rings, and no other: what was told since the lease counts, and nothing
    /// is sent after the step's deadline. None when it was not sent, but given back.
    async fn reject(
        &self,
        leased: &Leased,
        reason: RejectReason,
        began: Instant,
    ) -> Option<Answer> {
        let (now, asked_at) = (self.journal.clock.now(), Instant::now());
        let left = match self.journal.store.still_rings(leased.step, now).await {
            // The store may have taken long to say so.
            Ok(Some(left)) if !self.is_too_late(began) => left.saturating_sub(asked_at.elapsed()),
            Ok(_) => {
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
    async fn settle(
        &self,
        leased: Leased,
        answer: &Answer,
        began: Instant,
        done: Option<Next>,
        place: &mut Place,
    ) {
        let before = self.before(&leased, answer).await;
        let verdict = verdict(leased.order.operation(), before, answer);
        self.report(&leased, verdict, answer, place);
        let end = self.end(&leased, verdict, answer, done);
        if verdict == Verdict::Sent && is_told_at_once(&leased) {
            // Graph has taken it, and the deletion has long been on disk: who waits need not wait
            // for this to be written as well. After a crash before that it is sent again and gone.
            let settled = Settled {
                deletion_id: leased.deletion_id,
                state: DeletionState::Sent,
                failure: None,
                operation: Some(leased.order.operation()),
                progress: None,
                invited: None,
            };
            self.journal.waiting.settled_ahead(&settled, end.answered_at);
        }
        let mut wait = SETTLE_AGAIN;
        loop {
            match self.journal.store.settle(leased.clone(), end.clone()).await {
                Ok(Some(settled)) => return self.journal.waiting.settled(&settled),
                Ok(None) => return,
                Err(error) if self.may_settle(&error, began) => {
                    if !error.is_shown() {
                        tracing::warn!(deletion.id = %leased.deletion_id, "not settled yet: {error}");
                    }
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
            StoreError::Busy | StoreError::Full | StoreError::Disk => true,
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
        let moment = self.journal.clock.moment();
        let explanation = answer.result.as_ref().err().map(GraphError::explanation);
        let is_removal = matches!(leased.order, Order::RemoveParticipant(_));
        let over = |state, failure, call_is_gone| Next::Over { state, failure, call_is_gone };
        let again = |retry_after| {
            let attempts = u32::try_from(leased.attempt).unwrap_or(u32::MAX);
            // Whether there is time for it by then, and what is sent instead, is for the store to say.
            Next::At(next_attempt(attempts, moment.wall, retry_after, jitter()))
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
            answered_at: moment.wall,
            steady: moment.steady,
            status: answer.status,
            error: explanation,
            hint: self.hint(leased, answer),
            asked: asked(verdict, answer, moment.wall),
            request_id: answer.request_id.clone(),
            client_request_id: answer.client_request_id.clone(),
            date: answer.date.clone(),
            diagnostic: answer.diagnostic.clone(),
            effect_possible: may_have_been_done(leased, verdict, answer),
            next,
        }
    }
    /// What an operator can do about an answer, in the words of his configuration.
    fn hint(&self, leased: &Leased, answer: &Answer) -> Option<String> {
        let hint = answer.result.as_ref().err()?.hint_for(leased.order.operation())?;
        Some(self.graph.in_keys_of(&leased.tenant, hint).into_owned())
    }
}

/// The wait that an answer asked for, seen from `now`. What the login says of one request with a token that
/// Graph refused is kept for nobody else.
fn asked(verdict: Verdict, answer: &Answer, now: Timestamp) -> Option<Asked> {
    let Verdict::Again { retry_after: Some(wait) } = verdict else { return None };
    let by_login = matches!(answer.result, Err(GraphError::Login(_)));
    if by_login && answer.status.is_some() {
        return None;
    }
    Some(Asked { not_before: now + wait, by_login })
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

/// See [`effect_possible`]. To read has no effect, and what invites again was not done; nor was a rejection
/// for which Graph named a time to come again.
fn may_have_been_done(leased: &Leased, verdict: Verdict, answer: &Answer) -> bool {
    match (&leased.order, verdict) {
        (Order::ReadRoster, _)
        | (Order::Invite(_), Verdict::Again { .. })
        | (Order::Reject(_), Verdict::Again { retry_after: Some(_) }) => false,
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
    let now = journal.clock.moment();
    match journal.store.give_back(leased, now, now.wall + pause).await {
        Ok(()) => journal.backlog.store(true, Ordering::Relaxed),
        Err(error) if error.is_shown() => {}
        Err(error) => tracing::warn!("a step could not be given back: {error}"),
    }
}

/// A number between 0 and 1, so that what failed together is not tried again together.
pub(super) fn jitter() -> f64 {
    let mut byte = [0; 1];
    // Without randomness there is no jitter, which delays nothing.
    let _ = aws_lc_rs::rand::fill(&mut byte);
    f64::from(byte[0]) / f64::from(u8::MAX)
}
