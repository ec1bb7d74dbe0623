//! What is told of our invitations: the id of whoever joins by one, or that nobody does.

use rusqlite::{OptionalExtension, params};

use super::Call;
use crate::model::change::{EndReason, InvitationChange};
use crate::store::error::StoreError;
use crate::store::sqlite::lease::{keep_failed, not_reached};

/// Our invitations into this call whose answer is not known, though they may have been taken: it was
/// overtaken by the news, or is lost.
const UNANSWERED: &str = "SELECT i.deletion FROM invitations AS i WHERE i.call = ?1 \
                          AND i.operation_id IS NULL AND i.normalised = ?3 AND EXISTS \
                          (SELECT 1 FROM attempts AS a WHERE a.deletion = i.deletion \
                          AND a.effect_possible = 1)";

/// Which of our invitations an operation is. Where none has its id, it is the only one of the same user
/// whose answer is not known.
fn meant() -> String {
    format!(
        "(operation_id = ?2 \
         OR (NOT EXISTS (SELECT 1 FROM invitations WHERE call = ?1 AND operation_id = ?2) \
         AND (SELECT count(*) FROM ({UNANSWERED})) = 1 AND deletion = ({UNANSWERED})))"
    )
}

/// Notes whom Graph made of the invited one, where that is not known yet, or that nobody joins; gives
/// whether it was news.
pub(super) fn tell(call: &Call<'_>, told: &InvitationChange) -> Result<bool, StoreError> {
    let InvitationChange { operation_id, participant_id, user_id, failed } = told;
    let is_over = match failed {
        Some(reason) => fail(call, told, reason)?,
        None => false,
    };
    let noted = call
        .connection
        .prepare_cached(&format!(
            "UPDATE invitations SET operation_id = ?2, participant_id = ?4 \
             WHERE call = ?1 AND participant_id IS NULL AND ?4 IS NOT NULL AND {}",
            meant()
        ))?
        .execute(params![call.row, operation_id, user_id, participant_id])?;
    Ok(noted > 0 || is_over)
}

/// Notes that nobody joins by an invitation, also when Graph had taken it, or its answer is lost. One
/// that is still being sent ends so with its answer.
fn fail(call: &Call<'_>, told: &InvitationChange, reason: &EndReason) -> Result<bool, StoreError> {
    let InvitationChange { operation_id, user_id, .. } = told;
    let meant: Option<i64> = call
        .connection
        .prepare_cached(&format!(
            "SELECT deletion FROM invitations WHERE call = ?1 AND {}",
            meant()
        ))?
        .query_row(params![call.row, operation_id, user_id], |row| row.get(0))
        .optional()?;
    let Some(deletion) = meant else { return Ok(false) };
    let is_news = keep_failed(call.connection, deletion, reason)?;
    call.connection
        .prepare_cached("UPDATE invitations SET operation_id = ?2 WHERE deletion = ?1")?
        .execute(params![deletion, operation_id])?;
    call.connection
        .prepare_cached(
            "UPDATE deletions SET state = 'failed', failure = ?2 WHERE deletion = ?1 \
             AND state IN ('sent', 'unknown')",
        )?
        .execute(params![deletion, not_reached(reason)])?;
    Ok(is_news)
}
