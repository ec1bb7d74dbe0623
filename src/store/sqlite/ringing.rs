//! A call that rings is rejected; what was not rejected in time is hung up.
//!
//! Whether a call still rings is in its row: nobody else may say so, and nothing that was read before
//! counts. The hang-up is a second step of the same deletion, in place of the first, so nobody is told
//! that the first one is over. Attempts are counted through: those of the second step come after those
//! of the first.

use std::time::Duration;

use rusqlite::{Connection, params};

use super::Sqlite;
use crate::clock::Timestamp;
use crate::model::call::CallState;
use crate::model::deletion::{DeletionState, ENDED_BEFORE, PAUSE_TOO_LONG, RINGS_NO_MORE};
use crate::model::plan::Order;
use crate::store::admission::{AttemptEnd, Leased, Next, StepRef};
use crate::store::error::StoreError;

impl Sqlite {
    /// See [`crate::store::Store::still_rings`].
    pub(crate) async fn still_rings(
        &self,
        step: StepRef,
        now: Timestamp,
    ) -> Result<Option<Duration>, StoreError> {
        self.read(move |connection| still_rings(connection, step, now)).await
    }
}

/// How much longer than `now` the call of this step rings, as far as is known, and the step's own time
/// lasts. A clock that was ahead when the call began makes that no longer.
pub(super) fn still_rings(
    connection: &Connection,
    step: StepRef,
    now: Timestamp,
) -> Result<Option<Duration>, StoreError> {
    let until: Option<i64> = connection
        .prepare_cached(
            "SELECT min(s.deadline_at, c.rings_until, c.rings_until - c.rings_since + ?3) \
             FROM steps AS s JOIN deletions AS d ON d.deletion = s.deletion \
             JOIN calls AS c ON c.call = d.call WHERE s.deletion = ?1 AND s.position = ?2",
        )?
        .query_row(params![step.deletion, step.position, now.0], |row| row.get(0))?;
    Ok(until.map(Timestamp).filter(|until| now < *until).map(|until| until.since(now)))
}

/// When the call of a reject that ended like this is to be hung up; none when it is not, because it
/// was rejected, or is to be rejected again, or because Graph refuses what it would have to take.
pub(super) fn hang_up_at(
    connection: &Connection,
    leased: &Leased,
    end: &AttemptEnd,
) -> Result<Option<Timestamp>, StoreError> {
    if !matches!(leased.order, Order::Reject(_)) {
        return Ok(None);
    }
    let now = end.answered_at;
    let at = match &end.next {
        Next::Replan => return Ok(Some(now)),
        Next::At(at) => *at,
        // A call that was answered was not rejected, whatever Graph said of it.
        Next::Over { state: DeletionState::Sent, .. } => {
            return Ok(was_answered(connection, leased.step)?.then_some(now));
        }
        // Whoever rejects is told the same of a call that was answered: a hang-up tells them apart.
        Next::Over { call_is_gone: true, .. } => {
            return Ok((!has_ended(connection, leased.step)?).then_some(now));
        }
        // What Graph answers to the rejection of a call that was answered is not documented.
        Next::Over { state: DeletionState::Failed, .. } => {
            return Ok(too_late(connection, leased.step)?.is_none().then_some(now));
        }
        Next::Over { .. } | Next::Invited(_) | Next::RemoveAll(_) => return Ok(None),
    };
    Ok(still_rings(connection, leased.step, at)?.is_none().then_some(at))
}

/// The call of this step was answered, whether or not it still runs.
pub(super) fn was_answered(connection: &Connection, step: StepRef) -> Result<bool, StoreError> {
    let (state, answered): (String, bool) = connection
        .prepare_cached(
            "SELECT c.state, c.answered_at IS NOT NULL FROM deletions AS d \
             JOIN calls AS c ON c.call = d.call WHERE d.deletion = ?1",
        )?
        .query_row([step.deletion], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let state: CallState = state.parse().map_err(StoreError::unexpected)?;
    // An import tells no time of the answer.
    let runs = CallState::Incoming < state && state < CallState::Terminating;
    Ok(answered || runs)
}

/// How a rejection ends that is not followed by a hang-up, and why; none for a deletion that is.
pub(super) fn too_late(
    connection: &Connection,
    step: StepRef,
) -> Result<Option<&'static str>, StoreError> {
    let is_followed: bool = connection
        .prepare_cached("SELECT kind <> 'RejectCall' FROM deletions WHERE deletion = ?1")?
        .query_row([step.deletion], |row| row.get(0))?;
    if is_followed {
        return Ok(None);
    }
    Ok(Some(if has_ended(connection, step)? { ENDED_BEFORE } else { RINGS_NO_MORE }))
}

/// The same after an attempt that ended like this: when the call still rings, only the pause that Graph
/// asked for lasts too long.
pub(super) fn too_late_after(
    connection: &Connection,
    step: StepRef,
    end: &AttemptEnd,
) -> Result<Option<&'static str>, StoreError> {
    let why = too_late(connection, step)?;
    let is_paused = matches!(end.next, Next::At(_))
        && still_rings(connection, step, end.answered_at)?.is_some()
        && !has_ended(connection, step)?
        && !was_answered(connection, step)?;
    Ok(why.map(|why| if is_paused { PAUSE_TOO_LONG } else { why }))
}

fn has_ended(connection: &Connection, step: StepRef) -> Result<bool, StoreError> {
    Ok(connection
        .prepare_cached(
            "SELECT c.ended_at IS NOT NULL FROM deletions AS d JOIN calls AS c ON c.call = d.call \
             WHERE d.deletion = ?1",
        )?
        .query_row([step.deletion], |row| row.get(0))?)
}

/// Puts a hang-up that is due at `due` in the place of this step; it has all the time that the deletion
/// has. Where everybody's leg is to end, it begins with who is in the call by now.
pub(super) fn hang_up_instead(
    connection: &Connection,
    step: StepRef,
    due: Timestamp,
) -> Result<StepRef, StoreError> {
    connection
        .prepare_cached(
            "UPDATE steps SET state = 'obsolete', next_attempt_at = NULL, lease_owner = NULL, \
             lease_until = NULL WHERE deletion = ?1 AND position = ?2",
        )?
        .execute(params![step.deletion, step.position])?;
    connection
        .prepare_cached(
            "INSERT INTO steps (deletion, position, tenant, operation, state, attempts, \
             next_attempt_at, deadline_at, fence) SELECT s.deletion, s.position + 1, s.tenant, \
             iif(d.scope = 'all', 'read-roster', 'hang-up'), 'open', s.attempts, ?3, d.deadline_at, s.fence FROM steps AS s \
             JOIN deletions AS d ON d.deletion = s.deletion \
             WHERE s.deletion = ?1 AND s.position = ?2",
        )?
        .execute(params![step.deletion, step.position, due.0])?;
    Ok(StepRef { position: step.position + 1, ..step })
}
