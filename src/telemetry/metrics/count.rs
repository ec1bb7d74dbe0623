//! What counts: numbers that only grow, in memory, from the start of the process.
//!
//! Every series has its place from the beginning. To count is one atomic addition: no lock, no map, nothing
//! that could be made to grow.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::label::{Action, Label as _, Labels, Outcome};

/// A counter for each combination of labels. Clones share them.
#[derive(Debug)]
pub(crate) struct Counts<L>(Arc<[AtomicU64]>, PhantomData<fn() -> L>);

impl<L: Labels> Counts<L> {
    /// Counts one.
    pub(crate) fn count(&self, labels: L) {
        self.0[labels.place()].fetch_add(1, Ordering::Relaxed);
    }

    /// How many there were.
    pub(crate) fn of(&self, labels: L) -> u64 {
        self.0[labels.place()].load(Ordering::Relaxed)
    }
}

impl<L> Clone for Counts<L> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0), PhantomData)
    }
}

impl<L: Labels> Default for Counts<L> {
    fn default() -> Self {
        Self((0..L::count()).map(|_| AtomicU64::new(0)).collect(), PhantomData)
    }
}

/// The upper bounds of the classes of durations, in seconds: a look-up, a commit, an answer of Graph's, and
/// what lasted for all of `legacy.wait`, whose usual value is 10 s.
const BOUNDS: [f64; 11] = [0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0];

/// How long something took, in few classes. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Durations(Arc<Classes>);

#[derive(Debug, Default)]
struct Classes {
    counts: [AtomicU64; BOUNDS.len() + 1],
    microseconds: AtomicU64,
}

impl Durations {
    /// Takes one in.
    pub(crate) fn observe(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let class = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        self.0.counts[class].fetch_add(1, Ordering::Relaxed);
        let microseconds = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.0.microseconds.fetch_add(microseconds, Ordering::Relaxed);
    }

    /// Each class by its upper bound, with how many are in it and in no lower one.
    pub(super) fn classes(&self) -> Vec<(f64, u64)> {
        let bounds = BOUNDS.into_iter().chain([f64::INFINITY]);
        let counts = self.0.counts.iter().map(|count| count.load(Ordering::Relaxed));
        bounds.zip(counts).collect()
    }

    /// All of them together.
    pub(super) fn sum(&self) -> Duration {
        Duration::from_micros(self.0.microseconds.load(Ordering::Relaxed))
    }
}

/// The requests to the legacy API. Clones share the counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Requests {
    pub(super) answers: Counts<(Action, Outcome)>,
    pub(super) durations: Durations,
}

impl Requests {
    /// Counts one that was answered: the words and the status are those of its line in the log.
    pub(crate) fn answered(&self, action: &str, outcome: &str, status: u16, after: Duration) {
        let action = Action::of(action).unwrap_or(Action::None);
        let outcome = match Outcome::of(outcome).unwrap_or(Outcome::Other) {
            // Who is told to come back has this status, whatever is configured.
            Outcome::Unavailable if status != 503 => Outcome::Withdrawn,
            outcome => outcome,
        };
        self.answers.count((action, outcome));
        self.durations.observe(after);
    }

    /// Counts one that was not.
    pub(crate) fn cut_off(&self) {
        self.answers.count((Action::None, Outcome::CutOff));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_by_one_clone_is_seen_by_all_and_in_its_place_only() {
        let requests = Requests::default();
        requests.clone().answered("DeleteCall", "sent", 200, Duration::from_millis(5));
        requests.clone().answered("", "no word of ours", 200, Duration::from_secs(31));
        requests.cut_off();
        let counted = [
            (Action::DeleteCall, Outcome::Sent),
            (Action::None, Outcome::Other),
            (Action::None, Outcome::CutOff),
        ];
        for labels in <(Action, Outcome)>::all() {
            let expected = u64::from(counted.contains(&labels));
            assert_eq!(requests.answers.of(labels), expected, "{labels:?}");
        }
        assert_eq!(requests.durations.sum(), Duration::from_millis(31_005));
        let classes = requests.durations.classes();
        assert_eq!((classes[0], classes[11]), ((0.005, 1), (f64::INFINITY, 1)));
        assert_eq!(classes.iter().map(|(_, count)| count).sum::<u64>(), 2);
    }

    #[test]
    fn a_withdrawn_deletion_is_told_from_an_answer_to_come_back() {
        for (status, outcome) in
            [(503, Outcome::Unavailable), (200, Outcome::Withdrawn), (502, Outcome::Withdrawn)]
        {
            let requests = Requests::default();
            requests.answered("DeleteCall", "unavailable", status, Duration::ZERO);
            assert_eq!(requests.answers.of((Action::DeleteCall, outcome)), 1, "{status}");
        }
    }
}
