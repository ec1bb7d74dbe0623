//! Looks at a database without changing it: not its settings, not its schema, not its pepper.

use std::io::ErrorKind;
use std::path::Path;

use rusqlite::{Connection, Row};

use super::mark::Promised;
use super::reading::{self, Obstacle};
use super::reserve::{Kept, Reserve};
use super::{pause, unavailable};
use crate::id::TenantId;
use crate::store::error::OpenError;
use crate::store::pause::Pause;
use crate::store::pepper::Pepper;
use crate::store::schema::SchemaState;

/// What a database is like that this program can use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Inspection {
    pub(crate) state: SchemaState,
    /// Keys that are not revoked, with their tenants.
    pub(crate) keys: Vec<(String, TenantId)>,
    /// The pauses that stand.
    pub(crate) pauses: Vec<Pause>,
    /// What keeps everybody from writing it.
    pub(crate) obstacle: Option<Obstacle>,
    /// What there is for when its disk is full.
    pub(crate) kept: Kept,
}

/// Where the schema stands; an empty one when there is no file.
///
/// # Errors
///
/// [`OpenError::Foreign`] when it is not ours, [`OpenError::Damaged`] when it cannot be read,
/// [`OpenError::LostLog`] and [`OpenError::Gone`] when it lacks what it had.
pub(crate) fn schema_state(path: &Path) -> Result<SchemaState, OpenError> {
    const EMPTY: SchemaState = SchemaState { applied: 0, oldest_program: 0 };
    // Before the database, to which others may add commits.
    let promised = Promised::read(path)?;
    match std::fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return promised.of_nothing(path).map(|()| EMPTY);
        }
        Err(error) => return Err(unavailable(path, &error)),
        // What SQLite makes before it writes.
        Ok(file) if file.len() == 0 => return promised.of_nothing(path).map(|()| EMPTY),
        Ok(_) => {}
    }
    let (connection, _) = reading::open(path).map_err(|error| of_ours(error, &promised))?;
    let state = SchemaState::read(&connection, path).map_err(|error| of_ours(error, &promised))?;
    promised.check(&connection, path)?;
    Ok(state)
}

/// What was promised was one of ours.
fn of_ours(error: OpenError, promised: &Promised) -> OpenError {
    match error {
        OpenError::Foreign(path) if promised.is_any() => OpenError::Damaged(path),
        other => other,
    }
}

/// What there is beside the database at `path` for when its disk is full, and would be were so many bytes
/// written `besides`.
pub(crate) fn kept(path: &Path, besides: u64) -> Kept {
    Reserve::of(path).kept(besides)
}

/// Looks at the database at `path`, and whether `pepper_file` holds its pepper.
///
/// # Errors
///
/// Why this program could not use it.
pub(crate) fn inspect(path: &Path, pepper_file: &Path) -> Result<Inspection, OpenError> {
    let state = schema_state(path)?;
    state.check()?;
    let (connection, obstacle) = reading::open(path)?;
    let keys = keys(&connection).map_err(|error| unavailable(path, &error))?;
    let pauses = pause::pauses(&connection).map_err(|error| unavailable(path, &error))?;
    let known = peppers(&connection).map_err(|error| unavailable(path, &error))?;
    let pepper = Pepper::load(pepper_file)?;
    if known.iter().any(|fingerprint| fingerprint == pepper.fingerprint()) {
        Ok(Inspection { state, keys, pauses, obstacle, kept: kept(path, 0) })
    } else {
        Err(OpenError::WrongPepper(pepper_file.display().to_string()))
    }
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
