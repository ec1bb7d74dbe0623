//! `DeleteCall`, `RejectCall`, `DeleteParticipant` and `InviteParticipant`: admit it to the journal,
//! wait a little for Graph, say how far it got.
//!
//! The sending belongs to the journal's sender; only the waiting belongs to the connection.

use std::time::Duration;

use super::action::Deletion;
use super::end;
use super::error::{GatewayError, ParamError};
use super::outcome::{Facts, Outcome, OutcomeKind};
use super::params::Params;
use super::{Trail, event, notes, permit_identifiers, refused, store_failed};
use crate::access::Actor;
use crate::app::App;
use crate::config::legacy::OnPending;
use crate::journal::{Admitted, DeletionRequest, Wait};
use crate::model::deletion::{DeletionKind, DeletionState, Scope};
use crate::model::participant::ParticipantSelector;
use crate::model::plan::{Decision, Earlier, Operation, Order, Refusal};
use crate::store::Standing;
use crate::store::admission::Settled;

/// Carries it out; gives none when the actor has to be checked anew.
pub(super) async fn run(
    app: &App,
    actor: &Actor,
    mut ask: Deletion,
    params: &Params,
    trail: &mut Trail,
) -> Result<Option<Outcome>, GatewayError> {
    let selector = ask.selector.canonical() + &ask.kind.canonical();
    trail.personal.selector = trail.selector(&selector);
    let reason = ask.reason.as_deref();
    trail.personal.reason = reason.and_then(|reason| trail.without_credentials(reason));
    check(app, actor, &mut ask)?;
    let told = Told { most: most(&ask.kind), notes: all_notes(app, &ask) };
    let facts = Facts { subject: (&ask.kind).into(), ..Facts::default() };
    let participant_id = named(&ask.kind);
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
    let most = told.most;
    let outcome = outcome(decided.decision, told, facts, participant_id)?;
    match wait {
        Some(wait) => settle(app, wait, outcome, most).await.map(Some),
        None => Ok(Some(outcome)),
    }
}

/// What the answer needs of the request.
struct Told {
    /// How many others this key may remove.
    most: Option<u32>,
    notes: Vec<String>,
}

/// What is true as soon as it was decided.
fn outcome(
    decision: Decision,
    told: Told,
    facts: Facts,
    participant_id: Option<String>,
) -> Result<Outcome, GatewayError> {
    let mut notes = told.notes;
    let (kind, facts) = match decision {
        Decision::Refuse { refusal, call_id } => {
            return Err(not_done(Facts { call_id, ..facts }, refusal));
        }
        Decision::Admit { call, order } => {
            if call.call.ended_at.is_some() {
                notes.push("The call had ended already; Graph decides.".to_owned());
            }
            (
                OutcomeKind::Accepted,
                ordered(Facts { call_id: Some(call.call.call_id), ..facts }, &order),
            )
        }
        Decision::Arm => (OutcomeKind::Armed, facts),
        Decision::JoinArmed(deletion) => {
            notes.push(ARMED_BEFORE.to_owned());
            (OutcomeKind::Armed, Facts { deletion_id: Some(deletion), ..facts })
        }
        Decision::WouldArm => {
            notes.push(WOULD_ARM.to_owned());
            (OutcomeKind::WouldSend, facts)
        }
        Decision::WouldSend { call_id, order } => {
            (OutcomeKind::WouldSend, ordered(Facts { call_id: Some(call_id), ..facts }, &order))
        }
        Decision::Join(earlier) => {
            (OutcomeKind::Joined, earlier_one(Facts { participant_id, ..facts }, earlier))
        }
        Decision::AlreadyDeleted(earlier) => {
            (OutcomeKind::AlreadyDeleted, earlier_one(Facts { participant_id, ..facts }, earlier))
        }
        Decision::Ending { call_id } => {
            notes.push("The call is being ended already.".to_owned());
            (OutcomeKind::Joined, Facts { call_id: Some(call_id), ..facts })
        }
        Decision::AlreadyEnded { call_id } => {
            (OutcomeKind::AlreadyEnded, Facts { call_id: Some(call_id), ..facts })
        }
    };
    Ok(Outcome { kind, facts, notes })
}

/// With what is or would be sent.
fn ordered(facts: Facts, order: &Order) -> Facts {
    let participant_id = match order {
        Order::RemoveParticipant(id) => Some(id.clone()),
        Order::HangUp | Order::Reject(_) | Order::ReadRoster | Order::Invite(_) => None,
    };
    Facts { operation: Some(order.operation().in_answers()), participant_id, ..facts }
}

fn earlier_one(facts: Facts, earlier: Earlier) -> Facts {
    Facts { call_id: Some(earlier.call_id), deletion_id: Some(earlier.deletion_id), ..facts }
}

/// The participant that the request itself names by its id.
fn named(kind: &DeletionKind) -> Option<String> {
    match kind {
        DeletionKind::DeleteParticipant(ParticipantSelector::Id(id)) => Some(id.clone()),
        DeletionKind::DeleteParticipant(ParticipantSelector::Known(_))
        | DeletionKind::DeleteCall(_)
        | DeletionKind::RejectCall(_)
        | DeletionKind::InviteParticipant(_) => None,
    }
}

fn most(kind: &DeletionKind) -> Option<u32> {
    match kind {
        DeletionKind::DeleteCall(Scope::All { most }) => Some(*most),
        _ => None,
    }
}

fn all_notes(app: &App, ask: &Deletion) -> Vec<String> {
    let mut notes = notes(app, Some(&ask.selector));
    if let DeletionKind::DeleteParticipant(ParticipantSelector::Known(number)) = &ask.kind
        && number.repaired
    {
        notes.push(REPAIRED.to_owned());
    }
    notes
}

const REPAIRED: &str = "Parameter participant began with a blank, which was read as an unescaped \
                        plus sign: send %2B.";

const ARMED_BEFORE: &str = "An earlier request armed this deletion: its time is not prolonged.";

const WOULD_ARM: &str = "No call matches now: the deletion would be armed for the first call of the \
                         number that begins within 60 s.";

/// What the key asks of a request, and what this gateway can do at all; how far the key goes becomes
/// part of what is asked.
fn check(app: &App, actor: &Actor, ask: &mut Deletion) -> Result<(), GatewayError> {
    let key = actor.key();
    if key.reason_required && ask.reason.is_none() {
        let text = "Parameter reason is missing: this API key requires one.";
        return Err(GatewayError::Parameter(ParamError(text.to_owned())));
    }
    permit_identifiers(key, &ask.selector)?;
    if let DeletionKind::DeleteCall(Scope::All { most }) = &mut ask.kind {
        let permitted = key.most_others();
        *most = permitted.ok_or_else(|| refused(Refusal::NotPermitted("scope=all")))?;
    }
    if !app.journal.serves(&key.tenant) {
        return Err(refused(Refusal::NotPermitted("this tenant")));
    }
    Ok(())
}

/// Waits until the deletion is over, the time is up, or the process is to stop; makes of `outcome`
/// what then is true.
async fn settle(
    app: &App,
    mut wait: Wait,
    mut outcome: Outcome,
    most: Option<u32>,
) -> Result<Outcome, GatewayError> {
    outcome.facts.deletion_id = Some(wait.deletion());
    let mut shutdown = app.shutdown.clone();
    let patience = patience(app, &wait);
    let settled = tokio::select! {
        biased;
        settled = wait.settled() => Some(settled),
        () = tokio::time::sleep(patience) => None,
        _ = shutdown.wait_for(|stopping| *stopping) => None,
    };
    let Some(settled) = settled else {
        let result = pending(app, outcome, wait.is_own(), most).await;
        wait.answered_before_its_end();
        return result;
    };
    let result = over(outcome, &settled, most);
    if settled.state == DeletionState::Armed {
        wait.answered_before_its_end();
    } else {
        wait.answered();
    }
    result
}

/// How long Graph's answer is waited for: not at all when none can come. An error is not hurried, because
/// a resumption may come in time to save it.
fn patience(app: &App, wait: &Wait) -> Duration {
    match app.on_pending() {
        OnPending::Success if wait.is_kept_back() => Duration::ZERO,
        OnPending::Success | OnPending::Error => app.wait(),
    }
}

/// The answer when Graph has not answered in time. It is made of what is on disk then: an operator may
/// have cancelled the deletion, or a hold been set, and nobody here was told.
async fn pending(
    app: &App,
    outcome: Outcome,
    own: bool,
    most: Option<u32>,
) -> Result<Outcome, GatewayError> {
    let Some(deletion) = outcome.facts.deletion_id else { return Ok(outcome) };
    let is_success = app.on_pending() == OnPending::Success;
    // Only its own caller, or one who repeats that request, may withdraw a deletion.
    if !is_success && own {
        match app.journal.withdraw(deletion).await {
            Ok(Standing::Withdrawn(_)) => return Err(not_done(outcome.facts, Refusal::Withdrawn)),
            Ok(Standing::Settled(settled)) => return over(outcome, &settled, most),
            Ok(Standing::Begun) => {}
            Err(error) => {
                tracing::error!(deletion.id = %deletion, "not withdrawn: {error}");
                return Err(not_done(outcome.facts, Refusal::UnknownOutcome));
            }
        }
    }
    match app.journal.standing(deletion).await {
        Ok(settled) if settled.state.is_open() && is_success => Ok(outcome),
        Ok(settled) => over(outcome, &settled, most),
        // It was recorded, and may be sent or not: neither a success nor a refusal is certain.
        Err(error) => {
            tracing::error!(deletion.id = %deletion, "where it stands could not be read: {error}");
            Err(not_done(outcome.facts, Refusal::UnknownOutcome))
        }
    }
}

/// The answer when the deletion is over.
fn over(outcome: Outcome, settled: &Settled, most: Option<u32>) -> Result<Outcome, GatewayError> {
    let joined = outcome.kind == OutcomeKind::Joined;
    let (operation_id, participant_id) = match &settled.invited {
        Some(invited) => (Some(invited.operation_id.clone()), invited.participant_id.clone()),
        None => (None, outcome.facts.participant_id),
    };
    let facts = Facts {
        operation: settled.operation.map(Operation::in_answers).or(outcome.facts.operation),
        operation_id,
        participant_id,
        progress: settled.progress,
        ..outcome.facts
    };
    match end::told(settled.state, settled.failure.as_deref(), settled.progress) {
        Some(Ok(OutcomeKind::Accepted)) | None => Err(not_done(facts, Refusal::UnknownOutcome)),
        Some(Ok(kind)) => {
            let kind = if joined { OutcomeKind::Joined } else { kind };
            Ok(Outcome { kind, facts, ..outcome })
        }
        // The limit of somebody else's deletion is not this key's.
        Some(Err(Refusal::TooMany { .. })) => {
            Err(not_done(facts, Refusal::TooMany { most: most.filter(|_| !joined) }))
        }
        Some(Err(refusal)) => Err(not_done(facts, refusal)),
    }
}

fn not_done(facts: Facts, refusal: Refusal) -> GatewayError {
    GatewayError::Refused { refusal, facts: Box::new(facts) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::deletion::{DeletionState, TOO_MANY};

    #[test]
    fn the_limit_of_somebody_else_s_deletion_is_not_told_as_one_s_own() {
        for (kind, told) in [(OutcomeKind::Accepted, Some(5)), (OutcomeKind::Joined, None)] {
            let settled = Settled {
                deletion_id: crate::id::DeletionId::sortable(),
                state: DeletionState::Failed,
                failure: Some(TOO_MANY.to_owned()),
                operation: None,
                progress: None,
                invited: None,
            };
            let outcome = Outcome { kind, facts: Facts::default(), notes: Vec::new() };
            match over(outcome, &settled, Some(5)) {
                Err(GatewayError::Refused { refusal: Refusal::TooMany { most }, .. }) => {
                    assert_eq!(most, told);
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
