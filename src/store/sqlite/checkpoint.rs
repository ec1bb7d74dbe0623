//! Moves the write-ahead log into the database from a thread of its own, so that no commit waits
//! for it, and looks whether both are still where they were.
//!
//! The log starts over only when everything in it was moved before the next commit begins. Beside
//! a writer that never pauses this thread is never that quick: past a limit it asks the writer to
//! do it itself, between two batches.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;

use super::condition::Condition;
use super::place::Place;
use super::{open_writer, unavailable};
use crate::store::error::{OpenError, StoreError};

/// How often it looks. A look at a log that has not grown costs microseconds.
const INTERVAL: Duration = Duration::from_millis(50);
/// A log longer than this is moved by the writer, and a file longer than this is cut when the log
/// starts over.
pub(super) const LOG_LIMIT: i64 = 64 << 20;
/// SQLite's header of each page in the log.
const FRAME_HEADER: i64 = 24;

/// The running thread; it stops when this is dropped.
#[derive(Debug)]
pub(super) struct Checkpointer {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// That the log has passed its limit, told by the checkpoint thread to the writer.
#[derive(Clone, Debug, Default)]
pub(super) struct LogIsLong(Arc<AtomicBool>);

impl Checkpointer {
    /// Starts it on a connection of its own; `long` is its word to the writer.
    ///
    /// # Errors
    ///
    /// When the connection cannot be opened.
    pub(super) fn start(
        path: &Path,
        long: LogIsLong,
        condition: Condition,
    ) -> Result<Self, OpenError> {
        let connection = open_writer(path)?;
        let mut place = Place::of(path);
        let (stop, stopped) = channel::<()>();
        let thread = std::thread::Builder::new()
            .name("store-checkpoint".to_owned())
            .spawn(move || {
                while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                    if place.is_left() {
                        condition.notice(&StoreError::Moved);
                    }
                    condition.look();
                    long.look(&connection, LOG_LIMIT, &condition);
                }
                checkpoint(&connection, &condition);
            })
            .map_err(|error| unavailable(path, &error))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl LogIsLong {
    /// Moves what can be moved, and remembers whether the log is longer than `limit` even so.
    pub(super) fn look(&self, connection: &Connection, limit: i64, condition: &Condition) {
        if checkpoint(connection, condition).is_some_and(|length| length > limit) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// Moves the log when it is long. Called between two transactions of the only writer: nothing
    /// is added meanwhile, so that the next commit starts the log over, unless a reader or another
    /// process is in the way; then the next look asks again.
    pub(super) fn relieve(&self, connection: &Connection, condition: &Condition) {
        if self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Relaxed) {
            checkpoint(connection, condition);
        }
    }
}

/// Moves what no reader needs any more; passive, so that nobody waits. Gives the length of the log
/// in bytes, negative when somebody else was at it. In trouble the log stays as it is: to move it could
/// take the room that is kept for the log itself, and a damaged database is not written.
fn checkpoint(connection: &Connection, condition: &Condition) -> Option<i64> {
    if condition.trouble().is_some() {
        return None;
    }
    let moved = connection
        .prepare_cached("PRAGMA wal_checkpoint(PASSIVE)")
        .and_then(|mut statement| statement.query_row((), |row| row.get::<_, i64>(1)))
        .and_then(|frames| {
            let page: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
            Ok(frames * (page + FRAME_HEADER))
        });
    match moved {
        Ok(length) => Some(length),
        Err(error) => {
            let error = StoreError::from(error);
            condition.notice(&error);
            if !error.is_shown() {
                tracing::warn!("the write-ahead log could not be checkpointed: {error}");
            }
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::create_private;
    use super::super::mark::Mark;
    use super::super::writer::{Care, Rank, Writer};
    use super::*;
    use crate::telemetry::metrics::count::Counts;

    #[test]
    fn the_log_stays_bounded_though_every_checkpoint_of_the_thread_is_overtaken() {
        const LIMIT: i64 = 256 << 10;
        const ROW: i64 = 32 << 10;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.db");
        create_private(&path).unwrap();
        let mut connection = open_writer(&path).unwrap();
        crate::store::schema::migrate(&mut connection, &path).unwrap();
        connection.execute_batch("CREATE TABLE t (b BLOB) STRICT").unwrap();
        let long = LogIsLong::default();
        let mark = Some(Mark::open(&connection, &path).unwrap());
        let condition = Condition::default();
        let care = Care {
            log_is_long: long.clone(),
            condition: condition.clone(),
            mark,
            commits: Counts::default(),
        };
        let writer = Writer::start(connection, path.clone(), care).unwrap();
        let (looking, reading) = (open_writer(&path).unwrap(), open_writer(&path).unwrap());
        let commit = |sql: &'static str| {
            let work = writer.submit(
                Rank::Urgent,
                move |connection| Ok(connection.execute(sql, ())?),
                |_| (),
            );
            work.unwrap().blocking_recv().unwrap().unwrap();
        };
        let mut longest = 0;
        for _ in 0..100 {
            // Whoever looks while this is open finds a commit that must stay in the log.
            reading.execute_batch("BEGIN; SELECT count(*) FROM t").unwrap();
            commit("INSERT INTO t VALUES (zeroblob(32768))");
            long.look(&looking, LIMIT, &condition);
            reading.execute_batch("COMMIT").unwrap();
            // What comes next finds the log moved, where the batch before was asked to.
            commit("INSERT INTO t VALUES (zeroblob(32768))");
            commit("DELETE FROM t WHERE false");
            let bytes = folder.path().join("test.db-wal").metadata().unwrap().len();
            longest = longest.max(i64::try_from(bytes).unwrap());
        }
        assert!(longest > LIMIT, "{longest}: the limit was never reached");
        assert!(longest < LIMIT + 8 * ROW, "{longest}");
    }
}
