//! `DeleteCall` and `RejectCall`: admit it to the journal, wait a little for Graph, say how far it got.
//!
//! The sending belongs to the journal's sender; only the waiting belongs to the connection.

use super::action::DeleteCall;
use super::error::{GatewayError, ParamError};
use super::outcome::{Outcome, OutcomeKind};
use super::params::Params;
use super::{Trail, event, notes, permit_identifiers, refused, store_failed};
use crate::access::Actor;
use crate::app::App;
use crate::config::legacy::OnPending;
use crate::id::CallId;
use crate::journal::{Admitted, DeletionRequest, Wait};
use crate::model::deletion::{DeletionState, ENDED_BEFORE, NO_SUCH_CALL, RINGS_NO_MORE};
use crate::model::plan::{Decision, Refusal};
use crate::store::Standing;
use crate::store::admission::Settled;

/// Carries out a `DeleteCall` or a `RejectCall`; gives none when the actor has to be checked anew.
pub(super) async fn run(
    app: &App,
    actor: &Actor,
    ask: DeleteCall,
    params: &Params,
    trail: &mut Trail,
) -> Result<Option<Outcome>, GatewayError> {
    trail.personal.selector = trail.selector(&ask.selector.canonical());
    let reason = ask.reason.as_deref();
    trail.personal.reason = reason.and_then(|reason| trail.without_credentials(reason));
    check(app, actor, &ask)?;
    let notes = notes(app, Some(&ask.selector));
    let request = DeletionRequest {
        kind: ask.kind,
        selector: ask.selector,
        dry_run: ask.dry_run,
        reason: trail.personal.reason.clone(),
        audit: event(params, trail, "allowed", ""),
        personal: trail.personal.clone(),
    };
    let admitted = app.journal.admit(actor, request).await;
    let admitted =
        admitted.map_err(|error| store_failed("a deletion could not be recorded", &error))?;
    let (decided, wait) = match admitted {
        Admitted::AccessChanged => return Ok(None),
        Admitted::Decided(decided, wait) => (decided, wait),
    };
    let outcome = |kind, call_id| Outcome {
        kind,
        call_id: Some(call_id),
        deletion_id: None,
        operation: None,
        notes,
    };
    let outcome = match decided.decision {
        Decision::Refuse { refusal, call_id } => {
            return Err(GatewayError::Refused { refusal, call_id, deletion_id: None });
        }
        Decision::Admit { call, operation } => {
            let mut outcome = outcome(OutcomeKind::Accepted, call.call.call_id);
            outcome.operation = Some(operation);
            if call.call.ended_at.is_some() {
                outcome.notes.push("The call had ended already; Graph decides.".to_owned());
            }
            outcome
        }
        Decision::Join(earlier) => Outcome {
            deletion_id: Some(earlier.deletion_id),
            ..outcome(OutcomeKind::Joined, earlier.call_id)
        },
        Decision::AlreadyDeleted(earlier) => Outcome {
            deletion_id: Some(earlier.deletion_id),
            ..outcome(OutcomeKind::AlreadyDeleted, earlier.call_id)
        },
        Decision::Ending { call_id } => {
            let mut outcome = outcome(OutcomeKind::Joined, call_id);
            outcome.notes.push("The call is being ended already.".to_owned());
            outcome
        }
        Decision::AlreadyEnded { call_id } => outcome(OutcomeKind::AlreadyEnded, call_id),
        Decision::WouldSend { call_id, operation } => {
            Outcome { operation: Some(operation), ..outcome(OutcomeKind::WouldSend, call_id) }
        }
    };
    match wait {
        Some(wait) => settle(app, wait, outcome).await.map(Some),
        None => Ok(Some(outcome)),
    }
}

/// What the key asks of a request, and what this gateway can do at all.
fn check(app: &App, actor: &Actor, ask: &DeleteCall) -> Result<(), GatewayError> {
    if actor.key().reason_required && ask.reason.is_none() {
        let text = "Parameter reason is missing: this API key requires one.";
        return Err(GatewayError::Parameter(ParamError(text.to_owned())));
    }
    permit_identifiers(actor.key(), &ask.selector)?;
    // No key has the right to everybody's leg yet.
    if ask.scope_all {
        return Err(refused(Refusal::NotPermitted("scope=all")));
    }
    if !app.journal.serves(&actor.key().tenant) {
        return Err(refused(Refusal::NotPermitted("this tenant")));
    }
    Ok(())
}

/// Waits until the deletion is over, the time is up, or the process is to stop; makes of `outcome`
/// what then is true.
async fn settle(app: &App, mut wait: Wait, outcome: Outcome) -> Result<Outcome, GatewayError> {
    let deletion = wait.deletion();
    let outcome = Outcome { deletion_id: Some(deletion), ..outcome };
    let mut shutdown = app.shutdown.clone();
    let settled = tokio::select! {
        biased;
        settled = wait.settled() => Some(settled),
        () = tokio::time::sleep(app.wait()) => None,
        _ = shutdown.wait_for(|stopping| *stopping) => None,
    };
    let Some(settled) = settled else {
        let result = pending(app, outcome, wait.is_own()).await;
        wait.answered_before_its_end();
        return result;
    };
    let result = over(outcome, &settled);
    wait.answered();
    result
}

/// The answer when Graph has not answered in time.
async fn pending(app: &App, outcome: Outcome, own: bool) -> Result<Outcome, GatewayError> {
    let Some(deletion) = outcome.deletion_id else { return Ok(outcome) };
    if app.on_pending() == OnPending::Success {
        return Ok(outcome);
    }
    // Only its own caller, or one who repeats that request, may withdraw a deletion.
    if !own {
        return Err(not_done(outcome, Refusal::UnknownOutcome));
    }
    match app.journal.withdraw(deletion).await {
        Ok(Standing::Withdrawn(_)) => Err(not_done(outcome, Refusal::Withdrawn)),
        Ok(Standing::Settled(settled)) => over(outcome, &settled),
        Ok(Standing::Begun) => Err(not_done(outcome, Refusal::UnknownOutcome)),
        Err(error) => {
            tracing::error!(deletion.id = %deletion, "not withdrawn: {error}");
            Err(not_done(outcome, Refusal::UnknownOutcome))
        }
    }
}

/// The answer when the deletion is over.
fn over(outcome: Outcome, settled: &Settled) -> Result<Outcome, GatewayError> {
    let joined = outcome.kind == OutcomeKind::Joined;
    let done = |kind, outcome: Outcome| Outcome {
        kind: if joined { OutcomeKind::Joined } else { kind },
        operation: settled.operation.or(outcome.operation),
        ..outcome
    };
    match settled.state {
        DeletionState::Sent | DeletionState::Confirmed => Ok(done(OutcomeKind::Sent, outcome)),
        DeletionState::Gone => Ok(done(OutcomeKind::Gone, outcome)),
        DeletionState::Failed if settled.failure.as_deref() == Some(NO_SUCH_CALL) => {
            Err(not_done(outcome, Refusal::Ended))
        }
        DeletionState::Failed => Err(not_done(outcome, Refusal::RefusedByGraph)),
        DeletionState::Held => Err(not_done(outcome, Refusal::Policy)),
        DeletionState::Cancelled | DeletionState::Obsolete => {
            let refusal = match settled.failure.as_deref() {
                Some(RINGS_NO_MORE) => Refusal::RingsNoMore,
                Some(ENDED_BEFORE) => Refusal::Ended,
                _ => Refusal::Withdrawn,
            };
            Err(not_done(outcome, refusal))
        }
        DeletionState::Unknown
        | DeletionState::Open
        | DeletionState::Armed
        | DeletionState::PendingApproval => Err(not_done(outcome, Refusal::UnknownOutcome)),
    }
}

fn not_done(outcome: Outcome, refusal: Refusal) -> GatewayError {
    let call_id: Option<CallId> = outcome.call_id;
    GatewayError::Refused { refusal, call_id, deletion_id: outcome.deletion_id }
}
