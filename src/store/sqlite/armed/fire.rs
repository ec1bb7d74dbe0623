//! An armed deletion meets its call.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Rules, resolve};
use crate::clock::Timestamp;
use crate::model::call::LONGEST_RINGING;
use crate::model::chain::{AuditEvent, Personal};
use crate::model::deletion::{
    DeletionKind, DeletionState, LEG_OVER, OTHER_APP, RINGS_NO_MORE, Scope,
};
use crate::model::key::ApiKey;
use crate::model::plan::{Match, Order, RejectReason, order};
use crate::model::reconcile::is_same_app;
use crate::store::admission::StepRef;
use crate::store::error::StoreError;
use crate::store::sqlite::settle::end;
use crate::store::sqlite::turns::{IS_TAKEN, is_another_sent};
use crate::store::sqlite::{admit, aside, audit, keys};

/// A hold came before the call.
const HELD: &str = "a hold stood on the call when it began";

/// Nobody knows whether it still may be sent.
const KEY_UNKNOWN: &str = "its key cannot be read any more";

/// Another deletion of its call was open for longer than it is tried.
const NO_TURN: &str = "its deadline passed before its turn came";

/// A deletion that is armed.
struct Armed {
    deletion: i64,
    deletion_id: String,
    tenant_row: i64,
    tenant: String,
    kind: DeletionKind,
    key: Option<i64>,
    user: Option<i64>,
    client_id: Option<String>,
    /// How long it is tried once its call has begun, in milliseconds.
    tried_for: i64,
    rules: String,
    /// Of one that waits for its turn: its call.
    call: Option<i64>,
    deadline: Timestamp,
}

/// Has the deletion fire if this call is the one that it is armed for; gives whether it did.
pub(super) fn try_on(
    connection: &Connection,
    deletion: i64,
    call: i64,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let Some(armed) = read(connection, deletion)? else { return Ok(false) };
    let key = key_of(connection, &armed)?;
    // A key that cannot be read may limit the calls that exist for it.
    let Some(key) = key else { return Ok(false) };
    let rules: Rules = serde_json::from_str(&armed.rules).map_err(StoreError::unexpected)?;
    let selection = rules.selection(armed.tenant_row, key.numbers.clone());
    let Some(one) = resolve::matching_call(connection, &selection, call)? else {
        return Ok(false);
    };
    let result = if let Some(why) = shut_out(connection, &armed, &key, "the call began", now)? {
        cancel(connection, &armed, &why, now)?;
        "cancelled"
    } else if is_another_open(connection, &armed, call)? {
        wait_for_turn(connection, &armed, call, now)?;
        "joined"
    } else {
        let deadline = Timestamp(now.0.saturating_add(armed.tried_for));
        begin(connection, &armed, &one, deadline, now)?.map_or("admitted", word)
    };
    write_down(connection, &armed, &one, &key, result, now)?;
    Ok(true)
}

/// Has those fire that wait for another deletion of their call, once that is over. When that has ended the
/// call, they are gone with it; else they are tried themselves.
pub(in crate::store::sqlite) fn promote(
    connection: &Connection,
    now: Timestamp,
) -> Result<(), StoreError> {
    let waiting: Vec<i64> = connection
        .prepare_cached(
            "SELECT d.deletion FROM deletions AS d JOIN armed AS a ON a.deletion = d.deletion \
             WHERE d.state = 'armed' AND a.call IS NOT NULL ORDER BY d.deletion",
        )?
        .query_map((), |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for deletion in waiting {
        if let Err(error) = try_turn(connection, deletion, now) {
            aside::leave(connection, deletion, error, now)?;
        }
    }
    Ok(())
}

/// Begins one that waits if it is its turn, unless whoever armed it was shut out meanwhile. However long the
/// other one is tried, it waits no longer than it is tried itself.
fn try_turn(connection: &Connection, deletion: i64, now: Timestamp) -> Result<(), StoreError> {
    let Some(armed) = read(connection, deletion)? else { return Ok(()) };
    let Some(call) = armed.call else { return Ok(()) };
    if is_another_open(connection, &armed, call)? {
        // What is on its way may end the call, and then it is gone with it.
        if armed.deadline <= now && !is_another_sent(connection, call, deletion)? {
            over(connection, &armed, DeletionState::Obsolete, NO_TURN, now)?;
        }
        return Ok(());
    }
    let Some(one) = resolve::known_call(connection, call)? else { return Ok(()) };
    let Some(key) = key_of(connection, &armed)? else {
        return cancel(connection, &armed, KEY_UNKNOWN, now);
    };
    if let Some(why) = shut_out(connection, &armed, &key, "its turn came", now)? {
        cancel(connection, &armed, &why, now)?;
        return write_down(connection, &armed, &one, &key, "cancelled", now);
    }
    begin(connection, &armed, &one, armed.deadline, now).map(drop)
}

/// The key that armed it; none when it is gone or cannot be read.
fn key_of(connection: &Connection, armed: &Armed) -> Result<Option<ApiKey>, StoreError> {
    Ok(armed.key.map(|key| keys::key(connection, key)).transpose()?.flatten())
}

fn read(connection: &Connection, deletion: i64) -> Result<Option<Armed>, StoreError> {
    connection
        .prepare_cached(
            "SELECT d.deletion, d.deletion_id, d.tenant, t.tenant_id, d.kind, d.scope, \
             d.most_others, d.key, d.user, a.reject_reason, a.client_id, a.tried_for, a.rules, \
             a.call, d.deadline_at FROM deletions AS d JOIN armed AS a ON a.deletion = d.deletion \
             JOIN tenants AS t ON t.tenant = d.tenant \
             WHERE d.deletion = ?1 AND d.state = 'armed'",
        )?
        .query_row([deletion], |row| Ok(read_row(row)))
        .optional()?
        .transpose()
}

fn read_row(row: &Row<'_>) -> Result<Armed, StoreError> {
    Ok(Armed {
        deletion: row.get(0)?,
        deletion_id: row.get(1)?,
        tenant_row: row.get(2)?,
        tenant: row.get(3)?,
        kind: read_kind(row)?,
        key: row.get(7)?,
        user: row.get(8)?,
        client_id: row.get(10)?,
        tried_for: row.get(11)?,
        rules: row.get(12)?,
        call: row.get(13)?,
        deadline: Timestamp(row.get(14)?),
    })
}

fn read_kind(row: &Row<'_>) -> Result<DeletionKind, StoreError> {
    let (kind, scope): (String, String) = (row.get(4)?, row.get(5)?);
    let most: Option<u32> = row.get(6)?;
    let reason: Option<String> = row.get(9)?;
    match (kind.as_str(), scope.as_str(), most) {
        ("DeleteCall", "leg", _) => Ok(DeletionKind::DeleteCall(Scope::Leg)),
        ("DeleteCall", "all", Some(most)) => Ok(DeletionKind::DeleteCall(Scope::All { most })),
        ("RejectCall", ..) => {
            let reason = reason.as_deref().and_then(RejectReason::from_word);
            Ok(DeletionKind::RejectCall(reason.unwrap_or_default()))
        }
        _ => Err(StoreError::unexpected(format!("{kind} with scope {scope} is armed"))),
    }
}

/// Why whoever armed it may not have it any more. A session was needed to arm it, and may end by itself; a
/// key or a user that was shut out is another matter.
fn shut_out(
    connection: &Connection,
    armed: &Armed,
    key: &ApiKey,
    before: &str,
    now: Timestamp,
) -> Result<Option<String>, StoreError> {
    if !key.is_valid_at(now) {
        return Ok(Some(format!("its key was revoked or expired before {before}")));
    }
    let is_disabled: bool = connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM users WHERE user = ?1 AND disabled_at IS NOT NULL)",
        )?
        .query_row([armed.user], |row| row.get(0))?;
    Ok(is_disabled.then(|| format!("its user was disabled before {before}")))
}

/// Of one kind, a call has one deletion that is open.
fn is_another_open(connection: &Connection, armed: &Armed, call: i64) -> Result<bool, StoreError> {
    Ok(connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM deletions WHERE call = ?1 AND kind = ?2 \
             AND deletion <> ?3 AND target IS NULL \
             AND state IN ('pending_approval', 'armed', 'open'))",
        )?
        .query_row(params![call, armed.kind.as_str(), armed.deletion], |row| row.get(0))?)
}

fn cancel(
    connection: &Connection,
    armed: &Armed,
    why: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    over(connection, armed, DeletionState::Cancelled, why, now)
}

/// Ends it without a step.
fn over(
    connection: &Connection,
    armed: &Armed,
    state: DeletionState,
    why: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "UPDATE deletions SET state = ?2, failure = ?3, settled_at = ?4 WHERE deletion = ?1",
        )?
        .execute(params![armed.deletion, state.as_str(), why, now.0])?;
    Ok(())
}

/// Binds it to the call: no other call is its own, and it has all its time from now on.
fn wait_for_turn(
    connection: &Connection,
    armed: &Armed,
    call: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    connection
        .prepare_cached("UPDATE armed SET call = ?2 WHERE deletion = ?1")?
        .execute([armed.deletion, call])?;
    connection
        .prepare_cached("UPDATE deletions SET deadline_at = ?2 WHERE deletion = ?1")?
        .execute([armed.deletion, now.0.saturating_add(armed.tried_for)])?;
    connection
        .prepare_cached("DELETE FROM armed_numbers WHERE deletion = ?1")?
        .execute([armed.deletion])?;
    Ok(())
}

/// Opens it with what is to be sent, due at once; gives the state that it ends in when nothing may be sent.
fn begin(
    connection: &Connection,
    armed: &Armed,
    one: &Match,
    deadline: Timestamp,
    now: Timestamp,
) -> Result<Option<DeletionState>, StoreError> {
    let is_reject = matches!(armed.kind, DeletionKind::RejectCall(_));
    let rings_until = one.call.rings_until.filter(|until| now < *until);
    let order = order(&armed.kind, is_reject || rings_until.is_some(), false);
    let step_deadline = match (&order, rings_until) {
        // No clock that was ahead when the call began makes that time longer.
        (Order::Reject(_), Some(until)) => until.min(now + LONGEST_RINGING).min(deadline),
        _ => deadline,
    };
    let deadline = if is_reject { step_deadline } else { deadline };
    open(connection, armed, one, &order, deadline, step_deadline, now)?;
    let rings_no_more = is_reject && rings_until.is_none();
    let Some((state, why)) = obstacle(connection, armed, one, rings_no_more)? else {
        return Ok(None);
    };
    let step = StepRef { deletion: armed.deletion, position: 1 };
    end(connection, step, state, Some(why), now)?;
    Ok(Some(state))
}

fn open(
    connection: &Connection,
    armed: &Armed,
    one: &Match,
    order: &Order,
    deadline: Timestamp,
    step_deadline: Timestamp,
    now: Timestamp,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "UPDATE deletions SET state = 'open', call = ?2, deadline_at = ?3 WHERE deletion = ?1",
        )?
        .execute([armed.deletion, one.row, deadline.0])?;
    let reason = match order {
        Order::Reject(reason) => Some(reason.as_str()),
        _ => None,
    };
    connection
        .prepare_cached(
            "INSERT INTO steps (deletion, position, tenant, operation, state, next_attempt_at, \
             deadline_at, reject_reason) VALUES (?1, 1, ?2, ?3, 'open', ?4, ?5, ?6)",
        )?
        .execute(params![
            armed.deletion,
            armed.tenant_row,
            order.operation().as_str(),
            now.0,
            step_deadline.0,
            reason
        ])?;
    Ok(())
}

/// What a request for this call would be refused for. That Graph has taken another deletion of it is for the
/// sender to see.
fn obstacle(
    connection: &Connection,
    armed: &Armed,
    one: &Match,
    rings_no_more: bool,
) -> Result<Option<(DeletionState, &'static str)>, StoreError> {
    if let (Some(app_id), Some(client_id)) = (&one.call.app_id, &armed.client_id)
        && !is_same_app(app_id, client_id)
    {
        return Ok(Some((DeletionState::Failed, OTHER_APP)));
    }
    if admit::held(connection, one.row)? {
        return Ok(Some((DeletionState::Held, HELD)));
    }
    if armed.kind.is_all() && is_leg_taken(connection, one.row)? {
        return Ok(Some((DeletionState::Obsolete, LEG_OVER)));
    }
    Ok(rings_no_more.then_some((DeletionState::Obsolete, RINGS_NO_MORE)))
}

/// Our own leg alone was ended: the others cannot be removed any more.
fn is_leg_taken(connection: &Connection, call: i64) -> Result<bool, StoreError> {
    Ok(connection
        .prepare_cached(&format!(
            "SELECT EXISTS (SELECT 1 FROM deletions AS d WHERE d.call = ?1 AND d.scope = 'leg' \
             AND d.kind = 'DeleteCall' AND {IS_TAKEN})"
        ))?
        .query_row([call], |row| row.get(0))?)
}

/// The word of a record for one that ended as it fired.
const fn word(state: DeletionState) -> &'static str {
    match state {
        DeletionState::Held => "policy",
        DeletionState::Failed => "not_permitted",
        _ => "ended",
    }
}

/// Nobody asks for anything now: callgate itself does it, for the key that had armed it.
fn write_down(
    connection: &Connection,
    armed: &Armed,
    one: &Match,
    key: &ApiKey,
    result: &'static str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let is_allowed = ["admitted", "joined"].contains(&result);
    let event = AuditEvent {
        action: "armed deletion fired".to_owned(),
        decision: if is_allowed { "allowed" } else { "refused" },
        result,
        tenant: Some(armed.tenant.clone()),
        key_id: Some(key.id.to_string()),
        call_id: Some(one.call.call_id.to_string()),
        deletion_id: Some(armed.deletion_id.clone()),
        ..AuditEvent::default()
    };
    audit::append(connection, now, 1, &event, &Personal::default())
}
