//! `graph.rate`: how many operations are sent in a second or a minute.

use std::time::Duration;

use crate::config::source::Source;
use crate::config::value::Expected;

/// More is no limit that anybody would notice.
const MOST: u32 = 100_000;
const EXPECTED: &str = "a rate such as 50/s or 600/m, from 1 to 100000 in a second or a minute";

/// So many in so long a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    count: u32,
    per: Duration,
}

impl Rate {
    /// Reads the configured value.
    pub(super) fn read(from: &mut Source) -> Option<Self> {
        from.optional("graph.rate", |text| Self::parse(text).ok_or_else(|| Expected::new(EXPECTED)))
    }

    /// Reads `50/s` or `600/m`; none when it is neither, or more or less than is allowed.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (count, unit) = text.split_once('/')?;
        let per = match unit {
            "s" => Duration::from_secs(1),
            "m" => Duration::from_mins(1),
            _ => return None,
        };
        let count = Some(count).filter(|count| count.bytes().all(|byte| byte.is_ascii_digit()))?;
        let count = count.parse().ok().filter(|count| (1..=MOST).contains(count))?;
        Some(Self { count, per })
    }

    /// How many come in `time`, parts of one included.
    pub(crate) fn within(self, time: Duration) -> f64 {
        f64::from(self.count) * time.as_secs_f64() / self.per.as_secs_f64()
    }

    /// How long so many take to come.
    pub(crate) fn time_for(self, count: f64) -> Duration {
        self.per.mul_f64(count.max(0.0) / f64::from(self.count))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_rate_is_a_number_in_a_second_or_in_a_minute() {
        for (text, second) in [
            ("50/s", Some(50.0)),
            ("600/m", Some(10.0)),
            ("1/m", Some(1.0 / 60.0)),
            ("100000/s", Some(100_000.0)),
            ("100001/s", None),
            ("0/s", None),
            ("-1/s", None),
            ("+1/s", None),
            ("1.5/s", None),
            ("50", None),
            ("50/", None),
            ("50/h", None),
            ("50 / s", None),
            ("/s", None),
            ("99999999999999999999/s", None),
        ] {
            let rate = Rate::parse(text);
            assert_eq!(rate.map(|rate| rate.within(Duration::from_secs(1))), second, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[0-9/sm]{0,8}|.{0,12}") {
            if let Some(rate) = Rate::parse(&text) {
                prop_assert!(rate.within(Duration::from_mins(1)) >= 1.0);
            }
        }

        #[test]
        fn what_comes_in_a_time_takes_that_time(count in 1_u32..=100_000, wait in 1_u64..86_400_000) {
            let rate = Rate::parse(&format!("{count}/m")).unwrap();
            let wait = Duration::from_millis(wait);
            let back = rate.time_for(rate.within(wait));
            prop_assert!(back.abs_diff(wait) < Duration::from_millis(1), "{back:?}");
        }
    }
}
