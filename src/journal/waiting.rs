//! Those who wait for a deletion to be over, within this process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::clock::{Clock, Timestamp};
use crate::id::DeletionId;
use crate::store::Store;
use crate::store::admission::{Claim, Settled};

/// Who waits for what, and what is to be noted of those who no longer do.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    store: Store,
    senders: Arc<Mutex<HashMap<DeletionId, Vec<oneshot::Sender<Settled>>>>>,
    /// What was told although it is not on disk yet, and since when it is so.
    ahead: Arc<Mutex<HashMap<DeletionId, Timestamp>>>,
    /// What the store had no room for; it is offered again.
    kept: Arc<Mutex<Vec<(Note, Timestamp)>>>,
}

/// What became of the last caller of a deletion.
#[derive(Clone, Copy, Debug)]
enum Note {
    /// He went away without an answer.
    Abandoned(Claim),
    /// He has an answer, and the deletion is not over.
    Answered(Claim),
}

impl Waiting {
    /// Nobody waits yet; notes go to `store`.
    pub(super) fn new(store: Store) -> Self {
        Self { store, senders: Arc::default(), ahead: Arc::default(), kept: Arc::default() }
    }

    /// Tells `sender` when the deletion is over.
    pub(super) fn register(&self, deletion: DeletionId, sender: oneshot::Sender<Settled>) {
        let mut waiting = self.lock();
        let senders = waiting.entry(deletion).or_default();
        senders.retain(|other| !other.is_closed());
        senders.push(sender);
    }

    /// Tells everybody who waits for this deletion, which is settled on disk.
    pub(super) fn settled(&self, settled: &Settled) {
        self.lock_ahead().remove(&settled.deletion_id);
        self.tell(settled);
    }

    /// Tells everybody who waits for this deletion, which Graph took at `at` and which is to be settled
    /// on disk next.
    pub(super) fn settled_ahead(&self, settled: &Settled, at: Timestamp) {
        // Before anybody can ask for what he was told.
        self.lock_ahead().insert(settled.deletion_id, at);
        self.tell(settled);
    }

    /// When Graph took this deletion, if that was told and is not on disk yet.
    pub(super) fn ahead(&self, deletion: DeletionId) -> Option<Timestamp> {
        self.lock_ahead().get(&deletion).copied()
    }

    fn tell(&self, settled: &Settled) {
        let senders = self.lock().remove(&settled.deletion_id).unwrap_or_default();
        for sender in senders {
            // Whoever has stopped waiting does not miss it.
            let _ = sender.send(settled.clone());
        }
    }

    /// Offers the store again what it had no room for.
    pub(super) fn note_again(&self) {
        let kept = std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner));
        for (note, at) in kept {
            self.offer(note, at);
        }
    }

    fn note(&self, note: Note, clock: &Clock) {
        self.offer(note, clock.now());
    }

    fn offer(&self, note: Note, at: Timestamp) {
        let noted = match note {
            Note::Abandoned(claim) => self.store.abandon(claim, at),
            Note::Answered(claim) => self.store.answered(claim, at),
        };
        if let Err(error) = noted {
            tracing::warn!("it could not be noted yet what became of a caller: {error}");
            self.kept.lock().unwrap_or_else(PoisonError::into_inner).push((note, at));
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

    fn lock_ahead(&self) -> MutexGuard<'_, HashMap<DeletionId, Timestamp>> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<DeletionId, Vec<oneshot::Sender<Settled>>>> {
        // Each change is one insertion or removal: a panic elsewhere cannot leave half of one.
        self.senders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A caller's wait for a deletion. Dropped before [`Wait::answered`], it notes that the client went
/// away without an answer, so that the repeat an old HTTP stack then sends joins this deletion.
#[derive(Debug)]
pub(crate) struct Wait {
    deletion: DeletionId,
    claim: Option<Claim>,
    caller: Caller,
    kept_back: bool,
}

impl Wait {
    /// The wait of `caller`, whose [`Seat`] has been taken for this deletion.
    pub(super) const fn new(
        deletion: DeletionId,
        claim: Option<Claim>,
        caller: Caller,
        kept_back: bool,
    ) -> Self {
        Self { deletion, claim, caller, kept_back }
    }

    /// The deletion that is waited for.
    pub(crate) const fn deletion(&self) -> DeletionId {
        self.deletion
    }

    /// The deletion was asked for by this caller's own key and selector.
    pub(crate) const fn is_own(&self) -> bool {
        self.claim.is_some()
    }

    /// No attempt was under way when the wait began, and nothing can come before sending is resumed, or, because
    /// Graph asked to wait for longer, at all.
    pub(crate) const fn is_kept_back(&self) -> bool {
        self.kept_back
    }

    /// Waits until the deletion is over, as far as this process makes it so; never ends when the sender
    /// has stopped. May be dropped and called again.
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

    /// The caller has an answer, and the deletion is not over: a start after a crash must not take
    /// it for one whose caller was cut off.
    pub(crate) fn answered_before_its_end(mut self) {
        self.caller.answered = true;
        if let Some(claim) = self.claim {
            self.caller.waiting.note(Note::Answered(claim), &self.caller.clock);
        }
    }
}

/// Who asks for a deletion, from before it is decided. Dropped at whatever moment, either this or
/// its [`Seat`] notes that the caller went away.
#[derive(Debug)]
pub(super) struct Caller {
    place: Arc<Mutex<Place>>,
    settled: oneshot::Receiver<Settled>,
    waiting: Waiting,
    clock: Clock,
    answered: bool,
}

/// What the store's thread does for a [`Caller`] once it is decided what he waits for.
pub(super) struct Seat {
    place: Arc<Mutex<Place>>,
    sender: oneshot::Sender<Settled>,
    waiting: Waiting,
    clock: Clock,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Asking,
    Waiting(DeletionId, Option<Claim>),
    Gone,
}

/// A caller and his seat.
pub(super) fn caller(waiting: &Waiting, clock: &Clock) -> (Caller, Seat) {
    let (sender, settled) = oneshot::channel();
    let place = Arc::new(Mutex::new(Place::Asking));
    let (waiting, clock) = (waiting.clone(), clock.clone());
    let seat =
        Seat { place: Arc::clone(&place), sender, waiting: waiting.clone(), clock: clock.clone() };
    (Caller { place, settled, waiting, clock, answered: false }, seat)
}

impl Seat {
    /// The caller waits for this deletion, which is on disk; `over` when it is settled already.
    pub(super) fn take(self, deletion: DeletionId, claim: Option<Claim>, over: Option<Settled>) {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*place, Place::Gone) {
            if let Some(claim) = claim {
                self.waiting.note(Note::Abandoned(claim), &self.clock);
            }
            return;
        }
        *place = Place::Waiting(deletion, claim);
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
        if let Place::Waiting(deletion, claim) = *place {
            self.settled.close();
            self.waiting.forget(deletion);
            if let (false, Some(claim)) = (self.answered, claim) {
                self.waiting.note(Note::Abandoned(claim), &self.clock);
            }
        }
        *place = Place::Gone;
    }
}
