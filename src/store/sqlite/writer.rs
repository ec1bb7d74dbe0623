//! The one thread that writes, and commits together what is queued together.
//!
//! Nobody is told of success before the commit is on disk (`synchronous=FULL`). An operation that
//! fails is undone alone: the batch is then run once more, each operation in a savepoint of its own.
//! Savepoints from the start would copy every page that each operation touches. When SQLite undoes
//! the whole batch even so, everybody in it fails and the writer reopens its connection.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

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
    pub(super) fn start(connection: Connection, path: PathBuf) -> std::io::Result<Self> {
        let (queue, work) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || run(connection, &path, work))?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    /// Queues an operation, which may be run twice. It is skipped, with nothing written, when the
    /// receiver is dropped before its turn; otherwise `committed` runs on the writer thread after the commit and before
    /// the reply.
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
        let result = match (committed, self.result) {
            (Ok(()), Some(Ok(value))) => {
                (self.committed)(&value);
                Ok(value)
            }
            (Err(error), Some(Ok(_)) | None) | (_, Some(Err(error))) => Err(error),
            (Ok(()), None) => return,
        };
        // Who has gone away meanwhile does not miss it.
        let _ = self.reply.send(result);
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
            match open_writer(path) {
                Ok(fresh) => connection = fresh,
                Err(error) => tracing::error!("the store could not be reopened: {error}"),
            }
        }
        for work in batch.drain(..) {
            work.finish(committed.clone());
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn writer(folder: &tempfile::TempDir) -> Writer {
        let path = folder.path().join("test.db");
        let mut connection = open_writer(&path).unwrap();
        crate::store::schema::migrate(&mut connection, &path).unwrap();
        connection.execute_batch("CREATE TABLE t (n INTEGER PRIMARY KEY) STRICT").unwrap();
        Writer::start(connection, path).unwrap()
    }

    fn insert(n: i64) -> impl FnMut(&Connection) -> Result<i64, StoreError> + Send + 'static {
        move |connection| {
            connection.execute("INSERT INTO t VALUES (?1)", [n])?;
            Ok(n)
        }
    }

    fn count(connection: &Connection) -> Result<i64, StoreError> {
        Ok(connection.query_row("SELECT count(*) FROM t", (), |row| row.get(0))?)
    }

    /// Keeps the thread busy with a batch of its own until the returned sender is used or dropped,
    /// so that what is queued meanwhile shares the next batch.
    fn hold(writer: &Writer) -> std::sync::mpsc::Sender<()> {
        let (started, running) = std::sync::mpsc::channel();
        let (go, wait) = std::sync::mpsc::channel::<()>();
        writer
            .submit_detached(move |_| {
                started.send(()).unwrap();
                let _ = wait.recv();
                Ok(())
            })
            .unwrap();
        running.recv().unwrap();
        go
    }

    #[test]
    fn an_operation_that_fails_is_undone_alone() {
        let folder = tempfile::tempdir().unwrap();
        let writer = writer(&folder);
        let go = hold(&writer);
        let good = writer.submit(insert(1), |_| ()).unwrap();
        let twice = writer
            .submit(|connection| insert(7)(connection).and_then(|_| insert(1)(connection)), |_| ())
            .unwrap();
        let other = writer.submit(insert(2), |_| ()).unwrap();
        drop(go);
        assert_eq!(good.blocking_recv().unwrap().unwrap(), 1);
        assert!(matches!(twice.blocking_recv().unwrap(), Err(StoreError::Conflict)));
        assert_eq!(other.blocking_recv().unwrap().unwrap(), 2);
        let rows = writer.submit(count, |_| ()).unwrap().blocking_recv().unwrap().unwrap();
        assert_eq!(rows, 2);
    }

    #[test]
    fn an_operation_that_panics_fails_alone() {
        let folder = tempfile::tempdir().unwrap();
        let writer = writer(&folder);
        let go = hold(&writer);
        let good = writer.submit(insert(1), |_| ()).unwrap();
        let bad = writer.submit(|_| -> Result<(), _> { panic!("on purpose") }, |()| ()).unwrap();
        drop(go);
        assert_eq!(good.blocking_recv().unwrap().unwrap(), 1);
        assert!(bad.blocking_recv().is_err());
        let rows = writer.submit(count, |_| ()).unwrap().blocking_recv().unwrap().unwrap();
        assert_eq!(rows, 1);
    }

    #[test]
    fn when_sqlite_undoes_the_batch_nobody_in_it_succeeds() {
        let folder = tempfile::tempdir().unwrap();
        let writer = writer(&folder);
        let go = hold(&writer);
        let good = writer.submit(insert(1), |_| ()).unwrap();
        let bad = writer
            .submit(|connection| Ok(connection.execute_batch("ROLLBACK; bogus")?), |()| ())
            .unwrap();
        drop(go);
        assert!(good.blocking_recv().unwrap().is_err());
        assert!(bad.blocking_recv().unwrap().is_err());
        let rows = writer.submit(count, |_| ()).unwrap().blocking_recv().unwrap().unwrap();
        assert_eq!(rows, 0);
    }

    #[test]
    fn an_operation_that_nobody_waits_for_is_skipped_unless_it_has_begun() {
        let folder = tempfile::tempdir().unwrap();
        let writer = writer(&folder);
        let go = hold(&writer);
        drop(writer.submit(insert(1), |_| ()).unwrap());
        drop(go);

        let (started, running) = std::sync::mpsc::channel();
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let receiver = writer
            .submit(
                move |connection| {
                    started.send(()).unwrap();
                    wait.recv().unwrap();
                    insert(2)(connection)
                },
                move |n: &i64| tell.send(*n).unwrap(),
            )
            .unwrap();
        running.recv().unwrap();
        drop(receiver);
        go.send(()).unwrap();
        assert_eq!(told.recv().unwrap(), 2);
        let rows = writer.submit(count, |_| ()).unwrap().blocking_recv().unwrap().unwrap();
        assert_eq!(rows, 1);
    }
}
