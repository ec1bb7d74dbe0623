//! The keys that sign notifications: loaded from the configured OpenID documents and kept fresh.
//!
//! Each document has a loop of its own, so that one that fails or is slow keeps no other from being
//! read, and its last keys stand until it is read again. Only these loops ask for anything; who
//! needs a key that is not known wishes for a new look, at most once a minute for all together, and
//! waits a moment. Nobody can make this service ask more often by making tokens up.

use std::collections::HashMap;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use reqwest::Url;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::config::notifications::NotificationsConfig;
use crate::graph::ClientError;
use crate::health::Health;
use crate::notifications::keys::fetch::{Fetcher, LoadFault};
use crate::notifications::keys::public_key::PublicKey;

mod document;
mod fetch;
#[cfg(test)]
pub(super) mod fixture;
pub(super) mod public_key;

/// What it is called in the report of health.
const PART: &str = "notifications.keys";
/// More callers than this do not wait for a key at the same time: they are told at once. Anybody
/// can send tokens that name unknown keys, so it is far below the number of connections.
const MOST_WAITING: usize = 32;

/// The keys of one document by their `kid`.
type Keys = HashMap<String, Arc<PublicKey>>;

/// All keys that are known. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct KeySet(Arc<Shared>);

/// Why there is no such key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyMissing {
    /// No document has it.
    Unknown,
    /// No document could be loaded yet.
    NotLoaded,
}

/// How often and how long.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    /// Between two looks at a document that was read.
    pub(super) refresh: Duration,
    /// Before the first look after one that failed; then twice as long each time.
    pub(super) retry: Duration,
    /// At most this long.
    pub(super) longest_retry: Duration,
    /// Between two looks because of unknown keys.
    pub(super) wish: Duration,
    /// How long a caller waits for a key.
    pub(super) patience: Duration,
    /// How long one answer may take.
    pub(super) fetch: Duration,
}

impl Pace {
    const USUAL: Self = Self {
        refresh: Duration::from_hours(2),
        retry: Duration::from_secs(10),
        longest_retry: Duration::from_mins(10),
        wish: Duration::from_mins(1),
        patience: Duration::from_secs(3),
        fetch: Duration::from_secs(10),
    };
}

#[derive(Debug)]
struct Shared {
    fetcher: Fetcher,
    urls: Vec<Url>,
    pace: Pace,
    health: Health,
    /// For each document what it had when it was read last.
    known: RwLock<Vec<Arc<Keys>>>,
    /// For each document whether its last look failed; none before the first.
    failing: Mutex<Vec<Option<bool>>>,
    /// How many looks were wished for, and when the last one was.
    wishes: watch::Sender<u64>,
    last_wish: Mutex<Option<Instant>>,
    /// For each document the number of the last wish that a finished look has answered; none before
    /// the first look, which nobody needs to wish for.
    answered: watch::Sender<Vec<Option<u64>>>,
    waiting: Semaphore,
}

impl KeySet {
    /// None are known until [`KeySet::run`] has loaded some.
    ///
    /// # Errors
    ///
    /// When there is no HTTPS client.
    pub(super) fn new(config: &NotificationsConfig, health: Health) -> Result<Self, ClientError> {
        Self::with(config, health, Pace::USUAL)
    }

    /// As [`KeySet::new`], at another pace.
    pub(super) fn with(
        config: &NotificationsConfig,
        health: Health,
        pace: Pace,
    ) -> Result<Self, ClientError> {
        let count = config.openid_urls.len();
        Ok(Self(Arc::new(Shared {
            fetcher: Fetcher::new(config, pace.fetch)?,
            urls: config.openid_urls.clone(),
            pace,
            health,
            known: RwLock::new(vec![Arc::default(); count]),
            failing: Mutex::new(vec![None; count]),
            wishes: watch::Sender::new(0),
            last_wish: Mutex::default(),
            answered: watch::Sender::new(vec![None; count]),
            waiting: Semaphore::new(MOST_WAITING),
        })))
    }

    /// Loads all documents and keeps them fresh until `shutdown`.
    pub(super) async fn run(&self, mut shutdown: watch::Receiver<bool>) {
        let mut loops = JoinSet::new();
        for index in 0..self.0.urls.len() {
            let shared = Arc::clone(&self.0);
            loops.spawn(async move { shared.keep_fresh(index).await });
        }
        tokio::select! {
            // A sender that is gone can never say it, and counts as if it had.
            _ = shutdown.wait_for(|stop| *stop) => {}
            // They do not end but by a panic, and then this worker does.
            Some(_) = loops.join_next() => {}
        }
    }

    /// The key with this `kid`. One that is not known may be new, so this waits for a look at the
    /// documents, if one is due or under way.
    ///
    /// # Errors
    ///
    /// When it is not known after that.
    pub(super) async fn find(&self, key_id: &str) -> Result<Arc<PublicKey>, KeyMissing> {
        let shared = &self.0;
        if let Some(key) = shared.known(key_id) {
            return Ok(key);
        }
        if let Ok(_place) = shared.waiting.try_acquire() {
            let look = async {
                shared.answered(0, key_id).await;
                if shared.known(key_id).is_none() {
                    shared.answered(shared.wish(), key_id).await;
                }
            };
            // Whether it came in time is seen below.
            drop(timeout(shared.pace.patience, look).await);
        }
        shared.known(key_id).ok_or_else(|| shared.missing())
    }
}

impl Shared {
    /// Reads one document, again and again.
    async fn keep_fresh(&self, index: usize) {
        let mut wishes = self.wishes.subscribe();
        let mut failures = 0;
        loop {
            // What is wished for from here on wants a later look.
            let wish = *wishes.borrow_and_update();
            let loaded = self.fetcher.load(&self.urls[index]).await;
            let pause = if loaded.is_ok() {
                failures = 0;
                self.pace.refresh
            } else {
                failures += 1;
                self.pause_after(failures)
            };
            self.settle(index, loaded);
            self.answered.send_modify(|answered| answered[index] = Some(wish));
            tokio::select! {
                () = sleep(pause) => {}
                Ok(()) = wishes.changed() => {}
            }
        }
    }

    fn pause_after(&self, failures: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
        self.pace.retry.saturating_mul(doubled).min(self.pace.longest_retry)
    }

    /// Keeps what came of a look, and says so when something has changed.
    fn settle(&self, index: usize, loaded: Result<Keys, LoadFault>) {
        let loaded = loaded.map(|keys| {
            let count = keys.len();
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            known[index] = Arc::new(keys);
            count
        });
        let any_known = !self.none_known();
        let is_failing = loaded.is_err();
        let was_failing = {
            // Held for the report as well, so that the last word is about the last state.
            let mut failing = lock(&self.failing);
            let was_failing = failing[index].replace(is_failing);
            if !failing.contains(&Some(true)) {
                self.health.restored(PART);
            } else if any_known {
                self.health.degraded(PART, "the keys of notifications cannot be refreshed");
            } else {
                let reason = "no key of notifications is known, so none can be proven";
                self.health.degraded(PART, reason);
            }
            was_failing
        };
        if was_failing == Some(is_failing) {
            return;
        }
        let document = self.urls[index].host_str().unwrap_or_default();
        match loaded {
            Ok(count) => tracing::info!(document, count, "the keys of notifications are loaded"),
            Err(fault) if any_known => tracing::warn!(
                document,
                "the keys of notifications cannot be refreshed, and those that are known are used \
                 on: {fault}"
            ),
            Err(fault) => tracing::error!(
                document,
                "the keys of notifications cannot be loaded, and without any no notification can \
                 be proven: {fault}"
            ),
        }
    }

    /// The first document's key with this `kid`, in the order of the configuration.
    fn known(&self, key_id: &str) -> Option<Arc<PublicKey>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.iter().find_map(|keys| keys.get(key_id)).map(Arc::clone)
    }

    fn none_known(&self) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.iter().all(|keys| keys.is_empty())
    }

    fn missing(&self) -> KeyMissing {
        if self.none_known() { KeyMissing::NotLoaded } else { KeyMissing::Unknown }
    }

    /// The number of the look to wait for: a new one when it is time, else the last one.
    fn wish(&self) -> u64 {
        let mut last = lock(&self.last_wish);
        if last.is_none_or(|last| last.elapsed() >= self.pace.wish) {
            *last = Some(Instant::now());
            self.wishes.send_modify(|count| *count += 1);
        }
        *self.wishes.borrow()
    }

    /// Waits until every document was looked at for `wish`, or one has the key.
    async fn answered(&self, wish: u64, key_id: &str) {
        let mut answered = self.answered.subscribe();
        let is_over = |answered: &Vec<Option<u64>>| {
            answered.iter().all(|number| number.is_some_and(|number| number >= wish))
                || self.known(key_id).is_some()
        };
        if answered.wait_for(is_over).await.is_err() {
            // Its sender is in here, so it is never gone.
            pending::<()>().await;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change is one assignment: a panic elsewhere cannot leave half of one.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
