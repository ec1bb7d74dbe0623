//! Who is or was in a call, and whom we asked into it.

use rusqlite::{Connection, Row};

use crate::clock::Timestamp;
use crate::model::deletion::DeletionState;
use crate::store::error::StoreError;
use crate::store::records::{InvitationDetails, ParticipantDetails};
use crate::store::sqlite::deletions::time;
use crate::store::sqlite::lease::failed;

/// The invitations into a call. Whose participant id is not known has joined when his user is in the
/// call.
const INVITATIONS: &str = "SELECT d.deletion_id, d.state, i.user_id, i.operation_id, \
     i.participant_id, d.created_at, c.ended_at IS NULL AND NOT EXISTS \
     (SELECT 1 FROM roster AS r WHERE r.call = i.call AND (r.participant_id = i.participant_id \
     OR (i.participant_id IS NULL AND r.left_at IS NULL AND r.user_id = i.normalised))) \
     AND NOT EXISTS (SELECT 1 FROM deletions AS other WHERE other.call = i.call \
     AND other.kind = 'DeleteParticipant' AND other.target = i.participant_id \
     AND other.state IN ('sent', 'confirmed', 'gone')), \
     i.failed, i.failed_code, i.failed_subcode, i.failed_message FROM invitations AS i JOIN deletions AS d ON d.deletion = i.deletion \
     JOIN calls AS c ON c.call = i.call WHERE i.call = ?1 ORDER BY i.deletion";

/// In the order in which they joined.
pub(super) fn roster(
    connection: &Connection,
    call: i64,
) -> Result<Vec<ParticipantDetails>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT participant_id, raw, user_id, display_name, app_id, joined_at, left_at, sequence \
         FROM roster WHERE call = ?1 ORDER BY joined_at IS NULL, joined_at, participant_id",
    )?;
    let mut rows = statement.query([call])?;
    let mut roster = Vec::new();
    while let Some(row) = rows.next()? {
        roster.push(ParticipantDetails {
            participant_id: row.get(0)?,
            raw: row.get(1)?,
            user_id: row.get(2)?,
            display_name: row.get(3)?,
            app_id: row.get(4)?,
            joined_at: time(row, 5)?,
            left_at: time(row, 6)?,
            sequence: row.get(7)?,
        });
    }
    Ok(roster)
}

/// In the order in which they were asked for.
pub(super) fn invitations(
    connection: &Connection,
    call: i64,
) -> Result<Vec<InvitationDetails>, StoreError> {
    let mut statement = connection.prepare_cached(INVITATIONS)?;
    let mut rows = statement.query([call])?;
    let mut invitations = Vec::new();
    while let Some(row) = rows.next()? {
        invitations.push(invitation(row)?);
    }
    Ok(invitations)
}

fn invitation(row: &Row<'_>) -> Result<InvitationDetails, StoreError> {
    let state: String = row.get(1)?;
    let state: DeletionState = state.parse().map_err(StoreError::unexpected)?;
    let may_be_taken = state.is_open() || state.is_taken() || state == DeletionState::Unknown;
    Ok(InvitationDetails {
        deletion_id: row.get(0)?,
        state,
        user_id: row.get(2)?,
        operation_id: row.get(3)?,
        participant_id: row.get(4)?,
        invited_at: Timestamp(row.get(5)?),
        is_pending: may_be_taken && row.get(6)?,
        failed: failed(row, 7)?,
    })
}
