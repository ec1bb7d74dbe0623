//! `GetCallID`, `GetCallInformation` and `GetDeletion`: what the registry and the journal know.
//!
//! They find as `DeleteCall` finds, change nothing, ask Graph nothing, and never wait for the
//! writer. Who looked at what is in the audit record.

use super::action::{CallLookup, DeletionLookup};
use super::error::GatewayError;
use super::outcome::{CallInformation, DeletionStanding, Done, Found};
use super::params::Params;
use super::{Trail, codes, end, event, notes, permit_identifiers, refused, store_failed};
use crate::access::Actor;
use crate::app::App;
use crate::clock::Timestamp;
use crate::config::legacy::CallField;
use crate::id::{CallId, DeletionId};
use crate::model::deletion::DeletionState;
use crate::model::plan::{self, Operation, Refusal};
use crate::model::rights::Right;
use crate::store::lookup::{CallReport, LookedUp};
use crate::store::records::DeletionDetails;

/// Carries out a `GetCallID`; gives none when the actor has to be checked anew.
pub(super) async fn call_id(
    app: &App,
    actor: &Actor,
    ask: CallLookup,
    params: &Params,
    trail: &mut Trail,
) -> Result<Option<Done>, GatewayError> {
    let notes = notes(app, Some(&ask.selector));
    let call = call(app, actor, ask, params, trail).await?;
    Ok(call.map(|call| Done::Found { what: Box::new(Found::CallId(call.call_id)), notes }))
}

/// Carries out a `GetCallInformation`; gives none when the actor has to be checked anew.
pub(super) async fn call_information(
    app: &App,
    actor: &Actor,
    ask: CallLookup,
    params: &Params,
    trail: &mut Trail,
) -> Result<Option<Done>, GatewayError> {
    let notes = notes(app, Some(&ask.selector));
    let Some(call) = call(app, actor, ask, params, trail).await? else { return Ok(None) };
    let mapping = &app.legacy.mapping;
    let what = Found::Call(CallInformation {
        platform_call_id: named(&call, call.platform_call_id.as_ref(), &mapping.platform_call_id),
        native_id: named(&call, call.native_id.as_ref(), &mapping.native_id),
        meeting_id: named(&call, call.meeting_id.as_ref(), &mapping.meeting_id),
        call: *call,
    });
    Ok(Some(Done::Found { what: Box::new(what), notes }))
}

/// Carries out a `GetDeletion`; gives none when the actor has to be checked anew.
pub(super) async fn deletion(
    app: &App,
    actor: &Actor,
    ask: DeletionLookup,
    params: &Params,
    trail: &mut Trail,
) -> Result<Option<Done>, GatewayError> {
    let id = ask.deletion_id;
    trail.personal.selector = trail.selector(&format!("deletionID={id};"));
    // Before the store is asked, so that what is written in between is not missed by both.
    let taken = app.journal.taken_ahead(id);
    let looked = app.lookup.deletion(actor, id).await;
    let looked =
        looked.map_err(|error| store_failed("a deletion could not be looked up", &error))?;
    let details = match looked {
        LookedUp::AccessChanged => return Ok(None),
        LookedUp::Seen(None) => return Err(refused(Refusal::NoSuchDeletion)),
        LookedUp::Seen(Some(details)) => details,
    };
    let standing = standing(as_told(details, taken), actor.may(Right::SeeHolds));
    record(app, params, trail, standing.call_id.as_ref(), Some(id));
    let what = Box::new(Found::Deletion(standing));
    Ok(Some(Done::Found { what, notes: notes(app, None) }))
}

/// The one call that is meant; none when the actor has to be checked anew.
async fn call(
    app: &App,
    actor: &Actor,
    ask: CallLookup,
    params: &Params,
    trail: &mut Trail,
) -> Result<Option<Box<CallReport>>, GatewayError> {
    trail.personal.selector = trail.selector(&ask.selector.canonical());
    permit_identifiers(actor.key(), &ask.selector)?;
    let looked = app.lookup.call(actor, ask.selector).await;
    let looked = looked.map_err(|error| store_failed("a call could not be looked up", &error))?;
    match looked {
        LookedUp::AccessChanged => Ok(None),
        LookedUp::Seen(plan::Found::None) => Err(refused(Refusal::NotFound)),
        LookedUp::Seen(plan::Found::Several(calls)) => Err(refused(Refusal::Ambiguous(calls))),
        LookedUp::Seen(plan::Found::One(call)) => {
            record(app, params, trail, Some(&call.call_id), None);
            Ok(Some(call))
        }
    }
}

fn record(
    app: &App,
    params: &Params,
    trail: &Trail,
    call_id: Option<&CallId>,
    deletion_id: Option<DeletionId>,
) {
    let mut event = event(params, trail, "allowed", "found");
    event.call_id = call_id.map(ToString::to_string);
    event.deletion_id = deletion_id.map(|id| id.to_string());
    app.audit.looked_up(event, trail.personal.clone());
}

/// The value by which a call is found under one of the legacy names: what an import said, else the
/// first of the configured fields that Graph told.
fn named(call: &CallReport, imported: Option<&String>, fields: &[CallField]) -> Option<String> {
    let told = |field: &CallField| match field {
        CallField::GraphCallId => Some(&call.graph_id.0),
        CallField::CallChainId => call.chain_id.as_ref(),
        CallField::ThreadId => call.thread_id.as_ref(),
        CallField::JoinMeetingId => call.join_meeting_id.as_ref(),
    };
    imported.or_else(|| fields.iter().find_map(told)).cloned()
}

/// A step that is still to be sent.
const OPEN: &str = "open";

/// The deletion as its caller knows it: one that Graph has taken is told as sent a moment before that is
/// on disk, and whoever asks then is not told less.
fn as_told(mut details: DeletionDetails, taken: Option<Timestamp>) -> DeletionDetails {
    if let Some(at) = taken
        && details.row.state.is_open()
    {
        details.row.state = DeletionState::Sent;
        details.row.settled_at = Some(at);
        details.row.failure = None;
    }
    details
}

/// What a key may know of its deletion: not that a hold stands, unless it may see holds.
fn standing(details: DeletionDetails, sees_holds: bool) -> DeletionStanding {
    let DeletionDetails { row, end, steps, progress, invited, .. } = details;
    let is_hidden = row.state == DeletionState::Held && !sees_holds;
    // What came before it was not done in time, or was done first.
    let step = steps.last();
    let operation = step.and_then(|step| Operation::from_word(&step.operation));
    let removed = match operation {
        Some(Operation::RemoveParticipant) if progress.is_none() => {
            step.and_then(|step| step.target.clone())
        }
        _ => None,
    };
    let told = end::told(row.state, row.failure.as_deref(), progress);
    let waiting = steps.iter().filter(|step| step.state == OPEN);
    let next_attempt_at = waiting.filter_map(|step| step.next_attempt_at).min();
    let attempts = || steps.iter().flat_map(|step| &step.attempts);
    let last = attempts().max_by_key(|attempt| attempt.started_at);
    // While an attempt is under way the column says when its lease lapses.
    let is_waiting =
        row.state.is_open() && last.is_none_or(|attempt| attempt.answered_at.is_some());
    DeletionStanding {
        deletion_id: row.deletion_id,
        call_id: row.call_id.as_deref().map(CallId::new),
        state: if is_hidden { DeletionState::Failed } else { row.state }.as_str(),
        word: told.map(|told| told.map_err(|refusal| codes::reason(&refusal))),
        operation: operation.map(Operation::in_answers),
        participant_id: removed
            .or_else(|| invited.as_ref().and_then(|invited| invited.participant_id.clone())),
        operation_id: invited.map(|invited| invited.operation_id),
        progress,
        created_at: row.created_at,
        deadline_at: row.deadline_at,
        settled_at: row.settled_at,
        confirmed_at: row.confirmed_at,
        attempts: attempts().count(),
        last_attempt_at: last.map(|attempt| attempt.started_at),
        next_attempt_at: next_attempt_at.filter(|_| is_waiting),
        failure: row.failure.filter(|_| !is_hidden),
        end,
    }
}

#[cfg(test)]
mod tests {
    use super::super::error::Reason;
    use super::*;
    use crate::id::GraphCallId;
    use crate::model::call::CallState;
    use crate::store::records::{AttemptDetails, DeletionRow, OrderParameters, StepDetails};

    fn attempt(number: i64, answered_at: Option<i64>) -> AttemptDetails {
        AttemptDetails {
            number,
            started_at: Timestamp(number),
            answered_at: answered_at.map(Timestamp),
            status: None,
            error: None,
            request_id: None,
            client_request_id: None,
            effect_possible: true,
        }
    }

    fn details(state: DeletionState, attempts: Vec<AttemptDetails>) -> DeletionDetails {
        DeletionDetails {
            row: DeletionRow {
                row: 1,
                deletion_id: DeletionId::random(),
                state,
                call_id: Some("Rec-1".to_owned()),
                graph_call_id: None,
                tenant: String::new(),
                key_id: None,
                kind: "DeleteCall".to_owned(),
                scope: "leg".to_owned(),
                target: None,
                created_at: Timestamp(0),
                settled_at: None,
                confirmed_at: None,
                deadline_at: Timestamp(99),
                failure: Some("why".to_owned()),
                waiting: None,
            },
            peer: None,
            reason: None,
            abandoned_at: None,
            end: None,
            progress: None,
            invited: None,
            parameters: OrderParameters::default(),
            steps: vec![StepDetails {
                position: 1,
                operation: "hang-up".to_owned(),
                target: None,
                state: "open".to_owned(),
                failure: None,
                next_attempt_at: Some(Timestamp(70)),
                attempts,
            }],
        }
    }

    #[test]
    fn the_next_attempt_is_told_while_the_deletion_waits_for_it() {
        let next = |state, attempts| standing(details(state, attempts), false).next_attempt_at;
        assert_eq!(next(DeletionState::Open, Vec::new()), Some(Timestamp(70)));
        assert_eq!(next(DeletionState::Open, vec![attempt(1, None)]), None);
        let lost_and_answered = vec![attempt(1, None), attempt(2, Some(3))];
        assert_eq!(next(DeletionState::Open, lost_and_answered), Some(Timestamp(70)));
        assert_eq!(next(DeletionState::Obsolete, vec![attempt(1, Some(2))]), None);
    }

    #[test]
    fn what_its_caller_was_told_is_told_before_it_is_on_disk_and_nothing_older_after() {
        let told = |state, taken| {
            let details = details(state, vec![attempt(1, None)]);
            let shown = standing(as_told(details, taken), false);
            (shown.state, shown.settled_at, shown.next_attempt_at)
        };
        let at = Some(Timestamp(7));
        assert_eq!(told(DeletionState::Open, None), ("open", None, None));
        assert_eq!(told(DeletionState::Open, at), ("sent", at, None));
        assert_eq!(told(DeletionState::Confirmed, at), ("confirmed", None, None));
    }

    #[test]
    fn a_hold_is_shown_to_who_may_see_holds() {
        let shown = |sees| {
            let shown = standing(details(DeletionState::Held, Vec::new()), sees);
            (shown.state, shown.word, shown.failure)
        };
        assert_eq!(shown(false), ("failed", Some(Err(Reason::Policy)), None));
        let all = ("held", Some(Err(Reason::Policy)), Some("why".to_owned()));
        assert_eq!(shown(true), all);
    }

    #[test]
    fn a_call_is_named_by_its_import_and_else_by_the_first_field_that_is_set() {
        let mut call = CallReport {
            call_id: CallId::new("Rec-1"),
            graph_id: GraphCallId("graph".to_owned()),
            state: CallState::Established,
            direction: None,
            chain_id: None,
            thread_id: None,
            join_meeting_id: Some("join".to_owned()),
            platform_call_id: None,
            native_id: None,
            meeting_id: None,
            started_at: None,
            answered_at: None,
            end: None,
            parties: Vec::new(),
            deletion_id: None,
        };
        let fields = [CallField::ThreadId, CallField::JoinMeetingId];
        assert_eq!(named(&call, None, &fields).as_deref(), Some("join"));
        call.thread_id = Some("thread".to_owned());
        assert_eq!(named(&call, None, &fields).as_deref(), Some("thread"));
        assert_eq!(named(&call, Some(&"own".to_owned()), &fields).as_deref(), Some("own"));
        assert_eq!(named(&call, None, &[CallField::CallChainId]), None);
    }
}
