//! What a new key can be given on the command line, read and checked.

use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};

use crate::cli::error::CliError;
use crate::clock::Timestamp;
use crate::config::graph::{TENANT_EXPECTED, parse_tenant};
use crate::id::TenantId;

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

pub(super) fn tenant(text: &str) -> Result<TenantId, String> {
    parse_tenant(text).ok_or_else(|| format!("expected {TENANT_EXPECTED}"))
}

/// An address or a network, in the form in which peers are compared with it.
pub(super) fn peer(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    let net = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => text.parse::<IpNet>().map_err(|_error| {
            let is_name = text.contains(|c: char| c.is_ascii_alphabetic()) && !text.contains(':');
            let problem = if is_name {
                "host names cannot be used in this version; give"
            } else {
                "expected"
            };
            format!("{problem} an address such as 192.0.2.7 or a network such as 192.0.2.0/24")
        })?,
    };
    Ok(canonical(net).trunc())
}

/// A network of IPv4 addresses written as IPv6 is the IPv4 network, because that is how the
/// addresses of peers are compared.
fn canonical(net: IpNet) -> IpNet {
    let IpNet::V6(six) = net else { return net };
    let mapped = six.addr().to_ipv4_mapped().zip(six.prefix_len().checked_sub(96));
    let four = mapped.and_then(|(address, length)| Ipv4Net::new(address, length).ok());
    four.map_or(net, IpNet::V4)
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
    pub(super) fn after(self, now: Timestamp) -> Result<Timestamp, CliError> {
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
        Err(CliError::Usage(format!("--expires: {at} {problem}")))
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
        let unit = text.chars().next_back().ok_or(EXPECTED)?;
        let seconds: u64 = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 24 * 3600,
            'w' => 7 * 24 * 3600,
            _ => return Err(EXPECTED),
        };
        let digits = &text[..text.len() - 1];
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(EXPECTED);
        }
        let number: u64 = digits.parse().map_err(|_error| EXPECTED)?;
        // Too long for an u64 is too long for a key as well, and is refused as that.
        Ok(Self::In(Duration::from_secs(number.saturating_mul(seconds))))
    }
}

/// A network as people write it: one address alone is no network.
pub(super) fn shown(net: &IpNet) -> String {
    if net.prefix_len() == net.max_prefix_len() { net.addr().to_string() } else { net.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    #[test]
    fn a_peer_is_kept_in_the_form_it_is_compared_in() {
        for (given, kept) in [
            ("192.0.2.7", "192.0.2.7"),
            ("192.0.2.7/24", "192.0.2.0/24"),
            ("2001:DB8::1/32", "2001:db8::/32"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(peer(given).map(|net| shown(&net)), Ok(kept.to_owned()), "{given}");
        }
        assert!(peer("pbx.example.com").unwrap_err().starts_with("host names cannot"));
        for wrong in ["", "192.0.2", "192.0.2.0/33", "::1/129", "fe80::1%eth0"] {
            assert!(peer(wrong).unwrap_err().starts_with("expected an address"), "{wrong}");
        }
    }

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
