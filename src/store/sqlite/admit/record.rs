//! Writes down what was admitted: the deletion, its first step and, with a lease, the first attempt.

use rusqlite::{Connection, params};

use crate::clock::Timestamp;
use crate::id::DeletionId;
use crate::model::call::LONGEST_RINGING;
use crate::model::deletion::{DeletionKind, DeletionState};
use crate::model::participant::{ClientContext, Invitation};
use crate::model::plan::{Match, Order};
use crate::store::admission::{Ask, Leased, StepRef};
use crate::store::error::StoreError;
use crate::store::sqlite::{pause, turns, waits};

/// Records a deletion of `call` that begins with `order`. Gives the first attempt when it may be sent
/// at once.
pub(super) fn record(
    connection: &Connection,
    ask: &Ask,
    call: &Match,
    order: &Order,
    deletion_id: DeletionId,
) -> Result<Option<Leased>, StoreError> {
    let deadline = step_deadline(ask, call, order);
    // Nothing else takes the place of a rejection that came too late.
    let only_rejects = matches!(ask.question.kind, DeletionKind::RejectCall(_));
    let begun = Begun {
        deletion_id,
        call: Some(call.row),
        target: target(order),
        state: DeletionState::Open,
        created_at: ask.now,
        deadline: if only_rejects { deadline } else { ask.deadline },
    };
    let deletion = insert_deletion(connection, ask, &begun)?;
    if let Order::Invite(invitation) = order {
        insert_invitation(connection, ask, call, deletion, invitation)?;
    }
    let step = StepRef { deletion, position: 1 };
    if !insert_step(connection, ask, call, order, step, deadline)? {
        return Ok(None);
    }
    connection
        .prepare_cached(
            "INSERT INTO attempts (deletion, position, number, tenant, started_at) \
             VALUES (?1, ?2, 1, ?3, ?4)",
        )?
        .execute(params![step.deletion, step.position, ask.selection.tenant_row, ask.now.0])?;
    Ok(Some(Leased {
        step,
        fence: 1,
        attempt: 1,
        deletion_id,
        tenant: ask.checked.key.tenant.clone(),
        call_id: call.call.call_id.clone(),
        graph_id: call.call.graph_id.clone(),
        app_id: call.call.app_id.clone(),
        order: order.clone(),
        is_part: ask.question.kind.is_all(),
        earlier_effect_possible: false,
        deadline,
    }))
}

/// What a deletion is recorded with beside what was asked.
pub(in crate::store::sqlite) struct Begun {
    pub(in crate::store::sqlite) deletion_id: DeletionId,
    /// None of one that is armed.
    pub(in crate::store::sqlite) call: Option<i64>,
    pub(in crate::store::sqlite) target: Option<String>,
    pub(in crate::store::sqlite) state: DeletionState,
    pub(in crate::store::sqlite) created_at: Timestamp,
    pub(in crate::store::sqlite) deadline: Timestamp,
}

/// Gives its row.
pub(in crate::store::sqlite) fn insert_deletion(
    connection: &Connection,
    ask: &Ask,
    begun: &Begun,
) -> Result<i64, StoreError> {
    let (selection, kind) = (&ask.selection, &ask.question.kind);
    let session = ask.checked.session.as_deref();
    connection
        .prepare_cached(
            "INSERT INTO deletions (deletion_id, tenant, kind, key, session, user, peer, selector, \
             selector_hash, scope, reason, call, state, created_at, deadline_at, target, \
             most_others) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, \
             ?15, ?16, ?17)",
        )?
        .execute(params![
            begun.deletion_id.to_string(),
            selection.tenant_row,
            kind.as_str(),
            ask.checked.key.row,
            session.map(|session| session.row),
            session.and_then(|session| session.user_row),
            ask.peer,
            selection.canonical,
            selection.hash,
            kind.scope_word(),
            ask.reason,
            begun.call,
            begun.state.as_str(),
            begun.created_at.0,
            begun.deadline.0,
            begun.target,
            kind.most_others()
        ])?;
    Ok(connection.last_insert_rowid())
}

/// Whom the deletion is about, as it is compared: of one call and kind, each has one that is open.
fn target(order: &Order) -> Option<String> {
    match order {
        Order::Invite(invitation) => Some(invitation.target()),
        other => other.target().map(str::to_owned),
    }
}

fn insert_invitation(
    connection: &Connection,
    ask: &Ask,
    call: &Match,
    deletion: i64,
    invitation: &Invitation,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO invitations (deletion, call, tenant, user_id, normalised, user_tenant, \
             replaces, client_context) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            deletion,
            call.row,
            ask.selection.tenant_row,
            invitation.user_id,
            invitation.normalised(),
            invitation.user_tenant.as_ref().map(ToString::to_string),
            invitation.replaces,
            invitation.context.as_ref().map(ClientContext::as_str)
        ])?;
    Ok(())
}

/// Gives whether the step was leased with its record.
fn insert_step(
    connection: &Connection,
    ask: &Ask,
    call: &Match,
    order: &Order,
    step: StepRef,
    deadline: Timestamp,
) -> Result<bool, StoreError> {
    let now = waits::note(connection, ask.moment())?;
    let not_before = turns::not_before(connection, call.row, order)?;
    let is_free = not_before <= now
        && !turns::is_another_sent(connection, call.row, step.deletion)?
        && !pause::is_paused(connection, ask.selection.tenant_row)?;
    let lease = ask.lease.filter(|_| is_free).map(|lease| lease.moved(now.ahead_of(ask.now)));
    let due = lease.map_or(now.max(not_before), |lease| lease.until);
    let leased = i64::from(lease.is_some());
    let reject_reason = match order {
        Order::Reject(reason) => Some(reason.as_str()),
        _ => None,
    };
    connection
        .prepare_cached(
            "INSERT INTO steps (deletion, position, tenant, operation, target, state, attempts, \
             next_attempt_at, deadline_at, lease_owner, lease_until, fence, reject_reason) \
             VALUES (?1, ?2, ?3, ?4, ?5, 'open', ?6, ?7, ?8, ?9, ?10, ?6, ?11)",
        )?
        .execute(params![
            step.deletion,
            step.position,
            ask.selection.tenant_row,
            order.operation().as_str(),
            order.target(),
            leased,
            due.0,
            deadline.0,
            lease.map(|lease| lease.owner.to_string()),
            lease.map(|lease| lease.until.0),
            reject_reason
        ])?;
    Ok(lease.is_some())
}

/// Until when the operation is tried: nothing is rejected that rings no more, and no clock that was
/// ahead when the call began makes that time longer.
fn step_deadline(ask: &Ask, call: &Match, order: &Order) -> Timestamp {
    let rings_until = call.call.rings_until.filter(|_| matches!(order, Order::Reject(_)));
    rings_until.map_or(ask.deadline, |until| until.min(ask.now + LONGEST_RINGING).min(ask.deadline))
}
