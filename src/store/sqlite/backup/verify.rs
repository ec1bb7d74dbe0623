//! Whether a copy is whole: read, and nothing else.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rusqlite::Connection;

use super::{digest_around, place_of_seal};
use crate::clock::Timestamp;
use crate::model::chain::{KeptRecord, follows};
use crate::store::error::OpenError;
use crate::store::schema::SchemaState;
use crate::store::sqlite::{inspect, pause, reading};

/// The first bytes of every SQLite file.
const MAGIC: &[u8] = b"SQLite format 3\0";

/// A copy in which nothing is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verified {
    pub(crate) state: SchemaState,
    /// Every byte is as it was written. Without a seal, a changed byte may go unnoticed in a value.
    pub(crate) is_sealed: bool,
    /// When it was made, where it says so.
    pub(crate) made_at: Option<Timestamp>,
    /// It will send nothing before it is resumed.
    pub(crate) is_paused: bool,
    pub(crate) peppers: Vec<String>,
    pub(crate) counts: Counts,
}

/// How much is in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) keys: i64,
    pub(crate) calls: i64,
    pub(crate) deletions: i64,
    pub(crate) open_deletions: i64,
    pub(crate) holds: i64,
    pub(crate) records: i64,
}

/// What is wrong with a file that should be a copy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VerifyError {
    /// It cannot be read.
    #[error("the file cannot be read")]
    Unreadable(#[source] io::Error),
    /// It is something else.
    #[error("the file is no backup of ours: {0}")]
    NotOurs(&'static str),
    /// It is ours, and not as it was.
    #[error("the backup is damaged: {0}; take another one")]
    Damaged(String),
    /// Only a newer program understands it.
    #[error(transparent)]
    TooNew(OpenError),
}

impl From<rusqlite::Error> for VerifyError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Damaged(error.to_string())
    }
}

/// Reads everything in the copy at `path` and changes nothing: the seal, the pages, the references, the
/// audit chain.
///
/// # Errors
///
/// The first [`VerifyError`].
pub(crate) fn verify(path: &Path) -> Result<Verified, VerifyError> {
    let mut file = File::open(path).map_err(VerifyError::Unreadable)?;
    check_kind(path, &mut file)?;
    let connection = reading::immutable(path)?;
    let state = SchemaState::read(&connection, path).map_err(|error| match error {
        OpenError::Foreign(_) => VerifyError::NotOurs("its tables are not ours"),
        OpenError::Damaged(_) => VerifyError::Damaged("SQLite cannot read it".to_owned()),
        error => VerifyError::Damaged(error.to_string()),
    })?;
    if state.applied == 0 {
        return Err(VerifyError::NotOurs("there is nothing in it"));
    }
    if let Err(error @ OpenError::TooNew { .. }) = state.check() {
        return Err(VerifyError::TooNew(error));
    }
    let is_sealed = check_seal(&connection, &file)?;
    check_pages(&connection)?;
    check_chain(&connection)?;
    let pauses =
        if knows(&connection, "paused")? { pause::pauses(&connection)? } else { Vec::new() };
    Ok(Verified {
        state,
        is_sealed,
        made_at: pauses.iter().find_map(|pause| pause.backup_at),
        is_paused: pauses.iter().any(|pause| pause.tenant.is_none()),
        peppers: inspect::peppers(&connection)?,
        counts: counts(&connection)?,
    })
}

/// It is one file, and SQLite's.
fn check_kind(path: &Path, file: &mut File) -> Result<(), VerifyError> {
    if !file.metadata().map_err(VerifyError::Unreadable)?.is_file() {
        return Err(VerifyError::NotOurs("it is no regular file"));
    }
    let mut magic = Vec::new();
    file.take(MAGIC.len() as u64).read_to_end(&mut magic).map_err(VerifyError::Unreadable)?;
    if magic != MAGIC {
        return Err(VerifyError::NotOurs("it is no SQLite database"));
    }
    if reading::has_log(path) {
        let text = "there is a log or journal beside it, as of a database that is in use";
        return Err(VerifyError::NotOurs(text));
    }
    Ok(())
}

/// Every byte is as it was written; false when there is no seal to say so.
fn check_seal(connection: &Connection, file: &File) -> Result<bool, VerifyError> {
    if !knows(connection, "backup_seal")? {
        return Ok(false);
    }
    let Some(seal) = super::seal(connection)? else { return Ok(false) };
    let place = place_of_seal(connection, file)
        .map_err(|error| VerifyError::Damaged(error.to_string()))?
        .ok_or_else(|| VerifyError::Damaged("its seal is not where it was".to_owned()))?;
    if digest_around(file, place).map_err(VerifyError::Unreadable)? == seal {
        Ok(true)
    } else {
        let text = "it is not, byte for byte, what was written (or it was changed by hand since)";
        Err(VerifyError::Damaged(text.to_owned()))
    }
}

fn check_pages(connection: &Connection) -> Result<(), VerifyError> {
    let said: String = connection.query_row("PRAGMA integrity_check(1)", (), |row| row.get(0))?;
    if said != "ok" {
        return Err(VerifyError::Damaged(said));
    }
    let broken: i64 =
        connection
            .query_row("SELECT count(*) FROM pragma_foreign_key_check", (), |row| row.get(0))?;
    if broken > 0 {
        return Err(VerifyError::Damaged(format!("{broken} rows refer to rows that are missing")));
    }
    Ok(())
}

/// Every record of the audit chain holds on to the one before.
fn check_chain(connection: &Connection) -> Result<(), VerifyError> {
    let mut statement = connection.prepare(
        "SELECT position, canonical, salt, personal, digest, link FROM audit ORDER BY position",
    )?;
    let mut rows = statement.query(())?;
    let mut previous = (0, Vec::new());
    while let Some(row) = rows.next()? {
        let record = KeptRecord {
            position: row.get(0)?,
            canonical: row.get(1)?,
            salt: row.get(2)?,
            personal: row.get(3)?,
            digest: row.get(4)?,
            link: row.get(5)?,
        };
        follows((previous.0, &previous.1), &record).map_err(|why| {
            VerifyError::Damaged(format!("record {} of the audit chain {why}", record.position))
        })?;
        previous = (record.position, record.link);
    }
    Ok(())
}

fn counts(connection: &Connection) -> rusqlite::Result<Counts> {
    let count = |of: &str| {
        connection.query_row(&format!("SELECT count(*) FROM {of}"), (), |row| row.get(0))
    };
    Ok(Counts {
        keys: count("keys WHERE revoked_at IS NULL")?,
        calls: count("calls")?,
        deletions: count("deletions")?,
        open_deletions: count("deletions WHERE state = 'open'")?,
        holds: count("holds WHERE lifted_at IS NULL")?,
        records: count("audit")?,
    })
}

fn knows(connection: &Connection, table: &str) -> rusqlite::Result<bool> {
    connection.table_exists(None, table)
}
