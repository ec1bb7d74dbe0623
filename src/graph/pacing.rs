//! When to try again: what `Retry-After` says, and our own backoff.
//!
//! Pure: nothing here sleeps or reads a clock. A wait is a row in the journal, and what is computed
//! here is the time in that row. It is never earlier than what Graph asked for; whether the deadline comes
//! before it is for the store to see.

use std::time::Duration;

use jiff::fmt::{rfc2822, strtime};
use jiff::tz::TimeZone;

use crate::clock::Timestamp;

/// The wait before the second attempt; each later one is twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// Our own backoff grows no further.
const LONGEST_WAIT: Duration = Duration::from_mins(2);
/// A longer `Retry-After` is as long as this one: nothing is tried for longer than `graph.deadline` may be.
pub(crate) const LONGEST_RETRY_AFTER: Duration = Duration::from_hours(720);
/// How much jitter lengthens a wait at most.
const JITTER: f64 = 0.25;

/// When the attempt after `attempt` failed ones is due: the later of our backoff and `retry_after`,
/// lengthened by up to a quarter (of two minutes at most) as `jitter` goes from 0 to 1.
pub(crate) fn next_attempt(
    attempt: u32,
    now: Timestamp,
    retry_after: Option<Duration>,
    jitter: f64,
) -> Timestamp {
    now + lengthened(backoff(attempt).max(retry_after.unwrap_or_default()), jitter)
}

/// `wait`, up to a quarter longer (of two minutes at most) as `jitter` goes from 0 to 1.
pub(crate) fn lengthened(wait: Duration, jitter: f64) -> Duration {
    let share = if jitter.is_finite() { jitter.clamp(0.0, 1.0) } else { 0.0 };
    wait + wait.min(LONGEST_WAIT).mul_f64(JITTER * share)
}

/// What a `Retry-After` header asks for, seen from `now`: whole or decimal seconds, or a date in
/// any of HTTP's three forms. At most 30 days; a date that has passed is no wait at all.
///
/// `None` when it is neither, or negative: then it says nothing, and our own backoff decides.
pub(crate) fn retry_after(header: &str, now: Timestamp) -> Option<Duration> {
    let header = header.trim();
    let wait = match seconds(header) {
        Some(wait) => wait,
        None => http_date(header)?.since(now),
    };
    Some(wait.min(LONGEST_RETRY_AFTER))
}

/// Reads a date as HTTP writes it (RFC 9110, 5.6.7), the two old forms included.
pub(crate) fn http_date(text: &str) -> Option<Timestamp> {
    // A wrong day of the week is the sender's slip; the date is what counts.
    let parser = rfc2822::DateTimeParser::new().relaxed_weekday(true);
    let instant = parser.parse_timestamp(text).ok().or_else(|| {
        ["%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"].iter().find_map(|form| {
            let date = strtime::parse(form, text).ok()?.to_datetime().ok()?;
            Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp())
        })
    })?;
    Some(Timestamp(instant.as_millisecond()))
}

fn backoff(attempt: u32) -> Duration {
    let doubled = 1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
    FIRST_WAIT.saturating_mul(doubled).min(LONGEST_WAIT)
}

/// `2` or `2.128`, rounded up to the millisecond, because a [`Timestamp`] has no finer parts and
/// must not be too early.
fn seconds(text: &str) -> Option<Duration> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) {
        return None;
    }
    // More digits than fit are more than what it is cut to.
    let whole = Duration::from_secs(whole.parse().unwrap_or(u64::MAX));
    let milliseconds = fraction.bytes().chain(*b"000").take(3);
    let milliseconds = milliseconds.fold(0, |sum: u64, digit| sum * 10 + u64::from(digit - b'0'));
    let finer = fraction.bytes().skip(3).any(|digit| digit != b'0');
    Some(whole.saturating_add(Duration::from_millis(milliseconds + u64::from(finer))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp(784_111_777_000); // Sun, 06 Nov 1994 08:49:37 GMT

    #[test]
    fn retry_after_is_read_in_every_form_and_junk_says_nothing() {
        let most = 30 * 24 * 60 * 60 * 1000;
        for (header, expected) in [
            ("0", Some(0)),
            ("120", Some(120_000)),
            (" 7 ", Some(7_000)),
            ("2.128", Some(2_128)),
            ("2.1280001", Some(2_129)),
            ("2.", Some(2_000)),
            ("0.0004", Some(1)),
            ("0.5", Some(500)),
            ("86401", Some(86_401_000)),
            ("2592001", Some(most)),
            ("99999999999999999999999999", Some(most)),
            ("Sun, 06 Nov 1994 08:49:47 GMT", Some(10_000)),
            ("Sun, 06 Nov 1994 09:49:47 +0100", Some(10_000)),
            ("Fri, 06 Nov 1994 08:49:47 GMT", Some(10_000)),
            ("Sunday, 06-Nov-94 08:49:47 GMT", Some(10_000)),
            ("Sun Nov  6 08:49:47 1994", Some(10_000)),
            ("Sun, 06 Nov 1994 08:49:27 GMT", Some(0)),
            ("Sun, 06 Nov 2033 08:49:27 GMT", Some(most)),
            ("Sun, 31 Feb 1994 08:49:27 GMT", None),
            ("-5", None),
            ("+5", None),
            (".5", None),
            ("1e3", None),
            ("1,5", None),
            ("2.5s", None),
            ("NaN", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(retry_after(header, NOW), expected.map(Duration::from_millis), "{header:?}");
        }
    }

    #[test]
    fn our_own_backoff_doubles_from_one_second_to_two_minutes() {
        let waits: Vec<u64> =
            (0..12).map(|n| next_attempt(n, NOW, None, 0.0).since(NOW).as_secs()).collect();
        assert_eq!(waits, [1, 1, 2, 4, 8, 16, 32, 64, 120, 120, 120, 120]);
        assert_eq!(next_attempt(u32::MAX, NOW, None, 0.0), NOW + LONGEST_WAIT);
    }

    #[test]
    fn the_later_of_backoff_and_retry_after_counts() {
        let asked = Some(Duration::from_millis(2_128));
        assert_eq!(next_attempt(1, NOW, asked, 0.0), NOW + Duration::from_millis(2_128));
        assert_eq!(next_attempt(4, NOW, asked, 0.0), NOW + Duration::from_secs(8));
    }

    #[test]
    fn jitter_lengthens_by_a_quarter_at_most_and_an_absurd_one_is_cut() {
        let at = |jitter| next_attempt(4, NOW, None, jitter).since(NOW).as_millis();
        assert_eq!(
            [0.0, 0.5, 1.0, 7.0, -3.0, f64::NAN].map(at),
            [8000, 9000, 10000, 10000, 8000, 8000]
        );
        let longest = next_attempt(1, NOW, Some(LONGEST_RETRY_AFTER), 1.0).since(NOW);
        assert_eq!(longest, LONGEST_RETRY_AFTER + Duration::from_secs(30));
    }

    proptest! {
        #[test]
        fn no_header_panics_or_asks_for_more_than_is_ever_waited(header in ".{0,40}", now in any::<i64>()) {
            if let Some(wait) = retry_after(&header, Timestamp(now)) {
                prop_assert!(wait <= LONGEST_RETRY_AFTER);
            }
        }

        #[test]
        fn decimal_seconds_are_never_rounded_down(whole in 0_u64..80_000, fraction in "[0-9]{1,9}") {
            let wait = retry_after(&format!("{whole}.{fraction}"), NOW).unwrap();
            let nanoseconds: u64 = format!("{fraction:0<9}").parse().unwrap();
            let asked = Duration::new(whole, u32::try_from(nanoseconds).unwrap());
            prop_assert!(wait >= asked && wait < asked + Duration::from_millis(1));
        }

        #[test]
        fn nothing_is_tried_before_graph_asked_nor_before_our_own_backoff(
            attempts in any::<u32>(),
            asked in proptest::option::of(0_u64..2_592_000_000),
            jitter in any::<f64>(),
        ) {
            let retry_after = asked.map(Duration::from_millis);
            let own = FIRST_WAIT.saturating_mul(1 << attempts.saturating_sub(1).min(7));
            let least = NOW + own.min(LONGEST_WAIT).max(retry_after.unwrap_or_default());
            let at = next_attempt(attempts, NOW, retry_after, jitter);
            prop_assert!(least <= at && at <= least + LONGEST_WAIT.mul_f64(JITTER));
        }

        #[test]
        fn any_header_leads_to_a_wait_within_its_bounds(header in ".{0,40}", jitter in any::<f64>()) {
            let asked = retry_after(&header, NOW);
            let at = next_attempt(1, NOW, asked, jitter);
            prop_assert!(at >= NOW + FIRST_WAIT.max(asked.unwrap_or_default()));
            prop_assert!(at <= NOW + LONGEST_RETRY_AFTER + LONGEST_WAIT);
        }
    }
}
