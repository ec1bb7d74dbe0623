//! Room for the next connection: at the limit, one that waits for its client ends, the longest
//! waiting first.
//!
//! Where anybody may connect, whoever only holds connections makes way for who uses his.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio::task::Id;

use crate::server::watched::Progress;

/// The connections of one listener, by their tasks.
#[derive(Default)]
pub(super) struct Room {
    open: HashMap<Id, Arc<Progress>>,
    steps: Arc<AtomicU64>,
}

impl Room {
    /// The progress of a connection that begins.
    pub(super) fn begin(&self) -> Arc<Progress> {
        Arc::new(Progress::new(Arc::clone(&self.steps)))
    }

    /// This task has the connection of `progress`.
    pub(super) fn opened(&mut self, task: Id, progress: Arc<Progress>) {
        self.open.insert(task, progress);
    }

    /// This task has ended.
    pub(super) fn closed(&mut self, task: Id) {
        self.open.remove(&task);
    }

    /// Tells the connection that has waited longest that it is not wanted any more. It ends unless
    /// its client has sent a request meanwhile; when all are busy, nobody is told.
    pub(super) fn make(&self) {
        let waiting = self.open.values().filter(|progress| progress.phase().waits());
        if let Some(longest) = waiting.min_by_key(|progress| progress.step()) {
            longest.unwanted().notify_one();
        }
    }
}
