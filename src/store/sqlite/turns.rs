//! Two deletions of one call, a `DeleteCall` and a `RejectCall`: they take turns, so that nothing is sent
//! for the second one while Graph has not answered the first, nor once Graph has taken it.

use std::time::Duration;

use rusqlite::{Connection, params};

use crate::clock::Timestamp;
use crate::store::admission::StepRef;
use crate::store::error::StoreError;

/// After so long it is looked again whose turn it is.
const TURN: Duration = Duration::from_millis(200);

/// Another deletion of the call is being sent, or may have been when the process stopped.
pub(super) fn is_another_sent(
    connection: &Connection,
    call: i64,
    deletion: i64,
) -> Result<bool, StoreError> {
    Ok(connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM deletions AS d JOIN steps AS s \
             ON s.deletion = d.deletion WHERE d.call = ?1 AND d.deletion <> ?2 \
             AND d.state = 'open' AND s.state = 'open' AND s.lease_owner IS NOT NULL)",
        )?
        .query_row(params![call, deletion], |row| row.get(0))?)
}

/// Graph has taken the deletion `d` of the call `c`, and nothing that was told since says otherwise: a
/// call that was answered was not rejected, whatever Graph said of it.
pub(super) const IS_TAKEN: &str = "(d.state IN ('sent', 'confirmed', 'gone') AND NOT (\
     (c.answered_at IS NOT NULL OR c.state NOT IN ('incoming', 'terminating', 'terminated')) \
     AND EXISTS (SELECT 1 FROM steps AS r WHERE r.deletion = d.deletion \
     AND r.operation = 'reject') \
     AND NOT EXISTS (SELECT 1 FROM steps AS r WHERE r.deletion = d.deletion \
     AND r.operation <> 'reject' AND r.state IN ('sent', 'gone'))))";

/// Graph has taken another deletion of the call, so that nothing is left for this one to do.
pub(super) fn is_another_taken(
    connection: &Connection,
    call: i64,
    deletion: i64,
) -> Result<bool, StoreError> {
    Ok(connection
        .prepare_cached(&format!(
            "SELECT EXISTS (SELECT 1 FROM deletions AS d JOIN calls AS c ON c.call = d.call \
             WHERE d.call = ?1 AND d.deletion <> ?2 AND {IS_TAKEN})"
        ))?
        .query_row(params![call, deletion], |row| row.get(0))?)
}

/// Has this step wait for the other's answer.
pub(super) fn wait(
    connection: &Connection,
    step: StepRef,
    now: Timestamp,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "UPDATE steps SET next_attempt_at = ?3 WHERE deletion = ?1 AND position = ?2",
        )?
        .execute(params![step.deletion, step.position, (now + TURN).0])?;
    Ok(())
}
