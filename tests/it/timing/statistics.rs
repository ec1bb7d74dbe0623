//! Two series of times, compared.

use std::time::Duration;

use uuid::Uuid;

/// How far two series are apart, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Comparison {
    pub(super) difference: f64,
    /// What chance does not go beyond, but for once in tens of thousands of comparisons.
    pub(super) noise: f64,
}

/// Standard errors that make the noise.
const ERRORS: f64 = 4.0;

/// Compares the times of the same rounds.
pub(super) fn compare(first: &[Duration], second: &[Duration]) -> Comparison {
    let mut differences: Vec<f64> = first
        .iter()
        .zip(second)
        .map(|(first, second)| (first.as_secs_f64() - second.as_secs_f64()) * 1e6)
        .collect();
    // By size and not by sign, so that a sign that is drawn by lot remains so.
    differences.sort_by(|one, other| one.abs().total_cmp(&other.abs()));
    differences.truncate(differences.len() * 9 / 10);
    let count = differences.iter().map(|_| 1.0).sum::<f64>();
    let squares: f64 = differences.iter().map(|difference| difference * difference).sum();
    Comparison {
        difference: differences.iter().sum::<f64>() / count,
        noise: ERRORS * squares.sqrt() / count,
    }
}

/// The time that half of them do not go beyond.
pub(super) fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}

#[test]
fn a_difference_is_seen_through_disturbances_and_none_where_none_is() {
    let Comparison { difference, noise } = compare(&series(0), &series(0));
    assert!(difference.abs() < noise && noise < 1.0, "{difference} {noise}");
    let Comparison { difference, noise } = compare(&series(2000), &series(0));
    assert!((1.0..3.0).contains(&difference) && difference > noise, "{difference} {noise}");
}

/// Times around 80 µs, some of them much longer, and `more` nanoseconds for each.
fn series(more: u64) -> Vec<Duration> {
    let times = (0..20_000).map(|_| {
        let (one, two, ..) = Uuid::new_v4().as_fields();
        let disturbance = if two % 50 == 0 { 3_000_000 } else { 0 };
        Duration::from_nanos(80_000 + u64::from(one % 20_000) + disturbance + more)
    });
    times.collect()
}
