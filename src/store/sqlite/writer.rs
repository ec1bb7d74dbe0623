//! The one thread that writes, and commits together what is queued together.
//!
//! What somebody waits for goes before news, and a batch ends after a while: however many news come,
//! a deletion waits for the batch that has begun, and that is one long operation at most.
//!
//! Nobody is told of success before the commit is on disk (`synchronous=FULL`). An operation that
//! fails is undone alone: the batch is then run once more, each operation in a savepoint of its own.
//! Savepoints from the start would copy every page that each operation touches. When SQLite undoes
//! the whole batch even so, everybody in it fails and the writer reopens its connection; not when
//! another process merely held the database for too long. When the disk is full, the batch is run
//! once more with the room that was kept for what is owed.

mod queue;
#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::oneshot;
use tokio::time::Instant;

use self::queue::Queue;
pub(super) use self::queue::Rank;
use super::checkpoint::LogIsLong;
use super::condition::Condition;
use super::figures;
use super::mark::Mark;
use super::open_writer;
use crate::store::error::StoreError;
use crate::telemetry::metrics::count::Counts;
use crate::telemetry::metrics::label::Commit;

/// Operations that are committed together at most.
const BATCH: usize = 256;
/// No further operation is begun in a batch after this time.
const BATCH_TIME: Duration = Duration::from_millis(20);

/// What the writer looks after beside the database.
#[derive(Debug)]
pub(super) struct Care {
    pub(super) log_is_long: LogIsLong,
    pub(super) condition: Condition,
    /// None where nothing can be written.
    pub(super) mark: Option<Mark>,
    pub(super) commits: Counts<Commit>,
}

/// The handle to the writer thread. Dropping the last one stops it after what is queued.
#[derive(Debug)]
pub(super) struct Writer {
    queue: Arc<Queue<Box<dyn Work>>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread on a connection made by [`open_writer`].
    pub(super) fn start(
        connection: Connection,
        path: PathBuf,
        care: Care,
    ) -> std::io::Result<Self> {
        let queue = Arc::new(Queue::new());
        let taker = Taker(Arc::clone(&queue));
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || run(connection, &path, &taker, care))?;
        Ok(Self { queue, thread: Some(thread) })
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
        rank: Rank,
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
        self.queue.push(rank, Box::new(job))?;
        Ok(receiver)
    }

    /// How many operations wait that are urgent, and how many news.
    pub(super) fn queued(&self) -> [usize; 2] {
        self.queue.lengths()
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
        self.queue.push(Rank::Urgent, Box::new(Detached { run, result: Ok(()) }))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue.close();
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
        if let Err(error) = committed.and(self.result)
            && !error.is_shown()
        {
            tracing::warn!("the store could not note something: {error}");
        }
    }
}

/// The thread's end of the queue. Nobody waits for a thread that is gone, however it went.
struct Taker(Arc<Queue<Box<dyn Work>>>);

impl Drop for Taker {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

fn run(mut connection: Connection, path: &Path, taker: &Taker, mut care: Care) {
    let queue = &*taker.0;
    let mut batch: Vec<Box<dyn Work>> = Vec::with_capacity(BATCH);
    while let Some(first) = queue.first() {
        batch.push(first);
        let mut committed = commit(&connection, queue, &mut batch);
        if let Err(error) = &committed {
            care.condition.notice(error);
            recover(&mut connection, path, error, batch.len());
            if is_disk(error) {
                care.commits.count(figures::of_batch(&committed));
                // There is room now that was kept for what is owed; the rest is refused.
                committed = commit(&connection, queue, &mut batch);
                if committed.is_err() && !connection.is_autocommit() {
                    let _ = connection.execute_batch("ROLLBACK");
                }
            }
        }
        care.commits.count(figures::of_batch(&committed));
        let committed = committed.map(|number| {
            if let (Some(number), Some(mark)) = (number, &mut care.mark) {
                mark.note(number);
            }
        });
        for work in batch.drain(..) {
            // A panic here is one caller's misfortune; the others wait for their answer.
            let _ = catch_unwind(AssertUnwindSafe(|| work.finish(committed.clone())));
        }
        care.log_is_long.relieve(&connection, &care.condition);
    }
}

/// What the condition of the store says already.
fn is_disk(error: &StoreError) -> bool {
    matches!(error, StoreError::Full | StoreError::Disk)
}

/// Undoes what was not committed, and opens the connection anew where it cannot be trusted any more.
fn recover(connection: &mut Connection, path: &Path, error: &StoreError, batch: usize) {
    if !error.is_shown() {
        tracing::error!(batch, "the store could not commit: {error}");
    }
    if !connection.is_autocommit() {
        // What cannot even be undone here is undone by closing the connection.
        let _ = connection.execute_batch("ROLLBACK");
    }
    let intact = matches!(error, StoreError::Busy | StoreError::Full) && connection.is_autocommit();
    if !intact {
        match open_writer(path) {
            Ok(fresh) => *connection = fresh,
            Err(failed) if error.is_shown() => tracing::debug!("not reopened: {failed}"),
            Err(failed) => tracing::error!("the store could not be reopened: {failed}"),
        }
    }
}

/// Runs the batch, to which is added what waits, and commits it. Gives the number of the commit, unless
/// nothing was changed.
fn commit(
    connection: &Connection,
    queue: &Queue<Box<dyn Work>>,
    batch: &mut Vec<Box<dyn Work>>,
) -> Result<Option<i64>, StoreError> {
    let before = connection.total_changes();
    if let Err(error) = execute(connection, "BEGIN IMMEDIATE") {
        // Another process may be at it for long: these have waited for it as well.
        batch.extend(queue.rest(BATCH - batch.len()));
        return Err(error);
    }
    if run_batch(connection, queue, batch) {
        return finish(connection, before);
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
    finish(connection, before)
}

/// Counts the transaction when it has changed something, and commits it.
fn finish(connection: &Connection, changes_before: u64) -> Result<Option<i64>, StoreError> {
    let is_changed = connection.total_changes() != changes_before;
    let number = is_changed.then(|| Mark::count(connection)).transpose()?;
    execute(connection, "COMMIT")?;
    Ok(number)
}

/// Runs what is in the batch and, while it is small and young, what waits; false when one failed,
/// which is then the last in it.
fn run_batch(
    connection: &Connection,
    queue: &Queue<Box<dyn Work>>,
    batch: &mut Vec<Box<dyn Work>>,
) -> bool {
    let began = Instant::now();
    while let Some(last) = batch.last_mut() {
        if !run_one(last, connection) {
            return false;
        }
        if batch.len() >= BATCH || began.elapsed() >= BATCH_TIME {
            break;
        }
        match queue.next() {
            Some(next) => batch.push(next),
            None => break,
        }
    }
    true
}

/// Runs one operation. A panic is a failure of this one; it must not end the thread.
fn run_one(work: &mut Box<dyn Work>, connection: &Connection) -> bool {
    catch_unwind(AssertUnwindSafe(|| work.run(connection))).unwrap_or(false)
}

fn execute(connection: &Connection, sql: &str) -> Result<(), StoreError> {
    Ok(connection.prepare_cached(sql)?.execute(()).map(drop)?)
}
