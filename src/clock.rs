//! Time as an argument: wall-clock instants, and the one place that reads them.

use std::fmt;
use std::ops::{Add, Sub};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

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

/// Where an operation reads the time, once, at its top.
#[derive(Clone, Debug)]
pub(crate) enum Clock {
    /// The system's wall clock.
    System,
    /// The system's wall clock and so many milliseconds: what a whole gateway under test runs by.
    /// It goes on by itself, because a gateway has work that waits for its time.
    Ahead(Arc<AtomicI64>),
    /// A clock that only tests move.
    #[cfg(test)]
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// The system's wall clock, until [`Clock::advance`].
    pub(crate) fn movable() -> Self {
        Self::Ahead(Arc::default())
    }

    /// A clock that stands at `start` until [`Clock::advance`].
    #[cfg(test)]
    pub(crate) fn manual(start: Timestamp) -> Self {
        Self::Manual(Arc::new(AtomicI64::new(start.0)))
    }

    /// The time now.
    pub(crate) fn now(&self) -> Timestamp {
        match self {
            Self::System => system(),
            Self::Ahead(milliseconds) => {
                Timestamp(system().0.saturating_add(milliseconds.load(Ordering::SeqCst)))
            }
            #[cfg(test)]
            Self::Manual(milliseconds) => Timestamp(milliseconds.load(Ordering::SeqCst)),
        }
    }

    /// Moves a clock of tests forward; a system clock stays as it is.
    pub(crate) fn advance(&self, by: Duration) {
        match self {
            Self::System => {}
            Self::Ahead(clock) => {
                clock.fetch_add(milliseconds(by), Ordering::SeqCst);
            }
            #[cfg(test)]
            Self::Manual(clock) => {
                clock.fetch_add(milliseconds(by), Ordering::SeqCst);
            }
        }
    }
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
    fn adding_saturates_instead_of_wrapping() {
        assert_eq!(Timestamp(i64::MAX) + Duration::from_secs(1), Timestamp(i64::MAX));
        assert_eq!(Timestamp(5).since(Timestamp(9)), Duration::ZERO);
    }
}
