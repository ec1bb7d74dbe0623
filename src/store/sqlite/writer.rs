//! The one thread that writes, and commits together what is queued together.
//!
//! Nobody is told of success before the commit is on disk (`synchronous=FULL`). An operation that
//! fails is undone alone: the batch is then run once more, each operation in a savepoint of its own.
//! Savepoints from the start would copy every page that each operation touches. When SQLite undoes
//! the whole batch even so, everybody in it fails and the writer reopens its connection; not when
//! another process merely held the database for too long.

#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::checkpoint::LogIsLong;
use super::open_writer;
use crate::store::error::StoreError;

/// Operations that wait for the writer at most; past it the store answers [`StoreError::Busy`].
const QUEUE: usize = 4096;
/// Operations that are committed together at most.
const BATCH: usize = 256;

/// The handle to the writer thread. Dropping the last one stops it after what is queued.
#[derive(Debug)]
pub(super) struct Writer {
    queue: Option<mpsc::Sender<Box<dyn Work>>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread on a connection made by [`open_writer`].
    pub(super) fn start(
        connection: Connection,
        path: PathBuf,
        log_is_long: LogIsLong,
    ) -> std::io::Result<Self> {
        let (queue, work) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || run(connection, &path, work, &log_is_long))?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    /// Queues an operation, which may be run twice. It is skipped, with nothing written, when the
    /// receiver is dropped before its turn; otherwise `committed` runs on the writer thread after
    /// the commit and before the reply.
    ///
    /// # Errors
    ///
    /// [`StoreError::Busy`] when the queue is full, [`StoreError::Stopped`] when the thread is gone;
    /// nothing was queued.
    pub(super) fn submit<T, Run, Committed>(
        &self,
        run: Run,
        committed: Committed,
    ) -> Result<oneshot::Receiver<Result<T, StoreError>>, StoreError>
    where
        T: Send + 'static,
        Run: FnMut(&Connection) -> Result<T, StoreError> + Send + 'static,
        Committed: FnOnce(&T) + Send + 'static,
    {
        let (reply, receiver) = oneshot::channel();
        let job = Job { run, result: None, reply, committed };
        self.enqueue(Box::new(job))?;
        Ok(receiver)
    }

    /// Queues an operation that nobody waits for; its failure is logged.
    ///
    /// # Errors
    ///
    /// As [`Writer::submit`]; nothing was queued.
    pub(super) fn submit_detached<Run>(&self, run: Run) -> Result<(), StoreError>
    where
        Run: FnMut(&Connection) -> Result<(), StoreError> + Send + 'static,
    {
        self.enqueue(Box::new(Detached { run, result: Ok(()) }))
    }

    fn enqueue(&self, work: Box<dyn Work>) -> Result<(), StoreError> {
        let queue = self.queue.as_ref().ok_or(StoreError::Stopped)?;
        queue.try_send(work).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => StoreError::Busy,
            mpsc::error::TrySendError::Closed(_) => StoreError::Stopped,
        })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        // A panic of the thread was printed when it happened; there is nobody to hand it to here.
        // The thread drops the last handle itself when an operation held it.
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

/// One queued operation, its types erased.
trait Work: Send {
    /// Runs it, unless nobody wants it any more; false when it failed.
    fn run(&mut self, connection: &Connection) -> bool;
    /// Replies, once the batch's fate is known.
    fn finish(self: Box<Self>, committed: Result<(), StoreError>);
}

struct Job<T, Run, Committed> {
    run: Run,
    result: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
    committed: Committed,
}

impl<T, Run, Committed> Work for Job<T, Run, Committed>
where
    T: Send,
    Run: FnMut(&Connection) -> Result<T, StoreError> + Send,
    Committed: FnOnce(&T) + Send,
{
    fn run(&mut self, connection: &Connection) -> bool {
        self.result = None;
        if self.reply.is_closed() {
            return true;
        }
        let result = (self.run)(connection);
        let succeeded = result.is_ok();
        self.result = Some(result);
        succeeded
    }

    fn finish(self: Box<Self>, committed: Result<(), StoreError>) {
        let Self { result, reply, committed: tell, .. } = *self;
        let result = match (committed, result) {
            (Ok(()), Some(Ok(value))) => {
                // It is on disk, and that is the answer, whatever becomes of who is told first.
                let _ = catch_unwind(AssertUnwindSafe(|| tell(&value)));
                Ok(value)
            }
            (Err(error), Some(Ok(_)) | None) | (_, Some(Err(error))) => Err(error),
            (Ok(()), None) => return,
        };
        // Who has gone away meanwhile does not miss it.
        let _ = reply.send(result);
    }
}

struct Detached<Run> {
    run: Run,
    result: Result<(), StoreError>,
}

impl<Run> Work for Detached<Run>
where
    Run: FnMut(&Connection) -> Result<(), StoreError> + Send,
{
    fn run(&mut self, connection: &Connection) -> bool {
        self.result = (self.run)(connection);
        self.result.is_ok()
    }

    fn finish(self: Box<Self>, committed: Result<(), StoreError>) {
        if let Err(error) = committed.and(self.result) {
            tracing::warn!("the store could not note something: {error}");
        }
    }
}

fn run(
    mut connection: Connection,
    path: &std::path::Path,
    mut queue: mpsc::Receiver<Box<dyn Work>>,
    log_is_long: &LogIsLong,
) {
    let mut batch: Vec<Box<dyn Work>> = Vec::with_capacity(BATCH);
    while let Some(first) = queue.blocking_recv() {
        batch.push(first);
        while batch.len() < BATCH
            && let Ok(next) = queue.try_recv()
        {
            batch.push(next);
        }
        let committed = commit(&connection, &mut batch);
        if let Err(error) = &committed {
            tracing::error!(batch = batch.len(), "the store could not commit: {error}");
            if !connection.is_autocommit() {
                // What cannot even be undone here is undone by closing the connection.
                let _ = connection.execute_batch("ROLLBACK");
            }
            let intact = matches!(error, StoreError::Busy) && connection.is_autocommit();
            if !intact {
                match open_writer(path) {
                    Ok(fresh) => connection = fresh,
                    Err(error) => tracing::error!("the store could not be reopened: {error}"),
                }
            }
        }
        for work in batch.drain(..) {
            // A panic here is one caller's misfortune; the others wait for their answer.
            let _ = catch_unwind(AssertUnwindSafe(|| work.finish(committed.clone())));
        }
        log_is_long.relieve(&connection);
    }
}

/// Runs all operations of the batch and commits them.
fn commit(connection: &Connection, batch: &mut [Box<dyn Work>]) -> Result<(), StoreError> {
    execute(connection, "BEGIN IMMEDIATE")?;
    if batch.iter_mut().all(|work| run_one(work, connection)) {
        return execute(connection, "COMMIT");
    }
    if !connection.is_autocommit() {
        execute(connection, "ROLLBACK")?;
    }
    execute(connection, "BEGIN IMMEDIATE")?;
    for work in batch {
        execute(connection, "SAVEPOINT operation")?;
        if !run_one(work, connection) {
            if connection.is_autocommit() {
                return Err(StoreError::Other("the whole batch was undone".to_owned()));
            }
            execute(connection, "ROLLBACK TO operation")?;
        }
        execute(connection, "RELEASE operation")?;
    }
    execute(connection, "COMMIT")
}

/// Runs one operation. A panic is a failure of this one; it must not end the thread.
fn run_one(work: &mut Box<dyn Work>, connection: &Connection) -> bool {
    catch_unwind(AssertUnwindSafe(|| work.run(connection))).unwrap_or(false)
}

fn execute(connection: &Connection, sql: &str) -> Result<(), StoreError> {
    Ok(connection.prepare_cached(sql)?.execute(()).map(drop)?)
}
