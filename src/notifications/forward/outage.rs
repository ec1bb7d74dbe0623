//! What the log says of a bot that does not answer: one line when that begins, one a minute while it
//! lasts, one when it is over. A bot that comes and goes has one line a second at most.

use std::time::Duration;

use tokio::time::Instant;

/// Between two lines about one outage.
const REPEATED: Duration = Duration::from_mins(1);
/// Between two lines of any kind.
const PAUSE: Duration = Duration::from_secs(1);

/// What was said of the bot, and what was not.
#[derive(Debug, Default)]
pub(super) struct Outage {
    /// The last line said that the bot does not answer.
    is_said: bool,
    said_at: Option<Instant>,
    /// What the bot missed since the last line.
    missed: u64,
}

impl Outage {
    /// The bot missed a notification; how many it missed since the last line, when one is due.
    pub(super) fn missed(&mut self, now: Instant) -> Option<u64> {
        self.missed += 1;
        self.say(true, now, if self.is_said { REPEATED } else { PAUSE })
    }

    /// The bot answered; how many it missed since the last line, when that is worth another.
    pub(super) fn answered(&mut self, now: Instant) -> Option<u64> {
        if self.is_said { self.say(false, now, PAUSE) } else { None }
    }

    fn say(&mut self, is_out: bool, now: Instant, pause: Duration) -> Option<u64> {
        if self.said_at.is_some_and(|at| now.saturating_duration_since(at) < pause) {
            return None;
        }
        self.is_said = is_out;
        self.said_at = Some(now);
        Some(std::mem::take(&mut self.missed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(1);

    #[test]
    fn an_outage_has_a_line_at_its_beginning_each_minute_and_at_its_end() {
        let (mut outage, start) = (Outage::default(), Instant::now());
        assert_eq!(outage.answered(start), None);
        assert_eq!(outage.missed(start), Some(1));
        for _ in 0..1000 {
            assert_eq!(outage.missed(start + REPEATED - TICK), None);
        }
        assert_eq!(outage.missed(start + REPEATED), Some(1001));
        assert_eq!(outage.missed(start + REPEATED + TICK), None);
        let end = start + REPEATED + PAUSE;
        assert_eq!(outage.answered(end), Some(1));
        assert_eq!(outage.answered(end + PAUSE), None);
        assert_eq!(outage.missed(end + PAUSE), Some(1));
    }

    #[test]
    fn a_bot_that_comes_and_goes_has_one_line_a_second() {
        let (mut outage, start) = (Outage::default(), Instant::now());
        let (mut lines, mut missed) = (0, 0);
        for tick in 0..10_000 {
            let now = start + tick * TICK;
            for count in [outage.missed(now), outage.answered(now)].into_iter().flatten() {
                (lines, missed) = (lines + 1, missed + count);
            }
        }
        assert_eq!(lines, 10);
        assert!(missed > 9_000, "{missed}");
    }
}
