//! Where a deletion stands when its caller has waited long enough: by what is on disk, because a command
//! beside the gateway may have changed it.

use rusqlite::Connection;

use super::sender::{Turn, note_denied, standing, stopped, turn_of};
use super::settle::end_unsent;
use super::{Sqlite, due};
use crate::clock::Timestamp;
use crate::id::DeletionId;
use crate::store::admission::Settled;
use crate::store::error::StoreError;

impl Sqlite {
    /// See [`crate::store::Store::standing`].
    pub(crate) async fn standing(
        &self,
        deletion: DeletionId,
        now: Timestamp,
    ) -> Result<Settled, StoreError> {
        // Nearly always there is nothing to write.
        let (seen, is_stopped) =
            self.read(move |connection| look(connection, deletion, now)).await?;
        if !is_stopped {
            return Ok(seen);
        }
        self.write_owed(move |connection| end_stopped(connection, deletion, now)).await
    }
}

/// Where it stands, and whether it is open and to be ended.
fn look(
    connection: &Connection,
    deletion: DeletionId,
    now: Timestamp,
) -> Result<(Settled, bool), StoreError> {
    let transaction = connection.unchecked_transaction()?;
    let seen = known(&transaction, deletion)?;
    for step in due::unsent_steps(&transaction, deletion)? {
        if stopped(&transaction, &step, now)?.is_some() {
            return Ok((seen, true));
        }
    }
    Ok((seen, false))
}

fn end_stopped(
    connection: &Connection,
    deletion: DeletionId,
    now: Timestamp,
) -> Result<Settled, StoreError> {
    for step in due::unsent_steps(connection, deletion)? {
        let Some((state, why)) = stopped(connection, &step, now)? else { continue };
        if matches!(turn_of(connection, &step, now)?, Turn::Wait) {
            // Another one of the same call has its turn, and this one would not be sent after it either.
            end_unsent(connection, step.step, state, why, now)?;
        }
        note_denied(connection, step.step.deletion, now)?;
    }
    known(connection, deletion)
}

fn known(connection: &Connection, deletion: DeletionId) -> Result<Settled, StoreError> {
    let known = standing(connection, deletion)?;
    known.ok_or_else(|| StoreError::unexpected("a deletion that was recorded is not there"))
}
