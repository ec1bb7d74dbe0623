//! The rate of one tenant: a bucket that fills as time goes by.
//!
//! It holds a tenth of a second's worth, and one request at least, so that what has waited does not come all
//! at once.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::config::graph::Rate;

/// So much time's worth it holds.
const DEPTH: Duration = Duration::from_millis(100);

/// How many requests may begin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    rate: Rate,
    tokens: f64,
    at: Timestamp,
}

impl Bucket {
    /// One that nothing was taken from.
    pub(super) fn full(rate: Rate, now: Timestamp) -> Self {
        Self { rate, tokens: Self::depth(rate), at: now }
    }

    /// How many requests may begin now.
    pub(super) fn whole(&mut self, now: Timestamp) -> usize {
        self.fill(now);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is neither negative nor above the depth"
        )]
        let whole = self.tokens.max(0.0) as usize;
        whole
    }

    /// So many begin.
    pub(super) fn take(&mut self, count: usize) {
        self.tokens -= number(count);
    }

    /// So many were taken and did not begin.
    pub(super) fn give_back(&mut self, count: usize) {
        self.tokens = (self.tokens + number(count)).min(Self::depth(self.rate));
    }

    /// When one may begin; none when that is now.
    pub(super) fn next(&mut self, now: Timestamp) -> Option<Timestamp> {
        self.fill(now);
        let lacks = 1.0 - self.tokens;
        // A millisecond more, because a time has no finer parts.
        (lacks > 0.0).then(|| now + self.rate.time_for(lacks) + Duration::from_millis(1))
    }

    fn fill(&mut self, now: Timestamp) {
        // A clock that was set back costs what would have come meanwhile, and no more.
        let come = self.rate.within(now.since(self.at));
        self.tokens = (self.tokens + come).min(Self::depth(self.rate));
        self.at = now;
    }

    fn depth(rate: Rate) -> f64 {
        rate.within(DEPTH).max(1.0)
    }
}

fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp(1_795_000_000_000);

    #[test]
    fn it_fills_with_time_and_holds_a_tenth_of_a_second() {
        let rate = Rate::parse("50/s").unwrap();
        let mut bucket = Bucket::full(rate, NOW);
        assert_eq!((bucket.whole(NOW), bucket.next(NOW)), (5, None));
        bucket.take(5);
        assert_eq!(bucket.whole(NOW), 0);
        assert_eq!(bucket.next(NOW), Some(NOW + Duration::from_millis(21)));
        assert_eq!(bucket.whole(NOW + Duration::from_millis(21)), 1);
        bucket.give_back(1);
        assert_eq!(bucket.whole(NOW + Duration::from_mins(1)), 5, "no more than that");
        bucket.take(5);
        assert_eq!(bucket.whole(NOW - Duration::from_hours(1)), 0, "the clock was set back");
        assert_eq!(bucket.whole(NOW - Duration::from_mins(59)), 5);
        let mut slow = Bucket::full(Rate::parse("1/m").unwrap(), NOW);
        assert_eq!(slow.whole(NOW), 1);
        slow.take(1);
        assert_eq!(slow.whole(NOW + Duration::from_secs(59)), 0);
        assert_eq!(slow.whole(NOW + Duration::from_millis(60_001)), 1);
    }

    proptest! {
        #[test]
        fn in_no_time_more_begin_than_the_rate_and_the_depth(
            count in 1_u32..2000,
            steps in proptest::collection::vec((0_u64..400, 0_usize..50), 1..60),
        ) {
            let rate = Rate::parse(&format!("{count}/s")).unwrap();
            let (mut now, mut begun) = (NOW, 0_usize);
            let mut bucket = Bucket::full(rate, NOW);
            for (wait, wanted) in steps {
                now = now + Duration::from_millis(wait);
                let begins = bucket.whole(now).min(wanted);
                bucket.take(begins);
                begun += begins;
                let most = rate.within(now.since(NOW)) + Bucket::depth(rate);
                prop_assert!(number(begun) <= most + 0.001, "{begun} of {most}");
            }
        }
    }
}
