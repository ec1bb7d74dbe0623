//! Reads a database where nothing can be written, because the disk is full or read-only.
//!
//! SQLite wants to make a file beside a database with a write-ahead log even to read it. Without a log
//! there is nothing in that file that a reader needs.

use std::fs;
use std::path::{Path, PathBuf};

use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{BUSY, unavailable};
use crate::store::error::{OpenError, is_full};

/// Why a database can only be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// There is no room on its disk.
    Full,
    /// It, its folder or its disk cannot be written.
    ReadOnly,
}

/// Opens the database at `path`, to look at it only; says what keeps others from writing it.
///
/// Not read-only for SQLite, if possible, because such a connection leaves the log's files behind it.
///
/// # Errors
///
/// [`OpenError`]; it cannot be read either.
pub(super) fn open(path: &Path) -> Result<(Connection, Option<Obstacle>), OpenError> {
    let failed = |error: rusqlite::Error| unavailable(path, &error);
    let looked = plain(path).and_then(|connection| {
        connection.query_row("SELECT count(*) FROM sqlite_schema", (), |_| Ok(()))?;
        let is_readonly = connection.is_readonly("main")?;
        Ok((connection, is_readonly.then_some(Obstacle::ReadOnly)))
    });
    let error = match looked {
        Ok(opened) => return Ok(opened),
        Err(error) => error,
    };
    let Some(obstacle) = obstacle(&error) else { return Err(failed(error)) };
    if has_log(path) {
        return Err(failed(error));
    }
    // Nobody writes it now, or there would be a log.
    let connection = immutable(path).map_err(failed)?;
    Ok((connection, Some(obstacle)))
}

/// Opens the file at `path` as one that nobody changes, without locks or files beside it.
pub(super) fn immutable(path: &Path) -> rusqlite::Result<Connection> {
    use std::os::unix::ffi::OsStrExt;
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let encoded = percent_encode(absolute.as_os_str().as_bytes(), NON_ALPHANUMERIC);
    Connection::open_with_flags(
        format!("file:{encoded}?mode=ro&immutable=1"),
        OpenFlags::SQLITE_OPEN_READ_ONLY
            | OpenFlags::SQLITE_OPEN_URI
            | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
}

/// Whether SQLite has something beside the file at `path` that belongs into it.
pub(super) fn has_log(path: &Path) -> bool {
    let beside = |ending: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    ["-wal", "-journal"]
        .iter()
        .any(|ending| fs::metadata(beside(ending)).is_ok_and(|log| log.len() > 0))
}

fn plain(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

fn obstacle(error: &rusqlite::Error) -> Option<Obstacle> {
    match error.sqlite_error_code() {
        _ if is_full(error) => Some(Obstacle::Full),
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly) => Some(Obstacle::ReadOnly),
        _ => None,
    }
}
