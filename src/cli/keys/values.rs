//! What a new key can be given, on the command line or in a file, read and checked.

use std::str::FromStr;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::config::graph::{TENANT_EXPECTED, parse_tenant};
use crate::id::TenantId;
use crate::model::key::{Peer, PeerProblem};
use crate::model::rights::Right;

/// No key outlives this; what is further away was not meant.
const LONGEST: Duration = Duration::from_hours(24 * 365 * 100);

/// A name without blanks around it.
pub(super) fn key_name(text: &str) -> Result<String, String> {
    if text.chars().any(char::is_control) {
        return Err("a name has no control characters".to_owned());
    }
    let name = text.trim();
    match name.chars().count() {
        3..=128 => Ok(name.to_owned()),
        count => Err(format!("a name has 3 to 128 characters, this one has {count}")),
    }
}

/// Whom to ask, without blanks around it.
pub(super) fn owner(text: &str) -> Result<String, String> {
    let owner = text.trim();
    if text.chars().any(char::is_control) {
        return Err("an owner has no control characters".to_owned());
    }
    match owner.chars().count() {
        1..=256 => Ok(owner.to_owned()),
        count => Err(format!("an owner has 1 to 256 characters, this one has {count}")),
    }
}

/// Rights that do something together.
///
/// # Errors
///
/// What is wrong with `scope-all` among them: it says how far a `DeleteCall` may go, once.
pub(super) fn check_scope_all(rights: &[Right]) -> Result<(), &'static str> {
    match rights.iter().filter(|right| matches!(right, Right::ScopeAll(_))).count() {
        0 => Ok(()),
        1 if rights.contains(&Right::DeleteCall) => Ok(()),
        1 => Err("scope-all does nothing without DeleteCall; give both"),
        _ => Err("scope-all is there twice with different numbers; keep one of them"),
    }
}

/// A tenant's GUID or domain.
pub(in crate::cli) fn tenant(text: &str) -> Result<TenantId, String> {
    parse_tenant(text).ok_or_else(|| format!("expected {TENANT_EXPECTED}"))
}

/// From where a key may be used.
pub(super) fn peer(text: &str) -> Result<Peer, PeerProblem> {
    Peer::written(text.trim())
}

/// When a key ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expiry {
    /// At this instant.
    At(Timestamp),
    /// So long from when the key is made.
    In(Duration),
}

impl Expiry {
    /// The instant for a key that is made at `now`.
    ///
    /// # Errors
    ///
    /// When it does not lie ahead, or so far ahead that it was not meant.
    pub(super) fn after(self, now: Timestamp) -> Result<Timestamp, String> {
        let at = match self {
            Self::At(at) => at,
            Self::In(duration) => now + duration,
        };
        let problem = if at <= now {
            "lies in the past"
        } else if at > now + LONGEST {
            "is more than a hundred years away"
        } else {
            return Ok(at);
        };
        Err(format!("{at} {problem}"))
    }
}

impl FromStr for Expiry {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected a date and time with an offset such as \
                                2027-01-31T00:00:00Z, or a duration such as 12h, 90d or 52w";
        if let Ok(at) = Timestamp::parse(text) {
            return Ok(Self::At(at));
        }
        duration(text).map(Self::In).ok_or(EXPECTED)
    }
}

/// A whole number with its unit, such as 12h; what is longer than time is the longest there is.
pub(in crate::cli) fn duration(text: &str) -> Option<Duration> {
    let seconds: u64 = match text.chars().next_back()? {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 24 * 3600,
        'w' => 7 * 24 * 3600,
        _ => return None,
    };
    let digits = &text[..text.len() - 1];
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    // Too long for an u64 is too long for a key as well, and is refused as that.
    Some(Duration::from_secs(number.saturating_mul(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    #[test]
    fn an_expiry_is_an_instant_or_a_duration_and_lies_ahead() {
        let after = |text: &str| text.parse::<Expiry>().map(|expiry| expiry.after(NOW).ok());
        assert_eq!(after("90d"), Ok(Some(NOW + Duration::from_hours(90 * 24))));
        assert_eq!(after("2w"), Ok(Some(NOW + Duration::from_hours(14 * 24))));
        assert_eq!(after("2027-01-31T00:00:00+01:00"), Ok(Some(Timestamp(1_801_350_000_000))));
        for refused in ["0s", "2020-01-01T00:00:00Z", "99999999999999999999w", "101000w"] {
            assert!(!matches!(after(refused), Ok(Some(_))), "{refused}");
        }
        for wrong in ["", "d", "90", "-1d", "+1d", "1.5d", "90 d", "90日", "2027-01-31"] {
            assert!(after(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_name_has_3_to_128_characters_whatever_their_length_in_bytes() {
        assert_eq!(key_name(" äöü ").as_deref(), Ok("äöü"));
        assert!(key_name(&"ä".repeat(128)).is_ok());
        assert!(key_name(&"a".repeat(129)).is_err());
        assert!(key_name("ab").is_err());
        assert!(key_name("a\tb\nc").is_err());
    }
}
