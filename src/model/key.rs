//! API keys and sessions as values; their secrets are not in here.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};

use crate::clock::Timestamp;
use crate::id::{KeyId, SessionId, TenantId};
use crate::model::number::pattern::NumberPattern;
use crate::model::rights::Right;
use crate::model::selector::IdentifierKind;

/// An API key, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub(crate) struct ApiKey {
    /// The store's own number of it.
    pub(crate) row: i64,
    pub(crate) id: KeyId,
    /// The store's own number of its tenant.
    pub(crate) tenant_row: i64,
    pub(crate) tenant: TenantId,
    pub(crate) name: String,
    /// Whom to ask about it.
    pub(crate) owner: Option<String>,
    pub(crate) requires_token: bool,
    pub(crate) rights: Vec<Right>,
    /// What it may name a call by; everything when empty.
    pub(crate) identifiers: Vec<IdentifierKind>,
    /// A call without a number or address that one of these fits does not exist for it; every call
    /// exists when empty.
    pub(crate) numbers: Vec<NumberPattern>,
    /// Who may use it; everybody when empty.
    pub(crate) peers: Vec<Peer>,
    pub(crate) post_only: bool,
    pub(crate) reason_required: bool,
    /// A password may come in the query string.
    pub(crate) query_passwords: bool,
    /// Its secret was given, not made here, and could be guessed.
    pub(crate) weak: bool,
    /// The key that takes its place.
    pub(crate) successor: Option<KeyId>,
    /// The first key of its line of successors, in the store's own numbers; its own when it is that.
    pub(crate) line_row: i64,
    pub(crate) created_at: Timestamp,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) revoked_at: Option<Timestamp>,
}

/// From where a key may be used.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Peer {
    /// An address or a network.
    Network(IpNet),
    /// Whatever addresses this name has, lower-case.
    Host(String),
}

impl ApiKey {
    /// It is neither revoked nor expired at `now`.
    pub(crate) fn is_valid_at(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|expiry| now < expiry)
    }

    /// `peer` may use it, as far as that can be told without asking for the addresses of names; an
    /// IPv4 address within IPv6 counts as the IPv4 address.
    pub(crate) fn allows(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        let contains =
            |allowed: &Peer| matches!(allowed, Peer::Network(net) if net.contains(&peer));
        self.peers.is_empty() || self.peers.iter().any(contains)
    }

    /// The names that it may be used from.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = &str> {
        self.peers.iter().filter_map(|peer| match peer {
            Peer::Host(name) => Some(name.as_str()),
            Peer::Network(_) => None,
        })
    }

    /// It has this right, whatever number comes with it.
    pub(crate) fn may(&self, right: Right) -> bool {
        self.rights.iter().any(|own| own.is_kind_of(right))
    }

    /// How many others `scope=all` may remove, the fewest when several numbers are said; none without
    /// the right to it.
    pub(crate) fn most_others(&self) -> Option<u32> {
        let most = self.rights.iter().filter_map(|right| match right {
            Right::ScopeAll(most) => Some(most.get()),
            _ => None,
        });
        most.min()
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(net) if net.prefix_len() == net.max_prefix_len() => net.addr().fmt(f),
            Self::Network(net) => net.fmt(f),
            Self::Host(name) => f.write_str(name),
        }
    }
}

/// What is neither an address, a network nor a host name.
#[derive(Debug, thiserror::Error)]
#[error(
    "expected an address such as 192.0.2.7, a network such as 192.0.2.0/24, or a host name such as \
     pbx.example.com"
)]
pub(crate) struct UnknownPeer;

/// Why an operator's text names no peer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeerProblem {
    /// It is nothing that can be a peer.
    #[error(transparent)]
    Unknown(#[from] UnknownPeer),
    /// It is an address with the length of a network; which of both was meant cannot be told.
    #[error("write {0} for the network, or {address} for the one address", address = .1)]
    HostBits(Peer, IpAddr),
}

impl Peer {
    /// What an operator writes. Unlike a stored one, it is not widened to the network that an
    /// address is in.
    ///
    /// # Errors
    ///
    /// What to write instead.
    pub(crate) fn written(text: &str) -> Result<Self, PeerProblem> {
        let peer = text.parse()?;
        match text.parse().map(canonical) {
            Ok(net) if net != net.trunc() => Err(PeerProblem::HostBits(peer, net.addr())),
            _ => Ok(peer),
        }
    }
}

/// Reads a stored one, or one that may be wider than what is written.
impl FromStr for Peer {
    type Err = UnknownPeer;

    fn from_str(text: &str) -> Result<Self, UnknownPeer> {
        if let Ok(net) = text.parse::<IpAddr>().map(IpNet::from).or_else(|_error| text.parse()) {
            return Ok(Self::Network(canonical(net).trunc()));
        }
        host_name(text).map(Self::Host).ok_or(UnknownPeer)
    }
}

/// A network of IPv4 addresses written as IPv6 is the IPv4 network, because that is how the
/// addresses of peers are compared.
fn canonical(net: IpNet) -> IpNet {
    let IpNet::V6(six) = net else { return net };
    let mapped = six.addr().to_ipv4_mapped().zip(six.prefix_len().checked_sub(96));
    let four = mapped.and_then(|(address, length)| Ipv4Net::new(address, length).ok());
    four.map_or(net, IpNet::V4)
}

/// A host name (RFC 1123), lower-case and without the dot at its end; none for what only looks like
/// an address.
fn host_name(text: &str) -> Option<String> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_numeric = last.bytes().all(|byte| byte.is_ascii_digit());
    (name.len() <= 253 && name.split('.').all(is_label) && !is_numeric).then_some(name)
}

/// A session that was opened with a token; the token is not in here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    /// The store's own number of it.
    pub(crate) row: i64,
    pub(crate) id: SessionId,
    /// The key it belongs to.
    pub(crate) key_row: i64,
    /// The store's own number of the user that it was opened for, when there was one.
    pub(crate) user_row: Option<i64>,
    /// The login it was opened with, when there was one.
    pub(crate) login: Option<String>,
    pub(crate) expires_at: Timestamp,
    pub(crate) released_at: Option<Timestamp>,
    pub(crate) user_disabled: bool,
}

impl Session {
    /// It may be used with this key at `now`.
    pub(crate) fn is_valid_for(&self, key: &ApiKey, now: Timestamp) -> bool {
        self.key_row == key.row
            && now < self.expires_at
            && self.released_at.is_none()
            && !self.user_disabled
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::rights::MostOthers;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn key() -> ApiKey {
        ApiKey {
            row: 1,
            id: KeyId::random(),
            tenant_row: 1,
            tenant: TenantId::new("contoso.example"),
            name: "phones".to_owned(),
            owner: None,
            requires_token: true,
            rights: vec![Right::DeleteCall],
            identifiers: Vec::new(),
            numbers: Vec::new(),
            peers: Vec::new(),
            post_only: false,
            reason_required: false,
            query_passwords: true,
            weak: false,
            successor: None,
            line_row: 1,
            created_at: NOW,
            expires_at: None,
            revoked_at: None,
        }
    }

    #[test]
    fn a_key_ends_exactly_at_its_expiry() {
        let key = ApiKey { expires_at: Some(NOW), ..key() };
        assert!(key.is_valid_at(NOW - Duration::from_millis(1)));
        assert!(!key.is_valid_at(NOW));
    }

    #[test]
    fn everybody_may_be_removed_by_who_has_the_right_and_up_to_the_fewest_that_it_says() {
        let most = |rights: &[&str]| {
            let rights = rights.iter().map(|right| right.parse().unwrap()).collect();
            let key = ApiKey { rights, ..key() };
            assert_eq!(
                key.may(Right::ScopeAll(MostOthers::USUAL)),
                key.most_others().is_some(),
                "{key:?}"
            );
            key.most_others()
        };
        assert_eq!(most(&["DeleteCall"]), None);
        assert_eq!(most(&["scope-all"]), Some(50));
        assert_eq!(most(&["scope-all", "DeleteCall", "scope-all:3", "scope-all:500"]), Some(3));
    }

    #[test]
    fn a_mapped_address_is_its_ipv4_address() {
        let key = ApiKey { peers: vec!["192.0.2.0/24".parse().unwrap()], ..key() };
        assert!(key.allows("192.0.2.7".parse().unwrap()));
        assert!(key.allows("::ffff:192.0.2.7".parse().unwrap()));
        assert!(!key.allows("198.51.100.1".parse().unwrap()));
        assert!(!key.allows("2001:db8::1".parse().unwrap()));
    }

    #[test]
    fn a_peer_is_kept_in_the_form_it_is_compared_in() {
        for (given, kept) in [
            ("192.0.2.7", "192.0.2.7"),
            ("192.0.2.7/24", "192.0.2.0/24"),
            ("2001:DB8::1/32", "2001:db8::/32"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
            ("::/0", "::/0"),
            ("PBX.example.com.", "pbx.example.com"),
            ("localhost", "localhost"),
            ("pbx_1.3com.example", "pbx_1.3com.example"),
        ] {
            let peer: Peer = given.parse().unwrap();
            assert_eq!(peer.to_string(), kept, "{given}");
            assert_eq!(kept.parse::<Peer>().unwrap(), peer);
        }
        let long = "a.".repeat(130);
        for wrong in [
            "",
            "192.0.2",
            "192.0.2.0/33",
            "::1/129",
            "fe80::1%eth0",
            "a b",
            "-a.example",
            "a..b",
            ".",
            "*.example.com",
            "host/24",
            "host:80",
            "1.2.3.4.5",
            "büro.example",
            &long,
        ] {
            assert!(wrong.parse::<Peer>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_address_with_the_length_of_a_network_is_not_written() {
        for (written, problem) in [
            ("10.0.0.1/8", "write 10.0.0.0/8 for the network, or 10.0.0.1 for the one address"),
            ("2001:db8::1/32", "write 2001:db8::/32 for the network, or 2001:db8::1 for the one"),
            ("::ffff:192.0.2.7/120", "write 192.0.2.0/24 for the network, or 192.0.2.7 for"),
            ("0.0.0.1/0", "write 0.0.0.0/0 for the network, or 0.0.0.1 for the one address"),
            ("192.0.2.0/33", "expected an address such as"),
        ] {
            let said = Peer::written(written).unwrap_err().to_string();
            assert!(said.starts_with(problem), "{written}: {said}");
        }
        for written in ["10.0.0.1", "10.0.0.1/32", "10.0.0.0/8", "::1/128", "::/0", "a.example"] {
            assert_eq!(Peer::written(written).unwrap(), written.parse().unwrap(), "{written}");
        }
    }

    #[test]
    fn a_session_is_bound_to_its_key_and_its_hour() {
        let session = Session {
            row: 1,
            id: SessionId::random(),
            key_row: 1,
            user_row: None,
            login: None,
            expires_at: NOW,
            released_at: None,
            user_disabled: false,
        };
        let before = NOW - Duration::from_millis(1);
        assert!(session.is_valid_for(&key(), before));
        assert!(!session.is_valid_for(&key(), NOW));
        assert!(!session.is_valid_for(&ApiKey { row: 2, ..key() }, before));
        assert!(!Session { user_disabled: true, ..session }.is_valid_for(&key(), before));
    }
}
