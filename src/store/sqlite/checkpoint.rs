//! Moves the write-ahead log into the database from a thread of its own, so that no commit waits
//! for it.

use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;

use super::{open_writer, unavailable};
use crate::store::error::OpenError;

/// How often it looks. A look at a log that has not grown costs microseconds.
const INTERVAL: Duration = Duration::from_millis(200);

/// The running thread; it stops when this is dropped.
#[derive(Debug)]
pub(super) struct Checkpointer {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    /// Starts it on a connection of its own.
    ///
    /// # Errors
    ///
    /// When the connection cannot be opened.
    pub(super) fn start(path: &Path) -> Result<Self, OpenError> {
        let connection = open_writer(path)?;
        let (stop, stopped) = channel::<()>();
        let thread = std::thread::Builder::new()
            .name("store-checkpoint".to_owned())
            .spawn(move || {
                while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                    checkpoint(&connection);
                }
                checkpoint(&connection);
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

/// Moves what no reader needs any more; passive, so that nobody waits.
fn checkpoint(connection: &Connection) {
    let moved = connection
        .prepare_cached("PRAGMA wal_checkpoint(PASSIVE)")
        .and_then(|mut statement| statement.query_row((), |row| row.get::<_, i64>(0)));
    if let Err(error) = moved {
        tracing::warn!("the write-ahead log could not be checkpointed: {error}");
    }
}
