//! What the sender asks of the journal: what is due, with a lease; and withdrawal and a new start.
//! How an attempt ends is in `settle`.

use rusqlite::{Connection, OptionalExtension, params};

use super::admit::LAST_OPERATION;
use super::lease::{effect_possible, invited, lease_one};
use super::settle::{end, end_unsent};
use super::{Sqlite, admit, everybody, ringing, turns};
use crate::clock::Timestamp;
use crate::id::{DeletionId, ProcessId};
use crate::model::deletion::{ANSWER_LOST, DeletionState, LEG_OVER, REPEATED_BY_THE_STACK};
use crate::model::plan::Operation;
use crate::store::admission::{Before, Claim, Lease, Settled, StepRef};
use crate::store::error::StoreError;
use crate::store::{Due, Standing};

impl Sqlite {
    /// See [`crate::store::Store::take_over`].
    pub(crate) async fn take_over(
        &self,
        process: ProcessId,
        now: Timestamp,
    ) -> Result<usize, StoreError> {
        self.write(move |connection| take_over(connection, process, now)).await
    }

    /// See [`crate::store::Store::lease_due`].
    pub(crate) async fn lease_due(
        &self,
        now: Timestamp,
        lease: Lease,
        limit: usize,
        sending: Vec<StepRef>,
    ) -> Result<Due, StoreError> {
        self.write(move |connection| lease_due(connection, now, lease, limit, &sending)).await
    }

    /// See [`crate::store::Store::before`].
    pub(crate) async fn before(&self, step: StepRef, attempt: i64) -> Result<Before, StoreError> {
        // On the writer's connection, behind every settlement that was queued before.
        self.write(move |connection| {
            Ok(Before {
                effect_possible: effect_possible(connection, step, attempt)?,
                call_answered: ringing::was_answered(connection, step)?,
            })
        })
        .await
    }

    /// See [`crate::store::Store::withdraw`].
    pub(crate) async fn withdraw(
        &self,
        deletion: DeletionId,
        now: Timestamp,
        committed: impl FnOnce(&Standing) + Send + 'static,
    ) -> Result<Standing, StoreError> {
        self.write_with(move |connection| withdraw(connection, deletion, now), committed).await
    }

    /// See [`crate::store::Store::abandon`]; nobody waits for it.
    pub(crate) fn abandon(&self, claim: Claim, now: Timestamp) -> Result<(), StoreError> {
        self.note(claim, "UPDATE deletions SET abandoned_at = ?3", now)
    }

    /// See [`crate::store::Store::answered`]; nobody waits for it.
    pub(crate) fn answered(&self, claim: Claim, now: Timestamp) -> Result<(), StoreError> {
        self.note(claim, "UPDATE deletions SET answered_at = ?3", now)
    }

    /// Notes something about the last caller of a deletion, if it still is the last.
    fn note(&self, claim: Claim, update: &'static str, now: Timestamp) -> Result<(), StoreError> {
        self.0.writer.submit_detached(move |connection| {
            connection
                .prepare_cached(&format!("{update} WHERE deletion_id = ?1 AND claims = ?2"))?
                .execute(params![claim.deletion.to_string(), claim.number, now.0])
                .map(drop)
                .map_err(StoreError::from)
        })
    }
}

pub(super) fn take_over(
    connection: &Connection,
    process: ProcessId,
    now: Timestamp,
) -> Result<usize, StoreError> {
    connection.execute(
        "INSERT INTO serving (only_row, process, started_at) VALUES (1, ?1, ?2) \
         ON CONFLICT (only_row) DO UPDATE SET process = excluded.process, \
         started_at = excluded.started_at",
        params![process.to_string(), now.0],
    )?;
    // Whoever still waited for these was cut off, and an old HTTP stack repeats what was cut off.
    connection.execute(
        "UPDATE deletions SET abandoned_at = ?1 WHERE state = 'open' AND created_at > ?2 \
         AND answered_at IS NULL \
         AND deletion IN (SELECT deletion FROM steps WHERE state = 'open')",
        params![now.0, (now - REPEATED_BY_THE_STACK).0],
    )?;
    // The fence grows, so that an answer that still comes with such a lease settles nothing.
    Ok(connection.execute(
        "UPDATE steps SET lease_owner = NULL, lease_until = NULL, next_attempt_at = ?1, \
         fence = fence + 1 WHERE state = 'open' AND lease_owner IS NOT NULL",
        [now.0],
    )?)
}

pub(super) fn lease_due(
    connection: &Connection,
    now: Timestamp,
    lease: Lease,
    limit: usize,
    sending: &[StepRef],
) -> Result<Due, StoreError> {
    let mut due = Due::default();
    let mut looked_at = 0;
    for step in due_steps(connection, now, limit + sending.len())? {
        if sending.contains(&step.step) {
            due.skipped = true;
            continue;
        }
        if looked_at == limit {
            break;
        }
        match turn_of(connection, &step, now)? {
            Turn::Send(step) => due.leased.push(lease_one(connection, step, now, lease)?),
            Turn::Over(over) => due.over.extend(over),
            Turn::Wait => continue,
        }
        looked_at += 1;
    }
    // The same rows as above: one that is never leased must not be due for ever.
    due.next = connection
        .prepare_cached(
            "SELECT s.next_attempt_at FROM steps AS s JOIN deletions AS d \
             ON d.deletion = s.deletion WHERE s.state = 'open' AND d.state = 'open' \
             ORDER BY s.next_attempt_at LIMIT 1",
        )?
        .query_row((), |row| row.get::<_, Option<i64>>(0))
        .optional()?
        .flatten()
        .map(Timestamp);
    Ok(due)
}

/// A step that is due.
struct DueStep {
    step: StepRef,
    call: i64,
    /// The deletion's.
    deadline: Timestamp,
    operation: String,
}

impl DueStep {
    fn is(&self, operation: Operation) -> bool {
        self.operation == operation.as_str()
    }
}

/// What becomes of a step that is due.
enum Turn {
    /// This one is sent, which may be another one in its place.
    Send(StepRef),
    /// The step is over, and perhaps its deletion with it.
    Over(Option<Settled>),
    /// Something else comes first.
    Wait,
}

fn due_steps(
    connection: &Connection,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<DueStep>, StoreError> {
    let steps = connection
        .prepare_cached(
            "SELECT s.deletion, s.position, d.call, d.deadline_at, s.operation FROM steps AS s \
             JOIN deletions AS d ON d.deletion = s.deletion \
             WHERE s.state = 'open' AND s.next_attempt_at <= ?1 AND d.state = 'open' \
             ORDER BY s.next_attempt_at LIMIT ?2",
        )?
        .query_map(params![now.0, i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
            Ok(DueStep {
                step: StepRef { deletion: row.get(0)?, position: row.get(1)? },
                call: row.get(2)?,
                deadline: Timestamp(row.get(3)?),
                operation: row.get(4)?,
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(steps)
}

fn turn_of(connection: &Connection, due: &DueStep, now: Timestamp) -> Result<Turn, StoreError> {
    let step = due.step;
    let over = |state, why| end_unsent(connection, step, state, why, now).map(Turn::Over);
    // Doing it twice invites twice.
    if due.is(Operation::Invite) && effect_possible(connection, step, i64::MAX)? {
        let settled = end(connection, step, DeletionState::Unknown, Some(ANSWER_LOST), now)?;
        return Ok(Turn::Over(settled));
    }
    if turns::is_another_sent(connection, due.call, step.deletion)? {
        turns::wait(connection, step, now)?;
        return Ok(Turn::Wait);
    }
    if turns::is_another_taken(connection, due.call, step.deletion)? {
        return match turns::too_late(connection, step, due.call)? {
            Some(why) => over(DeletionState::Obsolete, why),
            None => end(connection, step, DeletionState::Gone, None, now).map(Turn::Over),
        };
    }
    if turns::is_leg_over(connection, step)? {
        return over(DeletionState::Obsolete, LEG_OVER);
    }
    let is_late =
        due.is(Operation::Reject) && ringing::still_rings(connection, step, now)?.is_none();
    if is_late && let Some(why) = ringing::too_late(connection, step)? {
        return over(DeletionState::Obsolete, why);
    }
    if due.deadline <= now {
        return over(DeletionState::Obsolete, "its deadline passed before Graph took it");
    }
    if admit::held(connection, due.call)? {
        return over(DeletionState::Held, "a hold was set before it was sent");
    }
    if due.is(Operation::Invite) && turns::is_replaced_held(connection, step)? {
        return over(DeletionState::Held, "a hold was set on the call that it drops");
    }
    if is_late { ringing::hang_up_instead(connection, step, now) } else { Ok(step) }.map(Turn::Send)
}

fn withdraw(
    connection: &Connection,
    deletion: DeletionId,
    now: Timestamp,
) -> Result<Standing, StoreError> {
    let untouched: Option<StepRef> = connection
        .prepare_cached(
            "SELECT d.deletion, s.position FROM deletions AS d JOIN steps AS s \
             ON s.deletion = d.deletion AND s.state = 'open' \
             WHERE d.deletion_id = ?1 AND d.state = 'open' \
             AND NOT EXISTS (SELECT 1 FROM attempts AS a WHERE a.deletion = d.deletion)",
        )?
        .query_row([deletion.to_string()], |row| {
            Ok(StepRef { deletion: row.get(0)?, position: row.get(1)? })
        })
        .optional()?;
    if let Some(step) = untouched {
        let failure = "withdrawn: its caller was answered before any attempt began";
        let ended = end(connection, step, DeletionState::Cancelled, Some(failure), now)?;
        if let Some(settled) = ended {
            return Ok(Standing::Withdrawn(settled));
        }
    }
    Ok(match standing(connection, deletion)? {
        Some(settled) if settled.state.is_open() => Standing::Begun,
        Some(settled) => Standing::Settled(settled),
        None => Standing::Begun,
    })
}

fn standing(connection: &Connection, deletion: DeletionId) -> Result<Option<Settled>, StoreError> {
    let known = connection
        .prepare_cached(&format!(
            "SELECT d.deletion, d.state, d.failure, {LAST_OPERATION} FROM deletions AS d \
             WHERE d.deletion_id = ?1"
        ))?
        .query_row([deletion.to_string()], |row| {
            let operation: Option<String> = row.get(3)?;
            Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get(2)?, operation))
        })
        .optional()?;
    let Some((row, state, failure, operation)) = known else { return Ok(None) };
    Ok(Some(Settled {
        deletion_id: deletion,
        state: state.parse().map_err(StoreError::unexpected)?,
        failure,
        operation: operation.as_deref().and_then(Operation::from_word),
        progress: everybody::progress(connection, row)?,
        invited: invited(connection, row)?,
    }))
}
