//! How many calls are written in one transaction.
//!
//! Beside a running gateway a batch takes a moment only, and the gateway gets its turn after each.
//! Alone, long batches are several times faster: the index pages that random ids touch are then
//! written once and not once for each batch.

use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use crate::cli::lock;

/// What the gateway gets between two batches.
const PAUSE: Duration = Duration::from_millis(20);
/// How often a gateway that was not there is looked for. One that starts meanwhile waits for one
/// long batch at most, which is much less than the store's patience.
const LOOK: Duration = Duration::from_millis(500);

/// Paces the batches of one import.
#[derive(Debug)]
pub(super) struct Batches<'a> {
    database: &'a Path,
    looked_at: Instant,
    is_served: bool,
    pace: Pace,
}

impl<'a> Batches<'a> {
    /// For an import into `database`.
    pub(super) fn new(database: &'a Path) -> Self {
        let is_served = lock::is_held(database);
        Self { database, looked_at: Instant::now(), is_served, pace: Pace::new(is_served) }
    }

    /// How many calls to write next.
    pub(super) const fn size(&self) -> usize {
        self.pace.size
    }

    /// Takes note of how long `rows` took, and lets a gateway have its turn.
    pub(super) async fn written(&mut self, rows: usize, took: Duration) {
        self.pace.measured(rows, took);
        if self.looked_at.elapsed() >= LOOK {
            self.looked_at = Instant::now();
            let is_served = lock::is_held(self.database);
            if is_served != self.is_served {
                self.is_served = is_served;
                self.pace = Pace::new(is_served);
            }
        }
        if self.is_served {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// The size of the next batch, from how long the last ones took.
#[derive(Clone, Copy, Debug)]
struct Pace {
    longest: Duration,
    most: usize,
    size: usize,
}

impl Pace {
    /// Begins small: nothing is known about the disk yet.
    const fn new(is_served: bool) -> Self {
        let (longest, most) = if is_served {
            (Duration::from_millis(50), 16 << 10)
        } else {
            (Duration::from_millis(1500), 128 << 10)
        };
        Self { longest, most, size: 64 }
    }

    /// Aims below the limit, because the next batch may be slower. Grows to twice the size at
    /// most, because one that was lucky says little; shrinks at once to what would have fitted.
    fn measured(&mut self, rows: usize, took: Duration) {
        let aim = self.longest * 7 / 10;
        let fitting = rows as u128 * aim.as_micros() / took.as_micros().max(1);
        let fitting = usize::try_from(fitting).unwrap_or(usize::MAX);
        if took > self.longest || rows == self.size {
            self.size = fitting.min(self.size * 2).clamp(1, self.most);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pace after so many batches on a disk that writes `per_call` for each call.
    fn settled(mut pace: Pace, per_call: Duration, batches: usize) -> Pace {
        for _ in 0..batches {
            pace.measured(pace.size, per_call * u32::try_from(pace.size).unwrap());
        }
        pace
    }

    #[test]
    fn beside_a_gateway_the_size_settles_below_50_ms_and_never_overshoots_on_its_way() {
        let per_call = Duration::from_micros(20);
        let mut pace = Pace::new(true);
        for _ in 0..20 {
            assert!(per_call * u32::try_from(pace.size).unwrap() <= Duration::from_millis(50));
            pace = settled(pace, per_call, 1);
        }
        assert_eq!(pace.size, 1750);
    }

    #[test]
    fn a_slow_disk_shrinks_it_at_once_and_never_to_nothing() {
        let pace = settled(Pace::new(true), Duration::from_micros(20), 20);
        assert_eq!(settled(pace, Duration::from_micros(200), 1).size, 175);
        assert_eq!(settled(pace, Duration::from_secs(1), 3).size, 1);
    }

    #[test]
    fn a_small_last_batch_says_nothing() {
        let mut pace = settled(Pace::new(true), Duration::from_micros(20), 20);
        pace.measured(1, Duration::from_millis(1));
        assert_eq!(pace.size, 1750);
    }

    #[tokio::test(start_paused = true)]
    async fn a_gateway_that_starts_meanwhile_makes_the_batches_small_again() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("callgate.db");
        let mut batches = Batches::new(&database);
        for _ in 0..20 {
            batches.written(batches.size(), Duration::from_millis(1)).await;
        }
        assert_eq!(batches.size(), 128 << 10);
        let _serve = lock::take(&database).unwrap();
        tokio::time::advance(LOOK).await;
        batches.written(batches.size(), Duration::from_millis(1)).await;
        assert_eq!(batches.size(), 64);
    }
}
