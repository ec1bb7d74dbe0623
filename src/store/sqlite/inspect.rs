//! Looks at a database without changing it: not its settings, not its schema, not its pepper.

use std::io::ErrorKind;
use std::path::Path;

use rusqlite::{Connection, OpenFlags, Row};

use super::{BUSY, unavailable};
use crate::id::TenantId;
use crate::store::error::OpenError;
use crate::store::pepper::Pepper;
use crate::store::schema::SchemaState;

/// What a database is like that this program can use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Inspection {
    pub(crate) state: SchemaState,
    /// Keys that are not revoked, with their tenants.
    pub(crate) keys: Vec<(String, TenantId)>,
}

/// Where the schema stands; an empty one when there is no file.
///
/// # Errors
///
/// [`OpenError::Foreign`] when it is not ours, [`OpenError::Damaged`] when it cannot be read.
pub(crate) fn schema_state(path: &Path) -> Result<SchemaState, OpenError> {
    const EMPTY: SchemaState = SchemaState { applied: 0, oldest_program: 0 };
    match std::fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(EMPTY),
        Err(error) => return Err(unavailable(path, &error)),
        // What SQLite makes before it writes.
        Ok(file) if file.len() == 0 => return Ok(EMPTY),
        Ok(_) => {}
    }
    let connection = open(path).map_err(|error| unavailable(path, &error))?;
    SchemaState::read(&connection, path)
}

/// Looks at the database at `path`, and whether `pepper_file` holds its pepper.
///
/// # Errors
///
/// Why this program could not use it.
pub(crate) fn inspect(path: &Path, pepper_file: &Path) -> Result<Inspection, OpenError> {
    let state = schema_state(path)?;
    state.check()?;
    let connection = open(path).map_err(|error| unavailable(path, &error))?;
    let keys = keys(&connection).map_err(|error| unavailable(path, &error))?;
    let known = peppers(&connection).map_err(|error| unavailable(path, &error))?;
    let pepper = Pepper::load(pepper_file)?;
    if known.iter().any(|fingerprint| fingerprint == pepper.fingerprint()) {
        Ok(Inspection { state, keys })
    } else {
        Err(OpenError::WrongPepper(pepper_file.display().to_string()))
    }
}

/// Not read-only for SQLite, because such a connection leaves the log's files behind it.
fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

fn keys(connection: &Connection) -> rusqlite::Result<Vec<(String, TenantId)>> {
    let mut statement = connection.prepare(
        "SELECT k.key_id, t.tenant_id FROM keys AS k JOIN tenants AS t ON t.tenant = k.tenant \
         WHERE k.revoked_at IS NULL ORDER BY t.tenant, k.key",
    )?;
    let key = |row: &Row<'_>| Ok((row.get(0)?, TenantId::new(&row.get::<_, String>(1)?)));
    statement.query_map((), key)?.collect()
}

/// The fingerprints of the peppers that hashes are made with.
pub(super) fn peppers(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare("SELECT fingerprint FROM peppers WHERE retired_at IS NULL")
        .and_then(|mut statement| statement.query_map((), |row| row.get(0))?.collect())
}
