//! How an attempt ends, and with it a step and its deletion.
//!
//! A deletion that Graph has taken is confirmed when its call has ended, whichever of the two was
//! known first; until then Graph is to be asked whether it still has the call. The order of the two
//! is kept by a trigger, so it does not matter who learned of the end, nor what a clock said.

use rusqlite::{Connection, params};

use super::lease::{invited, keep_invited, may_be_done, not_reached};
use super::{Sqlite, everybody, reconcile, ringing, waits};
use crate::clock::{Moment, Timestamp};
use crate::model::deletion::DeletionState::{self, Obsolete};
use crate::model::plan::Operation;
use crate::store::admission::{Asked, AttemptEnd, Leased, Next, Settled, StepRef};
use crate::store::error::StoreError;

impl Sqlite {
    /// See [`crate::store::Store::settle`].
    pub(crate) async fn settle(
        &self,
        leased: Leased,
        end: AttemptEnd,
    ) -> Result<Option<Settled>, StoreError> {
        self.write_owed(move |connection| settle_as_seen(connection, &leased, &end)).await
    }

    /// See [`crate::store::Store::give_back`].
    pub(crate) async fn give_back(
        &self,
        leased: Leased,
        moment: Moment,
        due: Timestamp,
    ) -> Result<(), StoreError> {
        self.write_owed(move |connection| {
            let now = waits::note(connection, moment)?;
            let due = due.moved(now.ahead_of(moment.wall));
            give_back(connection, &leased, now, due)
        })
        .await
    }
}

/// Settles an attempt that ended by the clocks of this process, as waits on disk are counted.
pub(super) fn settle_as_seen(
    connection: &Connection,
    leased: &Leased,
    end: &AttemptEnd,
) -> Result<Option<Settled>, StoreError> {
    let now = waits::note(connection, end.moment())?;
    settle(connection, leased, &end.clone().seen_from(now))
}

/// Makes a leased step due at `due` that was not sent.
pub(super) fn give_back(
    connection: &Connection,
    leased: &Leased,
    now: Timestamp,
    due: Timestamp,
) -> Result<(), StoreError> {
    let StepRef { deletion, position } = leased.step;
    connection
        .prepare_cached(
            "UPDATE attempts SET answered_at = ?4, effect_possible = 0, \
             error = 'not sent: its lease was given back' \
             WHERE deletion = ?1 AND position = ?2 AND number = ?3",
        )?
        .execute(params![deletion, position, leased.attempt, now.0])?;
    connection
        .prepare_cached(
            "UPDATE steps SET lease_owner = NULL, lease_until = NULL, next_attempt_at = ?4, \
             parked = NULL WHERE deletion = ?1 AND position = ?2 AND fence = ?3 AND state = 'open'",
        )?
        .execute(params![deletion, position, leased.fence, due.0])?;
    Ok(())
}

fn settle(
    connection: &Connection,
    leased: &Leased,
    attempt_end: &AttemptEnd,
) -> Result<Option<Settled>, StoreError> {
    let step = leased.step;
    connection
        .prepare_cached(
            "UPDATE attempts SET answered_at = ?4, status = ?5, error = ?6, request_id = ?7, \
             client_request_id = ?8, answer_date = ?9, diagnostic = ?10, effect_possible = ?11, hint = ?12 \
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
            attempt_end.effect_possible,
            attempt_end.hint
        ])?;
    match attempt_end.asked {
        Some(asked) => keep_asked(connection, leased, asked)?,
        None if attempt_end.status.is_some() => {
            waits::login_is_open(connection, &leased.tenant, attempt_end.answered_at)?;
        }
        None => {}
    }
    if let Next::Invited(invited) = &attempt_end.next {
        // Also when the lease has lapsed: whom Graph has invited can be removed.
        keep_invited(connection, step.deletion, invited)?;
    }
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
        if let Some(why) = ringing::too_late_after(connection, step, attempt_end)? {
            return end_unsent(connection, step, Obsolete, why, attempt_end.answered_at);
        }
        ringing::hang_up_instead(connection, step, at)?;
        return Ok(None);
    }
    match &attempt_end.next {
        Next::Replan => Err(StoreError::unexpected("only a reject is planned anew")),
        Next::Invited(_) => {
            end(connection, step, DeletionState::Sent, None, attempt_end.answered_at)
        }
        Next::RemoveAll(seen) => {
            everybody::remove_all(connection, step, seen, attempt_end.answered_at)
        }
        Next::At(at) => {
            connection
                .prepare_cached(
                    // Also past its deadline, at which it ends: that may move away. What it was parked
                    // with while its lease had lapsed is older than this answer.
                    "UPDATE steps SET lease_owner = NULL, lease_until = NULL, parked = NULL, \
                     next_attempt_at = ?3 WHERE deletion = ?1 AND position = ?2",
                )?
                .execute(params![step.deletion, step.position, at.0])?;
            Ok(None)
        }
        Next::Over { state, failure, call_is_gone } => {
            let now = attempt_end.answered_at;
            let overtaken = *state == DeletionState::Sent && is_over_already(connection, step)?;
            let state = if overtaken { DeletionState::Confirmed } else { *state };
            let settled = end(connection, step, state, failure.as_deref(), now)?;
            if *call_is_gone && let Some(call) = call_of(connection, step)? {
                reconcile::call_is_gone(connection, call, now)?;
            }
            Ok(settled)
        }
    }
}

/// Keeps how long is to be waited whatever becomes of the step: what Graph asked, by whoever asks it for the
/// same again, and what the login asked, by the whole tenant.
fn keep_asked(connection: &Connection, leased: &Leased, asked: Asked) -> Result<(), StoreError> {
    let StepRef { deletion, position } = leased.step;
    if asked.by_login {
        connection
            .prepare_cached(
                "UPDATE tenants SET login_not_before = max(coalesce(login_not_before, 0), ?2) \
                 WHERE tenant_id = ?1",
            )?
            .execute(params![leased.tenant.as_str(), asked.not_before.0])?;
    } else {
        connection
            .prepare_cached(
                "UPDATE attempts SET not_before = ?4 \
                 WHERE deletion = ?1 AND position = ?2 AND number = ?3",
            )?
            .execute(params![deletion, position, leased.attempt, asked.not_before.0])?;
    }
    Ok(())
}

/// Whether the end of the call, or of the participant's place in it, became known since the first
/// attempt of this deletion began: then that may be the end that Graph took. A call that was known as
/// ended before was ended by somebody else.
fn is_over_already(connection: &Connection, step: StepRef) -> Result<bool, StoreError> {
    Ok(connection
        .prepare_cached(
            "SELECT CASE WHEN d.kind IN ('DeleteCall', 'RejectCall') \
             THEN d.ended_before = 0 AND c.ended_at IS NOT NULL \
             ELSE EXISTS (SELECT 1 FROM roster AS r JOIN attempts AS a ON a.deletion = d.deletion \
             WHERE d.kind = 'DeleteParticipant' AND r.call = d.call \
             AND r.participant_id = d.target AND a.effect_possible + (a.status IS NOT NULL) > 0 \
             AND r.left_at >= a.started_at) END FROM deletions AS d \
             JOIN calls AS c ON c.call = d.call WHERE d.deletion = ?1",
        )?
        .query_row([step.deletion], |row| row.get(0))?)
}

fn call_of(connection: &Connection, step: StepRef) -> Result<Option<i64>, StoreError> {
    Ok(connection
        .prepare_cached("SELECT call FROM deletions WHERE deletion = ?1")?
        .query_row([step.deletion], |row| row.get(0))?)
}

/// Ends a step that is not sent any more, as unknown when it may be done already.
pub(super) fn end_unsent(
    connection: &Connection,
    step: StepRef,
    state: DeletionState,
    why: &str,
    now: Timestamp,
) -> Result<Option<Settled>, StoreError> {
    if may_be_done(connection, step)? {
        let why = format!("{why}, and an earlier attempt may have taken effect");
        end(connection, step, DeletionState::Unknown, Some(&why), now)
    } else {
        end(connection, step, state, Some(why), now)
    }
}

/// Ends a step, and its deletion with it unless more is to be done for it.
pub(super) fn end(
    connection: &Connection,
    step: StepRef,
    state: DeletionState,
    failure: Option<&str>,
    now: Timestamp,
) -> Result<Option<Settled>, StoreError> {
    let step_state = match state {
        DeletionState::Held | DeletionState::Cancelled => "cancelled",
        // A step is what was sent; that the call has ended is known of the deletion.
        DeletionState::Confirmed => "sent",
        other => other.as_str(),
    };
    let (operation, is_part): (String, bool) = connection
        .prepare_cached(
            "UPDATE steps SET state = ?3, failure = ?4, next_attempt_at = NULL, \
             lease_owner = NULL, lease_until = NULL WHERE deletion = ?1 AND position = ?2 \
             RETURNING operation, operation = 'remove-participant' AND (SELECT scope = 'all' \
             FROM deletions WHERE deletions.deletion = steps.deletion)",
        )?
        .query_row(params![step.deletion, step.position, step_state, failure], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    if is_part {
        return everybody::go_on(connection, step.deletion, now);
    }
    let operation = Operation::from_word(&operation);
    end_deletion(connection, step.deletion, operation, state, failure, now).map(Some)
}

/// Ends a deletion of which no step is open; one that Graph has taken to end the call is noted at the
/// call, which by a trigger is looked at a minute later.
pub(super) fn end_deletion(
    connection: &Connection,
    deletion: i64,
    operation: Option<Operation>,
    state: DeletionState,
    failure: Option<&str>,
    now: Timestamp,
) -> Result<Settled, StoreError> {
    let (state, failure) = match invited(connection, deletion)?.and_then(|known| known.failed) {
        // That nobody joins by it may have been told before its answer, which says less.
        Some(why) if state.is_taken() || state == DeletionState::Unknown => {
            (DeletionState::Failed, Some(not_reached(&why)))
        }
        _ => (state, failure.map(str::to_owned)),
    };
    let (deletion_id, call, ends_call, is_all): (String, Option<i64>, bool, bool) = connection
        .prepare_cached(
            "UPDATE deletions SET state = ?2, failure = ?3, settled_at = ?4, \
             confirmed_at = iif(?2 = 'confirmed', ?4, NULL) WHERE deletion = ?1 \
             RETURNING deletion_id, call, kind IN ('DeleteCall', 'RejectCall'), scope = 'all'",
        )?
        .query_row(params![deletion, state.as_str(), failure, now.0], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })?;
    if ends_call && state.is_taken() {
        connection
            .prepare_cached(
                "UPDATE calls SET deleted_by = ?2 WHERE call = ?1 AND deleted_by IS NULL",
            )?
            .execute(params![call, deletion])?;
    }
    Ok(Settled {
        deletion_id: deletion_id.parse().map_err(StoreError::unexpected)?,
        state,
        failure,
        operation,
        progress: if is_all { everybody::progress(connection, deletion)? } else { None },
        invited: if ends_call { None } else { invited(connection, deletion)? },
    })
}
