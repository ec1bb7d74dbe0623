//! What can be wrong with an answer, and every form in which a server asks for patience.

use jiff::Timestamp;
use jiff::fmt::strtime;

use crate::support::Seeded;

/// Nothing is tried for longer than this.
const MONTH: i64 = 30 * 24 * 60 * 60 * 1000;

/// What happens to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Graph does not see it, and somebody answers with this status and a page.
    Answer { status: u16, patience: Patience },
    /// The connection is reset; Graph does not see the request.
    ResetBefore,
    /// Graph does what it is asked, and the connection is reset.
    ResetAfter,
    /// Nothing comes back, and Graph does not see the request.
    SilenceBefore,
    /// Graph does what it is asked, and nothing comes back.
    SilenceAfter,
    /// Graph's answer comes a byte at a time, and takes longer than anybody waits.
    Drip,
    /// Somebody names another host.
    Redirect { status: u16 },
}

/// What is in `Retry-After`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    NotSaid,
    Seconds,
    Decimal,
    Date,
    OldDate,
    PastDate,
    Zero,
    Negative,
    Absurd,
    Junk,
}

impl Patience {
    pub(super) const ALL: [Self; 10] = [
        Self::NotSaid,
        Self::Seconds,
        Self::Decimal,
        Self::Date,
        Self::OldDate,
        Self::PastDate,
        Self::Zero,
        Self::Negative,
        Self::Absurd,
        Self::Junk,
    ];

    /// The header's value, and before when nothing may be sent again; in milliseconds, as `now`.
    pub(super) fn said(self, now: i64) -> (Option<String>, Option<i64>) {
        let date = |form: &str, at: i64| {
            let at = Timestamp::from_second(at.div_euclid(1000)).expect("it is near");
            strtime::format(form, at).expect("the form is known")
        };
        let later = now + 7_000;
        match self {
            Self::NotSaid => (None, None),
            Self::Seconds => (Some("3".to_owned()), Some(now + 3_000)),
            Self::Decimal => (Some("2.128".to_owned()), Some(now + 2_128)),
            Self::Date => {
                let text = date("%a, %d %b %Y %H:%M:%S GMT", later);
                (Some(text), Some(later.div_euclid(1000) * 1000))
            }
            Self::OldDate => {
                let text = date("%A, %d-%b-%y %H:%M:%S GMT", later);
                (Some(text), Some(later.div_euclid(1000) * 1000))
            }
            Self::PastDate => (Some("Sun, 06 Nov 1994 08:49:37 GMT".to_owned()), None),
            Self::Zero => (Some("0".to_owned()), None),
            Self::Negative => (Some("-5".to_owned()), None),
            Self::Absurd => (Some("99999999999999999999".to_owned()), Some(now + MONTH)),
            Self::Junk => (Some("soon; NaN".to_owned()), None),
        }
    }

    /// It asks for a time, so whoever says it has not done what was asked.
    fn is_understood(self) -> bool {
        !matches!(self, Self::NotSaid | Self::Negative | Self::Junk)
    }
}

impl Fault {
    /// One of all.
    pub(super) fn any(seeded: &mut Seeded) -> Self {
        let patience = Patience::ALL[seeded.below(Patience::ALL.len())];
        match seeded.below(12) {
            0..=2 => Self::Answer { status: 429, patience },
            3 => Self::Answer { status: 500, patience: Patience::NotSaid },
            4 => Self::Answer { status: 502, patience: Patience::NotSaid },
            5 | 6 => Self::Answer { status: 503, patience },
            7 => Self::ResetBefore,
            8 => Self::ResetAfter,
            9 if seeded.percent(50) => Self::SilenceBefore,
            9 => Self::SilenceAfter,
            10 => Self::Drip,
            _ => Self::Redirect { status: [301, 302, 303, 307, 308][seeded.below(5)] },
        }
    }

    /// Graph has done what it was asked.
    pub(super) fn is_after_the_effect(&self) -> bool {
        matches!(self, Self::ResetAfter | Self::SilenceAfter | Self::Drip)
    }

    /// Whoever got this knows that nothing was done, and may invite again.
    pub(super) fn says_that_nothing_was_done(&self) -> bool {
        match self {
            Self::Answer { status: 429, .. } => true,
            Self::Answer { status: 503, patience } => patience.is_understood(),
            _ => false,
        }
    }

    /// What it is counted as.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Answer { status: status @ (429 | 503), patience } => {
                format!("{status} {patience:?}")
            }
            Self::Answer { status, .. } => status.to_string(),
            Self::Redirect { .. } => "Redirect".to_owned(),
            other => format!("{other:?}"),
        }
    }
}
