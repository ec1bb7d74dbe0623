//! Where a deletion stands when its caller has waited long enough: by what is on disk, because a command
//! beside the gateway may have changed it.

use rusqlite::Connection;

use super::sender::{Turn, note_denied, standing, stopped, turn_of};
use super::settle::end_unsent;
use super::turns::Patience;
use super::{Sqlite, due, turns};
use crate::clock::Timestamp;
use crate::id::DeletionId;
use crate::model::deletion::{DeletionState, WAIT_TOO_LONG};
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
    Ok(match turns::patience(&transaction, deletion, now)? {
        Patience::Enough => (seen, false),
        // The others go on, but it will be no success.
        Patience::TooShortForSome => (Settled { state: DeletionState::Unknown, ..seen }, false),
        Patience::TooShort => (seen, true),
    })
}

fn end_stopped(
    connection: &Connection,
    deletion: DeletionId,
    now: Timestamp,
) -> Result<Settled, StoreError> {
    let too_long = turns::patience(connection, deletion, now)? == Patience::TooShort;
    // Whoever asks is told that nothing more is sent of it, and so it has to be.
    let too_long = too_long.then_some((DeletionState::Obsolete, WAIT_TOO_LONG));
    for step in due::unsent_steps(connection, deletion)? {
        let stopped = stopped(connection, &step, now)?;
        let Some((state, why)) = stopped.or(too_long) else { continue };
        // With a turn to come, another one of the same call has its own, and this one would not be sent after
        // it either.
        if stopped.is_none() || matches!(turn_of(connection, &step, now)?, Turn::Wait) {
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
