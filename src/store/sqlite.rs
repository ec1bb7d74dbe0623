//! The store in one SQLite file: one writer thread, a few read-only connections, and a thread that
//! checkpoints the write-ahead log so that no commit has to.

mod access;
mod admit;
mod apply;
mod audit;
mod calls;
mod checkpoint;
mod deletions;
mod everybody;
pub(crate) mod inspect;
mod key_uses;
mod keys;
mod lease;
mod lookup;
#[cfg(test)]
mod model_test;
mod participants;
mod reconcile;
mod resolve;
mod ringing;
mod sender;
mod sessions;
mod settle;
#[cfg(test)]
mod tests;
mod turns;
mod users;
mod writer;

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::{Notify, Semaphore};

use self::checkpoint::{Checkpointer, LOG_LIMIT, LogIsLong};
use self::writer::Writer;
use super::error::{OpenError, StoreError};
use super::pepper::Pepper;
use super::schema::{self, SchemaState};

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
    /// The last session that was looked at for removal.
    swept: Arc<AtomicI64>,
    // Dropped after the writer, so that the last checkpoint sees everything.
    _checkpointer: Checkpointer,
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

    /// Opens the database at `path`, whose hashes were made with the pepper in `pepper_file`.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; a database that existed is as it was.
    pub(crate) fn open(
        path: &Path,
        pepper_file: &Path,
        missing: Missing,
    ) -> Result<(Self, Pepper), OpenError> {
        let exists = path.try_exists().unwrap_or(false);
        if !exists && missing == Missing::Refuse {
            return Err(OpenError::Missing(path.display().to_string()));
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
        let log_is_long = LogIsLong::default();
        let checkpointer = Checkpointer::start(path, log_is_long.clone())?;
        let readers = (0..READERS)
            .map(|_| open_reader(path))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| unavailable(path, &error))?;
        let writer = Writer::start(connection, path.to_owned(), log_is_long)
            .map_err(|error| unavailable(path, &error))?;
        let inner = Inner {
            writer,
            readers: Mutex::new(readers),
            reading: Arc::new(Semaphore::new(READERS)),
            look_wanted: Arc::default(),
            swept: Arc::default(),
            _checkpointer: checkpointer,
        };
        Ok((Self(Arc::new(inner)), pepper))
    }

    /// See [`crate::store::Store::look_wanted`].
    pub(crate) fn look_wanted(&self) -> Arc<Notify> {
        Arc::clone(&self.0.look_wanted)
    }

    /// Runs `run` in the writer's next batch and waits for the commit.
    async fn write<T, Run>(&self, run: Run) -> Result<T, StoreError>
    where
        T: Send + 'static,
        Run: FnMut(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        self.write_with(run, |_| ()).await
    }

    /// As [`Sqlite::write`]; `committed` runs on the writer thread after the commit.
    async fn write_with<T, Run, Committed>(
        &self,
        run: Run,
        committed: Committed,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        Run: FnMut(&Connection) -> Result<T, StoreError> + Send + 'static,
        Committed: FnOnce(&T) + Send + 'static,
    {
        self.0.writer.submit(run, committed)?.await.unwrap_or(Err(StoreError::Stopped))
    }

    /// As [`Sqlite::write`], after everything that a client or the sender waits for.
    async fn write_news<T, Run>(&self, run: Run) -> Result<T, StoreError>
    where
        T: Send + 'static,
        Run: FnMut(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        self.0.writer.submit_news(run)?.await.unwrap_or(Err(StoreError::Stopped))
    }

    /// Runs `run` on a read-only connection, off the asynchronous threads.
    async fn read<T, Run>(&self, run: Run) -> Result<T, StoreError>
    where
        T: Send + 'static,
        Run: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let turn = Arc::clone(&self.0.reading).acquire_owned().await;
        let turn = turn.map_err(|_closed| StoreError::Stopped)?;
        let inner = Arc::clone(&self.0);
        let reading = tokio::task::spawn_blocking(move || {
            let taken = inner.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = taken.ok_or(StoreError::Busy)?;
            let result = catch_unwind(AssertUnwindSafe(|| run(&connection)));
            inner.readers.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            // Not before: who asked may be gone by now, and the next one needs the connection.
            drop(turn);
            result.unwrap_or_else(|_panic| Err(StoreError::Other("a read panicked".to_owned())))
        });
        reading.await.unwrap_or(Err(StoreError::Stopped))
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

/// What SQLite says of a file, in our words.
pub(super) fn unavailable(path: &Path, error: &dyn std::error::Error) -> OpenError {
    let path = path.display().to_string();
    let message = error.to_string();
    if message.contains("malformed") || message.contains("corrupt") {
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
            return Err(OpenError::Missing(path.display().to_string()));
        }
        inspect::schema_state(path)?;
        if !exists {
            create_private(path)?;
        }
        Ok(Self { connection: open_writer(path)?, path: path.to_owned() })
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
    pub(crate) fn back_up(&self, to: &Path) -> Result<(), OpenError> {
        create_private(to)?;
        self.connection
            .execute("VACUUM INTO ?1", [to.display().to_string()])
            .map(drop)
            .map_err(|error| unavailable(to, &error))
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
        agreed_pepper(&self.connection, &self.path, pepper_file).map(drop)
    }
}
