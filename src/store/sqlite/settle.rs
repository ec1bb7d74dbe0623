//! How an attempt ends, and with it a step and its deletion.
//!
//! A deletion that Graph has taken is confirmed when its call has ended, whichever of the two was
//! known first; until then Graph is to be asked whether it still has the call. The order of the two
//! is kept by a trigger, so it does not matter who learned of the end, nor what a clock said.

use rusqlite::{Connection, params};

use super::sender::effect_possible;
use super::{Sqlite, reconcile, ringing};
use crate::clock::Timestamp;
use crate::model::deletion::DeletionState::{self, Obsolete};
use crate::model::plan::Operation;
use crate::store::admission::{AttemptEnd, Leased, Next, Settled, StepRef};
use crate::store::error::StoreError;

impl Sqlite {
    /// See [`crate::store::Store::settle`].
    pub(crate) async fn settle(
        &self,
        leased: Leased,
        end: AttemptEnd,
    ) -> Result<Option<Settled>, StoreError> {
        self.write(move |connection| settle(connection, &leased, &end)).await
    }

    /// See [`crate::store::Store::give_back`].
    pub(crate) async fn give_back(&self, leased: Leased, now: Timestamp) -> Result<(), StoreError> {
        self.write(move |connection| {
            connection
                .prepare_cached(
                    "UPDATE attempts SET answered_at = ?4, effect_possible = 0, \
                     error = 'not sent: its lease was given back' \
                     WHERE deletion = ?1 AND position = ?2 AND number = ?3",
                )?
                .execute(params![
                    leased.step.deletion,
                    leased.step.position,
                    leased.attempt,
                    now.0
                ])?;
            connection
                .prepare_cached(
                    "UPDATE steps SET lease_owner = NULL, lease_until = NULL, \
                     next_attempt_at = ?4 WHERE deletion = ?1 AND position = ?2 AND fence = ?3 \
                     AND state = 'open'",
                )?
                .execute(params![
                    leased.step.deletion,
                    leased.step.position,
                    leased.fence,
                    now.0
                ])?;
            Ok(())
        })
        .await
    }
}

pub(super) fn settle(
    connection: &Connection,
    leased: &Leased,
    attempt_end: &AttemptEnd,
) -> Result<Option<Settled>, StoreError> {
    let step = leased.step;
    connection
        .prepare_cached(
            "UPDATE attempts SET answered_at = ?4, status = ?5, error = ?6, request_id = ?7, \
             client_request_id = ?8, answer_date = ?9, diagnostic = ?10, effect_possible = ?11 \
             WHERE deletion = ?1 AND position = ?2 AND number = ?3",
        )?
        .execute(params![
            step.deletion,
            step.position,
            leased.attempt,
            attempt_end.answered_at.0,
            attempt_end.status,
            attempt_end.error,
            attempt_end.request_id,
            attempt_end.client_request_id,
            attempt_end.date,
            attempt_end.diagnostic,
            attempt_end.effect_possible
        ])?;
    let current: bool = connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM steps WHERE deletion = ?1 AND position = ?2 \
             AND fence = ?3 AND state = 'open')",
        )?
        .query_row(params![step.deletion, step.position, leased.fence], |row| row.get(0))?;
    if !current {
        return Ok(None);
    }
    if let Some(at) = ringing::hang_up_at(connection, leased, attempt_end)? {
        if let Some(why) = ringing::too_late(connection, step)? {
            return end_unsent(connection, step, Obsolete, why, attempt_end.answered_at).map(Some);
        }
        ringing::hang_up_instead(connection, step, at)?;
        return Ok(None);
    }
    match &attempt_end.next {
        Next::Replan => Err(StoreError::unexpected("only a reject is planned anew")),
        Next::At(at) => {
            connection
                .prepare_cached(
                    // Looked at again at its deadline at the latest, to be ended then.
                    "UPDATE steps SET lease_owner = NULL, lease_until = NULL, \
                     next_attempt_at = min(?3, deadline_at) WHERE deletion = ?1 AND position = ?2",
                )?
                .execute(params![step.deletion, step.position, at.0])?;
            Ok(None)
        }
        Next::Over { state, failure, call_is_gone } => {
            let now = attempt_end.answered_at;
            let overtaken = *state == DeletionState::Sent && ended_meanwhile(connection, step)?;
            let state = if overtaken { DeletionState::Confirmed } else { *state };
            let settled = end(connection, step, state, failure.as_deref(), now)?;
            if *call_is_gone && let Some(call) = call_of(connection, step)? {
                reconcile::call_is_gone(connection, call, now)?;
            }
            Ok(Some(settled))
        }
    }
}

/// Whether the end of the call became known since the first attempt of this step began: then that
/// may be the end that Graph took. A call that was known as ended before was ended by somebody else.
fn ended_meanwhile(connection: &Connection, step: StepRef) -> Result<bool, StoreError> {
    Ok(connection
        .prepare_cached(
            "SELECT d.ended_before = 0 AND c.ended_at IS NOT NULL FROM deletions AS d \
             JOIN calls AS c ON c.call = d.call WHERE d.deletion = ?1",
        )?
        .query_row([step.deletion], |row| row.get(0))?)
}

fn call_of(connection: &Connection, step: StepRef) -> Result<Option<i64>, StoreError> {
    Ok(connection
        .prepare_cached("SELECT call FROM deletions WHERE deletion = ?1")?
        .query_row([step.deletion], |row| row.get(0))?)
}

/// Ends a step that is not sent any more, as unknown when it may have taken effect before.
pub(super) fn end_unsent(
    connection: &Connection,
    step: StepRef,
    state: DeletionState,
    why: &str,
    now: Timestamp,
) -> Result<Settled, StoreError> {
    if effect_possible(connection, step, i64::MAX)? {
        let why = format!("{why}, and an earlier attempt may have taken effect");
        end(connection, step, DeletionState::Unknown, Some(&why), now)
    } else {
        end(connection, step, state, Some(why), now)
    }
}

/// Ends a step and, as no other is open, its deletion; a deletion that Graph has taken is noted
/// at its call, which by a trigger is looked at a minute later.
pub(super) fn end(
    connection: &Connection,
    step: StepRef,
    state: DeletionState,
    failure: Option<&str>,
    now: Timestamp,
) -> Result<Settled, StoreError> {
    let step_state = match state {
        DeletionState::Held | DeletionState::Cancelled => "cancelled",
        // A step is what was sent; that the call has ended is known of the deletion.
        DeletionState::Confirmed => "sent",
        other => other.as_str(),
    };
    let operation: String = connection
        .prepare_cached(
            "UPDATE steps SET state = ?3, next_attempt_at = NULL, lease_owner = NULL, \
             lease_until = NULL WHERE deletion = ?1 AND position = ?2 RETURNING operation",
        )?
        .query_row(params![step.deletion, step.position, step_state], |row| row.get(0))?;
    let (deletion_id, call): (String, Option<i64>) = connection
        .prepare_cached(
            "UPDATE deletions SET state = ?2, failure = ?3, settled_at = ?4, \
             confirmed_at = iif(?2 = 'confirmed', ?4, NULL) WHERE deletion = ?1 \
             RETURNING deletion_id, call",
        )?
        .query_row(params![step.deletion, state.as_str(), failure, now.0], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    if state.is_taken() {
        connection
            .prepare_cached(
                "UPDATE calls SET deleted_by = ?2 WHERE call = ?1 AND deleted_by IS NULL",
            )?
            .execute(params![call, step.deletion])?;
    }
    Ok(Settled {
        deletion_id: deletion_id.parse().map_err(StoreError::unexpected)?,
        state,
        failure: failure.map(str::to_owned),
        operation: Operation::from_word(&operation),
    })
}
