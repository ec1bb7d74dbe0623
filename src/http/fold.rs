//! Log lines alike, folded: whoever can cause a line cannot fill the disk with them.
//!
//! Kinds are words of ours, a closed list, so that what is kept here is bounded by the program and
//! not by what is sent to it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Between two lines of one kind.
const PAUSE: Duration = Duration::from_secs(1);

/// What of each kind was written, and what was not.
#[derive(Debug, Default)]
pub(super) struct Fold(Mutex<BTreeMap<&'static str, Kind>>);

#[derive(Debug)]
struct Kind {
    /// When a line of it was written last.
    written_at: Instant,
    /// How many were not written since then.
    folded: u64,
}

impl Fold {
    /// Whether something of this `kind` that happens `now` is written: the first one at once, and
    /// one in each second. With it comes how many alike were not written since the last line.
    pub(super) fn note(&self, kind: &'static str, now: Instant) -> Option<u64> {
        let mut kinds = self.lock();
        let Some(known) = kinds.get_mut(kind) else {
            kinds.insert(kind, Kind { written_at: now, folded: 0 });
            return Some(0);
        };
        let folded = known.overdue(now);
        if folded.is_none() {
            known.folded += 1;
        }
        folded
    }

    /// The kinds of which some were not written a second after their last line, and how many. They
    /// count as written.
    pub(super) fn overdue(&self, now: Instant) -> Vec<(&'static str, u64)> {
        let mut kinds = self.lock();
        let held = kinds.iter_mut().filter(|(_, known)| known.folded > 0);
        held.filter_map(|(kind, known)| Some((*kind, known.overdue(now)?))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Kind>> {
        // Each change leaves numbers that hold by themselves.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kind {
    /// How many were not written, when it is time for a line, which begins the next pause.
    fn overdue(&mut self, now: Instant) -> Option<u64> {
        if now.saturating_duration_since(self.written_at) < PAUSE {
            return None;
        }
        self.written_at = now;
        Some(std::mem::take(&mut self.folded))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(1);

    #[test]
    fn the_first_of_each_kind_is_written_at_once_and_then_one_a_second_with_a_count() {
        let (fold, start) = (Fold::default(), Instant::now());
        assert_eq!(fold.note("no_token", start), Some(0));
        assert_eq!(fold.note("expired", start), Some(0));
        for _ in 0..1000 {
            assert_eq!(fold.note("no_token", start + PAUSE - TICK), None);
        }
        assert_eq!(fold.note("no_token", start + PAUSE), Some(1000));
        assert_eq!(fold.note("no_token", start + PAUSE + TICK), None);
        assert_eq!(fold.note("expired", start + PAUSE + TICK), Some(0));
    }

    #[test]
    fn what_was_not_written_is_written_when_nothing_alike_comes_any_more() {
        let (fold, start) = (Fold::default(), Instant::now());
        for kind in ["no_token", "no_token", "no_token", "expired"] {
            fold.note(kind, start);
        }
        assert_eq!(fold.overdue(start + PAUSE - TICK), []);
        assert_eq!(fold.overdue(start + PAUSE), [("no_token", 2)]);
        assert_eq!(fold.overdue(start + 2 * PAUSE), []);
        // That was a line: the next one keeps its distance.
        assert_eq!(fold.note("no_token", start + 2 * PAUSE - TICK), None);
        assert_eq!(fold.note("no_token", start + 2 * PAUSE), Some(1));
    }
}
