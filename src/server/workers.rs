//! Long-running tasks: started, watched and stopped here, and spawned nowhere else.
//!
//! A worker that panics or ends by itself takes the whole server down, in order: a gateway that
//! takes deletions and has no sender any more must not look well.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::server::drain::Shutdown;

/// What all workers have to stop together, however late it is; and the largest share of one.
const GRACE: Duration = Duration::from_secs(1);

/// The workers of one process.
pub(crate) struct Workers {
    shutdown: watch::Sender<bool>,
    failed: Arc<OnceLock<WorkerFailed>>,
    running: Vec<Worker>,
}

/// A worker ended before it was asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the worker \"{0}\" ended unexpectedly")]
pub(crate) struct WorkerFailed(pub(crate) &'static str);

struct Worker {
    name: &'static str,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Workers {
    /// None yet. `shutdown` is set when one of them fails.
    pub(crate) fn new(shutdown: watch::Sender<bool>) -> Self {
        Self { shutdown, failed: Arc::default(), running: Vec::new() }
    }

    /// Starts what `worker` makes. It runs until the signal that it is given, which comes from
    /// [`Workers::stop`] and therefore later than the server's own; ending earlier is a failure.
    pub(crate) fn spawn<F>(&mut self, name: &'static str, worker: impl FnOnce(Shutdown) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (stop, stopped) = watch::channel(false);
        let guard = Guard {
            name,
            stopped: stopped.clone(),
            shutdown: self.shutdown.clone(),
            failed: Arc::clone(&self.failed),
        };
        let work = worker(stopped);
        #[expect(clippy::disallowed_methods, reason = "this is the one place that spawns them")]
        let task = tokio::spawn(async move {
            let _guard = guard;
            work.await;
        });
        self.running.push(Worker { name, stop, task });
    }

    /// Stops all, the last started first, so that none outlives what it works with. What has not
    /// ended after `limit` in all, or after a second if that is longer, is dropped at its next await. Of
    /// this each has a share that those before it cannot use up, because its own work may be short.
    ///
    /// # Errors
    ///
    /// When a worker had failed: the first that did. All are stopped nevertheless.
    pub(crate) async fn stop(self, limit: Duration) -> Result<(), WorkerFailed> {
        let limit = limit.max(GRACE);
        let deadline = Instant::now() + limit;
        let all = u32::try_from(self.running.len().max(1)).expect("there are a dozen");
        let share = GRACE.min(limit / 2 / all);
        for (left, Worker { name, stop, mut task }) in (0..all).zip(self.running).rev() {
            stop.send_replace(true);
            let deadline = deadline - share * left;
            if tokio::time::timeout_at(deadline, &mut task).await.is_err() {
                tracing::warn!(worker = name, "worker {name} did not stop in time, dropping it");
                task.abort();
                // The error says that it was aborted, or how it failed, which its guard has seen.
                drop(task.await);
            }
        }
        self.failed.get().map_or(Ok(()), |failed| Err(*failed))
    }
}

/// Notices the end of a worker however it comes about.
struct Guard {
    name: &'static str,
    stopped: Shutdown,
    shutdown: watch::Sender<bool>,
    failed: Arc<OnceLock<WorkerFailed>>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let panicked = std::thread::panicking();
        if *self.stopped.borrow() && !panicked {
            return;
        }
        let name = self.name;
        tracing::error!(worker = name, panicked, "worker {name} ended unexpectedly, stopping");
        // Only the first failure is reported; the others may follow from it.
        self.failed.get_or_init(|| WorkerFailed(name));
        self.shutdown.send_replace(true);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::server::drain;

    const LIMIT: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn workers_stop_in_the_reverse_order_of_their_start() {
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut workers = Workers::new(watch::channel(false).0);
        for name in ["sender", "reconciler", "checkpoint"] {
            let order = Arc::clone(&order);
            workers.spawn(name, |mut stop| async move {
                drain::requested(&mut stop).await;
                order.lock().unwrap().push(name);
            });
        }
        assert_eq!(workers.stop(LIMIT).await, Ok(()));
        assert_eq!(*order.lock().unwrap(), ["checkpoint", "reconciler", "sender"]);
    }

    #[tokio::test]
    async fn a_worker_that_panics_stops_the_server_and_is_reported() {
        let (sender, mut shutdown) = watch::channel(false);
        let mut workers = Workers::new(sender);
        workers.spawn("steady", |mut stop| async move { drain::requested(&mut stop).await });
        workers.spawn("sender", |_| async { panic!("on purpose") });
        drain::requested(&mut shutdown).await;
        assert_eq!(workers.stop(LIMIT).await, Err(WorkerFailed("sender")));
    }

    #[tokio::test]
    async fn a_worker_that_ends_by_itself_stops_the_server_too() {
        let (sender, mut shutdown) = watch::channel(false);
        let mut workers = Workers::new(sender);
        workers.spawn("sender", |_| async {});
        drain::requested(&mut shutdown).await;
        assert_eq!(workers.stop(LIMIT).await, Err(WorkerFailed("sender")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_does_not_stop_is_dropped_at_the_limit() {
        let held = Arc::new(());
        let inside = Arc::clone(&held);
        let mut workers = Workers::new(watch::channel(false).0);
        workers.spawn("stuck", |_| async move {
            std::future::pending::<()>().await;
            drop(inside);
        });
        assert_eq!(workers.stop(LIMIT).await, Ok(()));
        assert_eq!(Arc::strong_count(&held), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn many_that_do_not_stop_take_no_longer_than_one_and_leave_some_time_to_the_last() {
        for limit in [LIMIT, Duration::ZERO] {
            let finished = Arc::new(OnceLock::new());
            let end = Arc::clone(&finished);
            let mut workers = Workers::new(watch::channel(false).0);
            workers.spawn("short", |mut stop| async move {
                drain::requested(&mut stop).await;
                tokio::time::sleep(Duration::from_millis(40)).await;
                end.set(()).unwrap();
            });
            for _ in 0..8 {
                workers.spawn("stuck", |_| std::future::pending());
            }
            let began = Instant::now();
            assert_eq!(workers.stop(limit).await, Ok(()));
            assert!(began.elapsed() <= limit.max(GRACE), "{:?} of {limit:?}", began.elapsed());
            assert!(finished.get().is_some(), "{limit:?}");
        }
    }
}
