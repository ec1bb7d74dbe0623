//! An operator goes on without what was lost. The record of that is on disk with what makes it so, or
//! the database is refused as before.

use std::fs::{File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, TransactionBehavior, params};

use super::{Promised, folder_of, mark_file, marked, new_lineage};
use crate::model::chain::Commits;
use crate::store::access::AuditEntry;
use crate::store::error::OpenError;
use crate::store::schema;
use crate::store::sqlite::beside::give_to_owner_of;
use crate::store::sqlite::{agreed_pepper, audit, inspect, open_writer, unavailable};

/// Goes on without the commits that the database at `path` lacks, or with an empty one in the place of
/// the one that is not there, whose pepper is in `pepper_file`. What is left begins paused, as a backup
/// does that was restored. `entry` is the record of it, and is completed. Gives what was lost; none when
/// nothing was, and nothing was changed.
///
/// # Errors
///
/// It is as it was, and so is what was missing.
pub(crate) fn accept_loss(
    path: &Path,
    pepper_file: &Path,
    mut entry: AuditEntry,
) -> Result<Option<Commits>, OpenError> {
    let promised = Promised::read(path)?;
    let is_gone = match inspect::schema_state(path) {
        Ok(_) => return Ok(None),
        Err(OpenError::LostLog { .. }) => false,
        Err(OpenError::Gone(_)) => true,
        Err(error) => return Err(error),
    };
    let marked = promised.0.map(|mark| mark.number).unwrap_or_default();
    let lost = if is_gone {
        let lost = Commits { marked, found: None };
        entry.event.commits = Some(lost);
        begin_anew(path, pepper_file, &entry)?;
        lost
    } else {
        go_on(path, marked, &mut entry)?
    };
    Ok(Some(lost))
}

/// The mark is of another history from this transaction on, and says nothing of this database any more.
fn go_on(path: &Path, promised: i64, entry: &mut AuditEntry) -> Result<Commits, OpenError> {
    let failed = |error: rusqlite::Error| unavailable(path, &error);
    let mut connection = open_writer(path)?;
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let found = marked(&transaction).map_err(failed)?.map(|found| found.number);
    let lost = Commits { marked: promised, found };
    entry.event.commits = Some(lost);
    let reason =
        "its last commits were lost: it revives revoked keys and knows nothing of newer holds";
    pause(&transaction, entry, reason).map_err(failed)?;
    new_lineage(&transaction).map_err(failed)?;
    audit::append_entry(&transaction, entry).map_err(|error| unavailable(path, &error))?;
    transaction.commit().map_err(failed)?;
    Ok(lost)
}

/// Puts a database that has the record and a pause, and nothing else, in the place of the one that is gone.
fn begin_anew(path: &Path, pepper_file: &Path, entry: &AuditEntry) -> Result<(), OpenError> {
    let failed = |error: &(dyn std::error::Error + 'static)| unavailable(path, error);
    let folder = folder_of(path);
    let file = tempfile::Builder::new()
        .prefix(".callgate.")
        .suffix(".partial")
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(folder)
        .map_err(|error| failed(&error))?;
    let mut connection = Connection::open(file.path()).map_err(|error| failed(&error))?;
    schema::migrate(&mut connection, path)?;
    agreed_pepper(&connection, path, pepper_file)?;
    let reason = "it was begun anew: what was there is lost, holds as well";
    pause(&connection, entry, reason).map_err(|error| failed(&error))?;
    audit::append_entry(&connection, entry).map_err(|error| failed(&error))?;
    connection.close().map_err(|(_, error)| failed(&error))?;
    // The mark is there, or nobody would know that the database is gone.
    give_to_owner_of(&mark_file(path), file.as_file());
    let placed = file.as_file().sync_all().and_then(|()| {
        // What belongs to the one that is gone would be read into this one.
        for ending in ["-wal", "-shm"] {
            remove(&beside(path, ending))?;
        }
        File::open(folder)?.sync_all()?;
        file.persist(path)?;
        File::open(folder)?.sync_all()
    });
    placed.map_err(|error| failed(&error))
}

/// Nothing is sent until an operator has looked at what is left.
fn pause(connection: &Connection, entry: &AuditEntry, reason: &str) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT INTO paused VALUES (1, ?1, 'callgate migrate', ?2, NULL) ON CONFLICT DO NOTHING",
        params![entry.at.0, reason],
    )?;
    Ok(())
}

fn remove(file: &Path) -> io::Result<()> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn beside(database: &Path, ending: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(ending);
    name.into()
}
