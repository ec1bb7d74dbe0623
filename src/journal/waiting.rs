//! Those who wait for a deletion to be over, within this process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::clock::Clock;
use crate::id::DeletionId;
use crate::store::Store;
use crate::store::admission::Settled;

/// Who waits for what.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiting(Arc<Mutex<HashMap<DeletionId, Vec<oneshot::Sender<Settled>>>>>);

impl Waiting {
    /// Tells `sender` when the deletion is over.
    pub(super) fn register(&self, deletion: DeletionId, sender: oneshot::Sender<Settled>) {
        let mut waiting = self.lock();
        let senders = waiting.entry(deletion).or_default();
        senders.retain(|other| !other.is_closed());
        senders.push(sender);
    }

    /// Tells everybody who waits for this deletion.
    pub(super) fn settled(&self, settled: &Settled) {
        let senders = self.lock().remove(&settled.deletion_id).unwrap_or_default();
        for sender in senders {
            // Whoever has stopped waiting does not miss it.
            let _ = sender.send(settled.clone());
        }
    }

    fn forget(&self, deletion: DeletionId) {
        let mut waiting = self.lock();
        if let Some(senders) = waiting.get_mut(&deletion) {
            senders.retain(|sender| !sender.is_closed());
            if senders.is_empty() {
                waiting.remove(&deletion);
            }
        }
    }

    /// Nobody waits for anything.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<DeletionId, Vec<oneshot::Sender<Settled>>>> {
        // Each change is one insertion or removal: a panic elsewhere cannot leave half of one.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A caller's wait for a deletion. Dropped before [`Wait::answered`], it notes that the client went
/// away without an answer, so that the repeat an old HTTP stack then sends joins this deletion.
#[derive(Debug)]
pub(crate) struct Wait {
    deletion: DeletionId,
    caller: Caller,
}

impl Wait {
    /// The wait of `caller`, whose [`Seat`] has been taken for this deletion.
    pub(super) const fn new(deletion: DeletionId, caller: Caller) -> Self {
        Self { deletion, caller }
    }

    /// The deletion that is waited for.
    pub(crate) const fn deletion(&self) -> DeletionId {
        self.deletion
    }

    /// Waits until the deletion is over; never ends when the sender has stopped. May be dropped and
    /// called again.
    pub(crate) async fn settled(&mut self) -> Settled {
        match (&mut self.caller.settled).await {
            Ok(settled) => settled,
            Err(_stopped) => std::future::pending().await,
        }
    }

    /// The caller has an answer.
    pub(crate) fn answered(mut self) {
        self.caller.answered = true;
    }
}

/// Who asks for a deletion, from before it is decided. Dropped at whatever moment, either this or
/// its [`Seat`] notes that the caller went away.
#[derive(Debug)]
pub(super) struct Caller {
    place: Arc<Mutex<Place>>,
    settled: oneshot::Receiver<Settled>,
    waiting: Waiting,
    store: Store,
    clock: Clock,
    answered: bool,
}

/// What the store's thread does for a [`Caller`] once it is decided what he waits for.
pub(super) struct Seat {
    place: Arc<Mutex<Place>>,
    sender: oneshot::Sender<Settled>,
    waiting: Waiting,
    store: Store,
    clock: Clock,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Asking,
    Waiting(DeletionId),
    Gone,
}

/// A caller and his seat.
pub(super) fn caller(waiting: &Waiting, store: &Store, clock: &Clock) -> (Caller, Seat) {
    let (sender, settled) = oneshot::channel();
    let place = Arc::new(Mutex::new(Place::Asking));
    let seat = Seat {
        place: Arc::clone(&place),
        sender,
        waiting: waiting.clone(),
        store: store.clone(),
        clock: clock.clone(),
    };
    let (waiting, store, clock) = (waiting.clone(), store.clone(), clock.clone());
    (Caller { place, settled, waiting, store, clock, answered: false }, seat)
}

impl Seat {
    /// The caller waits for this deletion, which is on disk; `over` when it is settled already.
    pub(super) fn take(self, deletion: DeletionId, over: Option<Settled>) {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*place, Place::Gone) {
            abandon(&self.store, deletion, &self.clock);
            return;
        }
        *place = Place::Waiting(deletion);
        match over {
            // The caller is there: his place says so.
            Some(settled) => drop(self.sender.send(settled)),
            None => self.waiting.register(deletion, self.sender),
        }
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        if let Place::Waiting(deletion) = *place {
            self.settled.close();
            self.waiting.forget(deletion);
            if !self.answered {
                abandon(&self.store, deletion, &self.clock);
            }
        }
        *place = Place::Gone;
    }
}

/// Notes that nobody waits any more for a deletion that nobody was told of.
fn abandon(store: &Store, deletion: DeletionId, clock: &Clock) {
    if let Err(error) = store.abandon(deletion, clock.now()) {
        tracing::warn!(
            deletion.id = %deletion,
            "it could not be noted that the client of deletion {deletion} went away: {error}"
        );
    }
}
