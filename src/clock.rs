//! Time as an argument: wall-clock instants, and the one place that reads them.

use std::fmt;
use std::ops::{Add, Sub};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// An instant in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Timestamp(pub(crate) i64);

impl Timestamp {
    /// Reads an RFC 3339 date and time with an offset; finer parts than a millisecond are cut off.
    ///
    /// # Errors
    ///
    /// When `text` is no such date.
    pub(crate) fn parse(text: &str) -> Result<Self, jiff::Error> {
        Ok(Self(text.parse::<jiff::Timestamp>()?.as_millisecond()))
    }

    /// Later by so many milliseconds, or, when they are negative, earlier.
    pub(crate) fn moved(self, by: i64) -> Self {
        Self(self.0.saturating_add(by))
    }

    /// By how many milliseconds this is later than `other`; negative when it is earlier.
    pub(crate) fn ahead_of(self, other: Self) -> i64 {
        self.0.saturating_sub(other.0)
    }

    /// Milliseconds from `earlier` to this instant; zero when `earlier` is later.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(milliseconds(duration)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(milliseconds(duration)))
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// RFC 3339 in UTC with milliseconds.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(instant) => write!(f, "{instant:.3}"),
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One moment by both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) wall: Timestamp,
    /// By a clock that nobody sets, since some moment of this process.
    pub(crate) steady: Timestamp,
}

/// For tests without a process: the wall clock is one that nobody sets.
#[cfg(test)]
impl From<Timestamp> for Moment {
    fn from(wall: Timestamp) -> Self {
        Self { wall, steady: wall }
    }
}

/// Two clocks that are read within this time are read at once.
const AT_ONCE: Duration = Duration::from_millis(20);

/// Where an operation reads the time, once, at its top.
#[derive(Clone, Debug)]
pub(crate) enum Clock {
    /// The system's wall clock.
    System,
    /// The system's clocks, and what a whole gateway under test runs by: they go on by themselves,
    /// because a gateway has work that waits for its time.
    Ahead(Arc<Shifted>),
    /// A clock that only tests move.
    #[cfg(test)]
    Manual(Timestamp, Instant, Arc<Shifted>),
}

/// By how many milliseconds tests have moved a clock.
#[derive(Debug, Default)]
pub(crate) struct Shifted {
    /// As if time had passed, for the steady clock too.
    passed: AtomicI64,
    /// As if somebody had set the wall clock.
    set: AtomicI64,
    /// After each of the two.
    moved: Notify,
}

impl Clock {
    /// The system's wall clock, until [`Clock::advance`].
    pub(crate) fn movable() -> Self {
        Self::Ahead(Arc::default())
    }

    /// A clock that stands at `start` until [`Clock::advance`].
    #[cfg(test)]
    pub(crate) fn manual(start: Timestamp) -> Self {
        Self::Manual(start, Instant::now(), Arc::default())
    }

    /// The time now.
    pub(crate) fn now(&self) -> Timestamp {
        match self {
            Self::System => system(),
            Self::Ahead(shifted) => shifted.wall(system()),
            #[cfg(test)]
            Self::Manual(start, _, shifted) => shifted.wall(*start),
        }
    }

    /// The time now by both clocks.
    pub(crate) fn moment(&self) -> Moment {
        loop {
            let before = self.steady();
            let wall = self.now();
            // Between the two the process may have been stopped, and its wall clock set.
            if self.steady().saturating_duration_since(before) < AT_ONCE {
                return Moment { wall, steady: since_the_start(before) };
            }
        }
    }

    /// The time now by a clock that nobody sets.
    pub(crate) fn steady(&self) -> Instant {
        match self {
            Self::System => Instant::now(),
            Self::Ahead(shifted) => Instant::now() + shifted.passed(),
            #[cfg(test)]
            Self::Manual(_, start, shifted) => *start + shifted.passed(),
        }
    }

    /// Sleeps until then, or until a test moves the clock: what was waited for may be due by now. One at
    /// a time is woken.
    pub(crate) async fn rest_until(&self, instant: Instant) {
        let Some(shifted) = self.shifted() else { return sleep_until(instant).await };
        tokio::select! {
            () = sleep_until(instant) => {}
            () = shifted.moved.notified() => {}
        }
    }

    /// Lets time pass by a clock of tests; a system clock stays as it is.
    pub(crate) fn advance(&self, by: Duration) {
        if let Some(shifted) = self.shifted() {
            shifted.passed.fetch_add(milliseconds(by), Ordering::SeqCst);
            shifted.moved.notify_one();
        }
    }

    /// Sets a clock of tests forward, or back, by so many milliseconds; a system clock stays as it is.
    pub(crate) fn set(&self, by: i64) {
        if let Some(shifted) = self.shifted() {
            shifted.set.fetch_add(by, Ordering::SeqCst);
            shifted.moved.notify_one();
        }
    }

    fn shifted(&self) -> Option<&Shifted> {
        match self {
            Self::System => None,
            Self::Ahead(shifted) => Some(shifted),
            #[cfg(test)]
            Self::Manual(_, _, shifted) => Some(shifted),
        }
    }
}

impl Shifted {
    fn wall(&self, start: Timestamp) -> Timestamp {
        let set = self.set.load(Ordering::SeqCst);
        Timestamp((start + self.passed()).0.saturating_add(set))
    }

    fn passed(&self) -> Duration {
        Duration::from_millis(self.passed.load(Ordering::SeqCst).unsigned_abs())
    }
}

/// Notices that the wall clock was set, by a clock that nobody sets.
#[derive(Debug)]
pub(crate) struct ClockWatch(Moment);

impl ClockWatch {
    /// What is less may be a slow correction, and disturbs nothing.
    const LEAST: i64 = 500;

    /// From this moment on.
    pub(crate) fn new(moment: Moment) -> Self {
        Self(moment)
    }

    /// By how many milliseconds the wall clock was set since the last moment, when by that much that it
    /// matters: forward, or, negative, back. This moment is the last one from now on.
    pub(crate) fn moved(&mut self, now: Moment) -> Option<i64> {
        let passed = now.steady.ahead_of(self.0.steady);
        let expected = self.0.wall.moved(passed);
        self.0 = now;
        Some(now.wall.ahead_of(expected)).filter(|moved| moved.abs() >= Self::LEAST)
    }
}

/// What steady time of a process is counted from.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// In whole milliseconds that have passed, before the start as after it: what is a minute apart stays so.
fn since_the_start(steady: Instant) -> Timestamp {
    let start = *START;
    let after = steady.saturating_duration_since(start);
    let before = start.saturating_duration_since(steady).as_nanos().div_ceil(1_000_000);
    (Timestamp(0) + after).moved(-i64::try_from(before).unwrap_or(i64::MAX))
}

fn system() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads it")]
    let now = jiff::Timestamp::now();
    Timestamp(now.as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_printed_as_it_is_read() {
        let instant = Timestamp::parse("2026-11-22T05:32:55.123+01:00").unwrap();
        assert_eq!(instant.to_string(), "2026-11-22T04:32:55.123Z");
        assert!(Timestamp::parse("2026-11-22 05:32").is_err());
    }

    #[test]
    fn a_movable_clock_is_ahead_of_the_system_by_as_much_as_it_was_moved() {
        let clock = Clock::movable();
        let other = clock.clone();
        let before = Clock::System.now();
        clock.advance(Duration::from_hours(1));
        let ahead = other.now().since(before);
        assert!((3600..3660).contains(&ahead.as_secs()), "{ahead:?}");
    }

    #[test]
    fn a_clock_that_is_set_is_noticed_once_and_one_that_goes_is_not() {
        let start = Timestamp(1_000_000);
        let at = |wall: i64, steady: i64| Moment {
            wall: start.moved(wall * 100),
            steady: Timestamp(steady * 100),
        };
        let mut watch = ClockWatch::new(at(0, 0));
        assert_eq!(watch.moved(at(104, 100)), None);
        assert_eq!(watch.moved(at(36_200, 200)), Some(3_599_600));
        assert_eq!(watch.moved(at(36_210, 210)), None);
        assert_eq!(watch.moved(at(220, 220)), Some(-3_600_000));
    }

    #[test]
    fn a_moment_has_both_clocks_and_only_one_of_them_is_set() {
        for clock in [Clock::movable(), Clock::manual(Timestamp(5_000_000))] {
            let before = clock.moment();
            clock.set(-3_600_000);
            clock.advance(Duration::from_mins(1));
            let after = clock.moment();
            let wall = after.wall.ahead_of(before.wall);
            assert!((-3_540_000..-3_539_000).contains(&wall), "{wall}");
            let steady = after.steady.ahead_of(before.steady);
            assert!((59_999..61_000).contains(&steady), "{steady}");
        }
    }

    #[tokio::test]
    async fn whoever_rests_is_woken_when_the_clock_is_moved_and_only_then() {
        let clock = Clock::movable();
        let far = Instant::now() + Duration::from_hours(1);
        let rests = tokio::time::timeout(Duration::from_millis(20), clock.rest_until(far));
        assert!(rests.await.is_err());
        for moves in
            [|clock: &Clock| clock.advance(Duration::from_hours(2)), |clock: &Clock| clock.set(-1)]
        {
            let rests = tokio::time::timeout(Duration::from_secs(10), clock.rest_until(far));
            let (rested, ()) = tokio::join!(rests, async { moves(&clock) });
            rested.unwrap();
        }
        clock.rest_until(Instant::now()).await;
    }

    #[test]
    fn a_minute_is_a_minute_over_the_start_of_the_process() {
        for nanoseconds in [0, 1, 400_000, 999_999, 1_000_000, 1_000_001, 2_500_000] {
            let before = *START - Duration::from_nanos(nanoseconds);
            let after = since_the_start(before + Duration::from_mins(1));
            let minute = after.ahead_of(since_the_start(before));
            assert_eq!(minute, 60_000, "{nanoseconds}");
        }
    }

    #[test]
    fn adding_saturates_instead_of_wrapping() {
        assert_eq!(Timestamp(i64::MAX) + Duration::from_secs(1), Timestamp(i64::MAX));
        assert_eq!(Timestamp(5).since(Timestamp(9)), Duration::ZERO);
    }
}
