//! A deletion that cannot be read ends, shown and logged, and keeps nobody else from being sent or told.

use rusqlite::{Connection, params};

use crate::clock::Timestamp;
use crate::model::deletion::DeletionState;
use crate::store::admission::Settled;
use crate::store::error::StoreError;

/// Why it ended.
const UNREADABLE: &str = "its record in the database, or that of its call or key, cannot be read";

/// Ends a deletion of which something could not be read, as unknown when it may be done already; gives
/// what whoever waits for it is told, if that can be read. No attempt has begun with what could not be
/// read; one that is under way may take effect.
///
/// # Errors
///
/// `error` itself, unless it is about a value in the database: everything else passes, or concerns all.
pub(super) fn leave(
    connection: &Connection,
    deletion: i64,
    error: StoreError,
    now: Timestamp,
) -> Result<Option<Settled>, StoreError> {
    if !matches!(error, StoreError::Unexpected(_)) {
        return Err(error);
    }
    let (state, why) = if may_be_done(connection, deletion)? {
        let why = format!("{UNREADABLE}, and an earlier attempt may have taken effect");
        (DeletionState::Unknown, why)
    } else {
        (DeletionState::Failed, UNREADABLE.to_owned())
    };
    connection
        .prepare_cached(
            "UPDATE steps SET state = ?2, failure = ?3, next_attempt_at = NULL, \
             lease_owner = NULL, lease_until = NULL WHERE deletion = ?1 AND state = 'open'",
        )?
        .execute(params![deletion, state.as_str(), why])?;
    let id: String = connection
        .prepare_cached(
            "UPDATE deletions SET state = ?2, failure = ?3, settled_at = ?4 WHERE deletion = ?1 \
             RETURNING deletion_id",
        )?
        .query_row(params![deletion, state.as_str(), why, now.0], |row| row.get(0))?;
    tracing::error!(deletion.id = %id, "deletion {id} ended without being sent: {error}");
    let settled = |deletion_id| Settled {
        deletion_id,
        state,
        failure: Some(why),
        operation: None,
        progress: None,
        invited: None,
    };
    Ok(id.parse().ok().map(settled))
}

fn may_be_done(connection: &Connection, deletion: i64) -> Result<bool, StoreError> {
    Ok(connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM attempts AS a JOIN steps AS s USING (deletion, position) \
             WHERE a.deletion = ?1 AND (a.effect_possible = 1 OR a.status BETWEEN 200 AND 299) \
             AND s.operation <> 'read-roster')",
        )?
        .query_row([deletion], |row| row.get(0))?)
}
