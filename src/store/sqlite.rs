//! The store in one SQLite file: one writer thread, a few read-only connections, and a thread that
//! checkpoints the write-ahead log so that no commit has to.

mod access;
mod admit;
mod apply;
mod armed;
mod aside;
mod audit;
pub(crate) mod backup;
pub(crate) mod beside;
mod calls;
mod checkpoint;
mod condition;
mod deletions;
mod due;
mod everybody;
mod figures;
mod filtered;
pub(crate) mod inspect;
mod key_uses;
mod keys;
mod lease;
mod lookup;
pub(crate) mod mark;
#[cfg(test)]
mod model_test;
mod operations;
mod participants;
mod pause;
mod place;
pub(crate) mod reading;
mod reconcile;
pub(crate) mod reserve;
mod resolve;
mod ringing;
mod run;
mod sender;
mod sessions;
mod settle;
#[cfg(test)]
mod simulation;
mod standing;
#[cfg(test)]
mod tests;
mod turns;
mod users;
mod waits;
mod writer;

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::{Notify, Semaphore};

use self::checkpoint::{Checkpointer, LOG_LIMIT, LogIsLong};
use self::condition::Condition;
use self::mark::Mark;
use self::reserve::with_reserve;
use self::writer::{Care, Writer};
use super::error::{OpenError, StoreError, is_full};
use super::pepper::Pepper;
use super::schema::{self, SchemaState};
use crate::clock::Timestamp;
use crate::health::Health;
use crate::telemetry::metrics::count::Counts;
use crate::telemetry::metrics::label::Commit;

/// Read-only connections.
const READERS: usize = 2;
/// How long a statement waits for another process's write, and between two looks. SQLite's own
/// waits grow to a tenth of a second, in which an import could take its turn over and over.
const BUSY: Duration = Duration::from_secs(5);
const BUSY_LOOK: Duration = Duration::from_micros(500);

/// The open database.
#[derive(Debug, Clone)]
pub(crate) struct Sqlite(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    writer: Writer,
    readers: Mutex<Vec<Connection>>,
    reading: Arc<Semaphore>,
    look_wanted: Arc<Notify>,
    fired: Arc<Notify>,
    /// The last session that was looked at for removal.
    swept: Arc<AtomicI64>,
    condition: Condition,
    commits: Counts<Commit>,
    path: PathBuf,
    /// Why it can only be read, if so.
    refusal: Option<StoreError>,
    // Dropped after the writer, so that the last checkpoint sees everything. None where nothing is written.
    _checkpointer: Option<Checkpointer>,
}

/// Whether a missing database is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// It is made, with its pepper.
    Create,
    /// It is an error.
    Refuse,
}

impl Sqlite {
    /// The last session that was looked at for removal, since this process began.
    fn swept(&self) -> Arc<AtomicI64> {
        Arc::clone(&self.0.swept)
    }

    /// Opens the database at `path`, whose hashes were made with the pepper in `pepper_file`. Where there is
    /// no room for that, the reserve is given up for it. Where nothing can be written even so, it can still
    /// be read, but by whoever would make a missing one.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; a database that existed is as it was.
    pub(crate) fn open(
        path: &Path,
        pepper_file: &Path,
        missing: Missing,
    ) -> Result<(Self, Pepper), OpenError> {
        match with_reserve(path, || Self::open_writable(path, pepper_file, missing)) {
            Err(refused) if missing == Missing::Refuse => {
                let refusal = match refused {
                    OpenError::ReadOnly(_) => StoreError::Disk,
                    OpenError::Full(_) => StoreError::Full,
                    _ => return Err(refused),
                };
                Self::open_readable(path, pepper_file, refusal).map_err(|_unreadable| refused)
            }
            opened => opened,
        }
    }

    fn open_writable(
        path: &Path,
        pepper_file: &Path,
        missing: Missing,
    ) -> Result<(Self, Pepper), OpenError> {
        let exists = path.try_exists().unwrap_or(false);
        if !exists && missing == Missing::Refuse {
            return Err(mark::absence(path));
        }
        // Looked at before anything could be changed, a foreign database's settings included.
        inspect::schema_state(path)?;
        if !exists {
            create_private(path)?;
        }
        let mut connection = open_writer(path)?;
        let mut state = SchemaState::read(&connection, path)?;
        if state.applied == 0 && missing == Missing::Create {
            schema::migrate(&mut connection, path)?;
            state = SchemaState::read(&connection, path)?;
        }
        state.check()?;
        let pepper = agreed_pepper(&connection, path, pepper_file)?;
        backup::unseal(&mut connection).map_err(|error| unavailable(path, &error))?;
        let log_is_long = LogIsLong::default();
        let condition = Condition::default();
        let mark = Mark::open(&connection, path)?;
        let checkpointer = Checkpointer::start(path, log_is_long.clone(), condition.clone())?;
        let readers = (0..READERS)
            .map(|_| open_reader(path))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| unavailable(path, &error))?;
        let commits = Counts::default();
        let care = Care { log_is_long, condition, mark: Some(mark), commits };
        Ok((Self::start(path, connection, readers, care, Ok(checkpointer))?, pepper))
    }

    /// What is written fails, each operation with `refusal`.
    fn open_readable(
        path: &Path,
        pepper_file: &Path,
        refusal: StoreError,
    ) -> Result<(Self, Pepper), OpenError> {
        let open = || reading::open(path).map(|(connection, _)| connection);
        inspect::schema_state(path)?.check()?;
        let connection = open()?;
        let pepper = agreed_pepper(&connection, path, pepper_file)?;
        let readers = (0..READERS).map(|_| open()).collect::<Result<Vec<_>, _>>()?;
        let care = Care {
            log_is_long: LogIsLong::default(),
            condition: Condition::default(),
            mark: None,
            commits: Counts::default(),
        };
        Ok((Self::start(path, connection, readers, care, Err(refusal))?, pepper))
    }

    fn start(
        path: &Path,
        connection: Connection,
        readers: Vec<Connection>,
        care: Care,
        checkpointer: Result<Checkpointer, StoreError>,
    ) -> Result<Self, OpenError> {
        let (condition, commits) = (care.condition.clone(), care.commits.clone());
        let (checkpointer, refusal) = match checkpointer {
            Ok(checkpointer) => (Some(checkpointer), None),
            Err(refusal) => (None, Some(refusal)),
        };
        let writer = Writer::start(connection, path.to_owned(), care)
            .map_err(|error| unavailable(path, &error))?;
        Ok(Self(Arc::new(Inner {
            writer,
            readers: Mutex::new(readers),
            reading: Arc::new(Semaphore::new(READERS)),
            look_wanted: Arc::default(),
            fired: Arc::default(),
            swept: Arc::default(),
            condition,
            commits,
            path: path.to_owned(),
            refusal,
            _checkpointer: checkpointer,
        })))
    }

    /// See [`crate::store::Store::keep_reserve`].
    pub(crate) fn keep_reserve(&self, health: Health) {
        self.0.condition.keep(&self.0.path, health);
    }

    /// See [`crate::store::Store::look_wanted`].
    pub(crate) fn look_wanted(&self) -> Arc<Notify> {
        Arc::clone(&self.0.look_wanted)
    }

    /// See [`crate::store::Store::fired`].
    pub(crate) fn fired(&self) -> Arc<Notify> {
        Arc::clone(&self.0.fired)
    }
}

/// Makes an empty file that only its owner reads: it is to hold phone numbers. SQLite gives the
/// files beside it the same mode.
fn create_private(path: &Path) -> Result<(), OpenError> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    match made {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(unavailable(path, &error)),
        _ => Ok(()),
    }
}

/// Opens a connection that may write, makes its settings and verifies them. A file that is not ours
/// is left as it is, and a missing one stays missing: a database that was moved away under a running
/// gateway must not be replaced by an empty one.
fn open_writer(path: &Path) -> Result<Connection, OpenError> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
    .and_then(|mut connection| {
        connection.busy_handler(Some(wait_for_another_process))?;
        connection.set_prepared_statement_cache_capacity(256);
        // Plans do not depend on bound values: else SQLite compiles a statement anew whenever they
        // change, which costs more than running it.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        Ok(connection)
    })
    .map_err(|error| unavailable(path, &error))?;
    if connection.is_readonly("main").map_err(|error| unavailable(path, &error))? {
        return Err(OpenError::ReadOnly(path.display().to_string()));
    }
    SchemaState::read(&connection, path)?;
    let mode: String = connection
        .pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))
        .map_err(|error| unavailable(path, &error))?;
    if mode != "wal" {
        return Err(OpenError::NoWal(mode));
    }
    // FULL, not NORMAL: a deletion that was confirmed must survive a power cut.
    connection
        .pragma_update(None, "synchronous", "full")
        .and_then(|()| connection.pragma_update(None, "foreign_keys", true))
        .and_then(|()| connection.pragma_update(None, "wal_autocheckpoint", 0))
        .and_then(|()| connection.pragma_update(None, "journal_size_limit", LOG_LIMIT))
        .and_then(|()| connection.pragma_update(None, "cache_size", -(64 << 10)))
        .map_err(|error| unavailable(path, &error))?;
    Ok(connection)
}

fn wait_for_another_process(looks: i32) -> bool {
    #[expect(clippy::disallowed_methods, reason = "the store's own threads, never tokio's")]
    std::thread::sleep(BUSY_LOOK);
    BUSY_LOOK.saturating_mul(looks.unsigned_abs()) < BUSY
}

fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(BUSY)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(connection)
}

/// The pepper of the file, which has to be the one the database names.
fn agreed_pepper(
    connection: &Connection,
    path: &Path,
    pepper_file: &Path,
) -> Result<Pepper, OpenError> {
    let fail = |error: rusqlite::Error| unavailable(path, &error);
    let known = inspect::peppers(connection).map_err(fail)?;
    if known.is_empty() {
        let pepper = Pepper::load_or_create(pepper_file)?;
        connection
            .execute(
                "INSERT INTO peppers (fingerprint, created_at) VALUES (?1, unixepoch() * 1000)",
                [pepper.fingerprint()],
            )
            .map_err(fail)?;
        return Ok(pepper);
    }
    let pepper = Pepper::load(pepper_file)?;
    if known.iter().any(|fingerprint| fingerprint == pepper.fingerprint()) {
        Ok(pepper)
    } else {
        Err(OpenError::WrongPepper(pepper_file.display().to_string()))
    }
}

/// What SQLite or the operating system says of a file, in our words.
pub(super) fn unavailable(path: &Path, error: &(dyn std::error::Error + 'static)) -> OpenError {
    let exists = path.try_exists().unwrap_or(true);
    let path = path.display().to_string();
    let message = error.to_string();
    let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    if error.downcast_ref().is_some_and(is_full) || kind == Some(ErrorKind::StorageFull) {
        OpenError::Full(path)
    } else if exists && message.contains("unable to open database file") {
        // As a rule a file beside it, which cannot be made.
        OpenError::ReadOnly(path)
    } else if message.contains("readonly") || message.contains("Read-only") {
        OpenError::ReadOnly(path)
    } else if message.contains("malformed") || message.contains("corrupt") {
        OpenError::Damaged(path)
    } else if message.contains("not a database") {
        OpenError::Foreign(path)
    } else {
        OpenError::Unavailable { path, message }
    }
}

/// Shows and applies migrations, for `callgate migrate`, which needs no running store.
pub(crate) struct Migrator {
    connection: Connection,
    path: PathBuf,
}

impl Migrator {
    /// Opens the file, making an empty one when `missing` says so.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; nothing was changed.
    pub(crate) fn open(path: &Path, missing: Missing) -> Result<Self, OpenError> {
        let exists = path.try_exists().unwrap_or(false);
        if missing == Missing::Refuse && !exists {
            return Err(mark::absence(path));
        }
        inspect::schema_state(path)?;
        if !exists {
            create_private(path)?;
        }
        let connection = with_reserve(path, || open_writer(path))?;
        Ok(Self { connection, path: path.to_owned() })
    }

    /// Where the schema stands.
    ///
    /// # Errors
    ///
    /// [`OpenError::Foreign`] when it is not ours.
    pub(crate) fn state(&self) -> Result<SchemaState, OpenError> {
        SchemaState::read(&self.connection, &self.path)
    }

    /// Copies the database, consistent, to `to`, which must not exist; only its owner reads it.
    ///
    /// # Errors
    ///
    /// When the copy cannot be written.
    pub(crate) fn back_up(&self, to: &Path, now: Timestamp) -> Result<(), OpenError> {
        backup::copy(&self.connection, &self.path, to, now, |_| ()).map(drop)
    }

    /// Applies what is pending and makes the pepper of an empty database.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; the database is as it was.
    pub(crate) fn apply(&mut self, pepper_file: &Path) -> Result<(), OpenError> {
        let state = self.state()?;
        if state.oldest_program > schema::known() {
            return state.check();
        }
        schema::migrate(&mut self.connection, &self.path)?;
        backup::unseal(&mut self.connection).map_err(|error| unavailable(&self.path, &error))?;
        agreed_pepper(&self.connection, &self.path, pepper_file).map(drop)
    }
}
