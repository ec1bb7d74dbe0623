//! API keys and sessions as values; their secrets are not in here.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::clock::Timestamp;
use crate::id::{KeyId, SessionId, TenantId};
use crate::model::rights::Right;

/// An API key, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiKey {
    /// The store's own number of it.
    pub(crate) row: i64,
    pub(crate) id: KeyId,
    /// The store's own number of its tenant.
    pub(crate) tenant_row: i64,
    pub(crate) tenant: TenantId,
    pub(crate) name: String,
    pub(crate) requires_token: bool,
    pub(crate) rights: Vec<Right>,
    /// Who may use it; everybody when empty.
    pub(crate) peers: Vec<IpNet>,
    pub(crate) post_only: bool,
    pub(crate) reason_required: bool,
    pub(crate) created_at: Timestamp,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) revoked_at: Option<Timestamp>,
}

impl ApiKey {
    /// It is neither revoked nor expired at `now`.
    pub(crate) fn is_valid_at(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|expiry| now < expiry)
    }

    /// `peer` may use it; an IPv4 address within IPv6 counts as the IPv4 address.
    pub(crate) fn allows(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.peers.is_empty() || self.peers.iter().any(|net| net.contains(&peer))
    }

    /// It has this right.
    pub(crate) fn may(&self, right: Right) -> bool {
        self.rights.contains(&right)
    }
}

/// A session that was opened with a token; the token is not in here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    /// The store's own number of it.
    pub(crate) row: i64,
    pub(crate) id: SessionId,
    /// The key it belongs to.
    pub(crate) key_row: i64,
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

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn key() -> ApiKey {
        ApiKey {
            row: 1,
            id: KeyId::random(),
            tenant_row: 1,
            tenant: TenantId::new("contoso.example"),
            name: "phones".to_owned(),
            requires_token: true,
            rights: vec![Right::DeleteCall],
            peers: Vec::new(),
            post_only: false,
            reason_required: false,
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
    fn a_mapped_address_is_its_ipv4_address() {
        let key = ApiKey { peers: vec!["192.0.2.0/24".parse().unwrap()], ..key() };
        assert!(key.allows("192.0.2.7".parse().unwrap()));
        assert!(key.allows("::ffff:192.0.2.7".parse().unwrap()));
        assert!(!key.allows("198.51.100.1".parse().unwrap()));
        assert!(!key.allows("2001:db8::1".parse().unwrap()));
    }

    #[test]
    fn a_session_is_bound_to_its_key_and_its_hour() {
        let session = Session {
            row: 1,
            id: SessionId::random(),
            key_row: 1,
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
