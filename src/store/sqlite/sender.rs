//! What the sender asks of the journal: what is due, with a lease; and withdrawal and a new start.
//! How an attempt ends is in `settle`.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::admit::LAST_OPERATION;
use super::settle::{end, end_unsent};
use super::{Sqlite, admit, ringing, turns};
use crate::clock::Timestamp;
use crate::id::{CallId, DeletionId, GraphCallId, ProcessId, TenantId};
use crate::model::deletion::{DeletionState, REPEATED_BY_THE_STACK};
use crate::model::plan::{Operation, RejectReason};
use crate::store::admission::{Before, Claim, Lease, Leased, Settled, StepRef};
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
    let found: Vec<DueStep> = connection
        .prepare_cached(
            "SELECT s.deletion, s.position, d.call, d.deadline_at, s.operation FROM steps AS s \
             JOIN deletions AS d ON d.deletion = s.deletion \
             WHERE s.state = 'open' AND s.next_attempt_at <= ?1 AND d.state = 'open' \
             ORDER BY s.next_attempt_at LIMIT ?2",
        )?
        .query_map(
            params![now.0, i64::try_from(limit + sending.len()).unwrap_or(i64::MAX)],
            |row| {
                Ok(DueStep {
                    step: StepRef { deletion: row.get(0)?, position: row.get(1)? },
                    call: row.get(2)?,
                    deadline: Timestamp(row.get(3)?),
                    is_reject: row.get::<_, String>(4)? == Operation::Reject.as_str(),
                })
            },
        )?
        .collect::<Result<_, _>>()?;
    for DueStep { step, call, deadline, is_reject } in found {
        if sending.contains(&step) {
            due.skipped = true;
            continue;
        }
        if due.leased.len() + due.over.len() == limit {
            break;
        }
        let is_late = is_reject && !ringing::still_rings(connection, step, now)?;
        let too_late = if is_late { ringing::too_late(connection, step)? } else { None };
        let (state, why) = if turns::is_another_sent(connection, call, step.deletion)? {
            turns::wait(connection, step, now)?;
            continue;
        } else if turns::is_another_taken(connection, call, step.deletion)? {
            due.over.push(end(connection, step, DeletionState::Gone, None, now)?);
            continue;
        } else if let Some(why) = too_late {
            (DeletionState::Obsolete, why)
        } else if deadline <= now {
            (DeletionState::Obsolete, "its deadline passed before Graph took it")
        } else if admit::held(connection, call)? {
            (DeletionState::Held, "a hold was set before it was sent")
        } else {
            let step =
                if is_late { ringing::hang_up_instead(connection, step, now)? } else { step };
            due.leased.push(lease_one(connection, step, now, lease)?);
            continue;
        };
        due.over.push(end_unsent(connection, step, state, why, now)?);
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
    is_reject: bool,
}

/// An attempt of this deletion with a number below `before` may have taken effect, or has: the answer
/// of one whose lease had lapsed may have come and settled nothing. Attempts are counted through, from
/// step to step; a call that was answered was not rejected by any of them.
pub(super) fn effect_possible(
    connection: &Connection,
    step: StepRef,
    before: i64,
) -> Result<bool, StoreError> {
    Ok(connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM attempts AS a JOIN steps AS s ON s.deletion = a.deletion \
             AND s.position = a.position JOIN deletions AS d ON d.deletion = a.deletion \
             LEFT JOIN calls AS c ON c.call = d.call WHERE a.deletion = ?1 AND a.number < ?2 \
             AND (a.effect_possible = 1 OR a.status BETWEEN 200 AND 299) \
             AND NOT (s.operation = 'reject' AND c.answered_at IS NOT NULL))",
        )?
        .query_row(params![step.deletion, before], |row| row.get(0))?)
}

/// Puts the next attempt on disk as started and gives the step to the lease's owner.
fn lease_one(
    connection: &Connection,
    step: StepRef,
    now: Timestamp,
    lease: Lease,
) -> Result<Leased, StoreError> {
    let earlier_effect_possible = effect_possible(connection, step, i64::MAX)?;
    connection
        .prepare_cached(
            "UPDATE steps SET attempts = attempts + 1, fence = fence + 1, lease_owner = ?3, \
             lease_until = ?4, next_attempt_at = ?4 WHERE deletion = ?1 AND position = ?2",
        )?
        .execute(params![step.deletion, step.position, lease.owner.to_string(), lease.until.0])?;
    let leased = connection
        .prepare_cached(
            "SELECT s.fence, s.attempts, s.operation, s.deadline_at, d.deletion_id, t.tenant_id, \
             c.call_id, c.graph_id, s.reject_reason FROM steps AS s JOIN deletions AS d ON d.deletion = s.deletion \
             JOIN calls AS c ON c.call = d.call JOIN tenants AS t ON t.tenant = d.tenant \
             WHERE s.deletion = ?1 AND s.position = ?2",
        )?
        .query_row(params![step.deletion, step.position], |row| {
            Ok(read_leased(row, step, earlier_effect_possible))
        })??;
    connection
        .prepare_cached(
            "INSERT INTO attempts (deletion, position, number, tenant, started_at) \
             SELECT deletion, position, attempts, tenant, ?3 FROM steps \
             WHERE deletion = ?1 AND position = ?2",
        )?
        .execute(params![step.deletion, step.position, now.0])?;
    Ok(leased)
}

fn read_leased(
    row: &Row<'_>,
    step: StepRef,
    earlier_effect_possible: bool,
) -> Result<Leased, StoreError> {
    let operation: String = row.get(2)?;
    let deletion_id: String = row.get(4)?;
    let reject_reason: Option<String> = row.get(8)?;
    Ok(Leased {
        step,
        fence: row.get(0)?,
        attempt: row.get(1)?,
        deletion_id: deletion_id.parse().map_err(StoreError::unexpected)?,
        tenant: TenantId::new(&row.get::<_, String>(5)?),
        call_id: CallId::new(&row.get::<_, String>(6)?),
        graph_id: GraphCallId(row.get(7)?),
        operation: Operation::from_word(&operation)
            .ok_or_else(|| StoreError::unexpected(format!("operation {operation}")))?,
        reject_reason: reject_reason
            .as_deref()
            .and_then(RejectReason::from_word)
            .unwrap_or_default(),
        earlier_effect_possible,
        deadline: Timestamp(row.get(3)?),
    })
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
        let settled = end(connection, step, DeletionState::Cancelled, Some(failure), now)?;
        return Ok(Standing::Withdrawn(settled));
    }
    Ok(match standing(connection, deletion)? {
        Some(settled) if settled.state.is_open() => Standing::Begun,
        Some(settled) => Standing::Settled(settled),
        None => Standing::Begun,
    })
}

fn standing(connection: &Connection, deletion: DeletionId) -> Result<Option<Settled>, StoreError> {
    connection
        .prepare_cached(&format!(
            "SELECT d.state, d.failure, {LAST_OPERATION} FROM deletions AS d \
             WHERE d.deletion_id = ?1"
        ))?
        .query_row([deletion.to_string()], |row| {
            Ok((row.get::<_, String>(0)?, row.get(1)?, row.get::<_, Option<String>>(2)?))
        })
        .optional()?
        .map(|(state, failure, operation)| {
            let state = state.parse().map_err(StoreError::unexpected)?;
            let operation = operation.as_deref().and_then(Operation::from_word);
            Ok(Settled { deletion_id: deletion, state, failure, operation })
        })
        .transpose()
}
