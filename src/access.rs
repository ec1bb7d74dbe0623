//! Who acts: the one place where rights are made.
//!
//! An [`Actor`] cannot be made elsewhere, so a function that takes one needs no check of its own and
//! cannot be called without one. "The store could not be asked" is never reported as a refusal.

use std::net::IpAddr;
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::keys::Keys;
use crate::model::key::{ApiKey, Session};
use crate::model::rights::Right;
use crate::secret::Secret;
use crate::sessions::Sessions;
use crate::store::error::StoreError;

/// Checks who a caller is.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    keys: Keys,
    sessions: Sessions,
}

/// A legacy client that proved its key and, where the key needs one, its token.
#[derive(Clone, Debug)]
pub(crate) struct Actor {
    key: Arc<ApiKey>,
    session: Option<Arc<Session>>,
    peer: IpAddr,
    generation: i64,
}

/// Why somebody is nobody.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum AccessError {
    /// The API key is missing, unknown, expired, revoked or not allowed from this address.
    #[error("the API key was not accepted: {0}")]
    Key(&'static str),
    /// The key needs a token, and none was sent.
    #[error("the key needs a token and none was sent")]
    TokenNeeded,
    /// The token is expired, unknown, released or of another key.
    #[error("the token was not accepted")]
    Token,
    /// It could not be told.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Access {
    /// Checks by these keys and sessions.
    pub(crate) fn new(keys: Keys, sessions: Sessions) -> Self {
        Self { keys, sessions }
    }

    /// The key that was sent, when it may be used from `peer` at `now`. One that is not in memory
    /// is looked for in the store; for one that is, nothing is awaited.
    ///
    /// # Errors
    ///
    /// [`AccessError::Key`]; the reason is for the log, never for the caller. Or it could not be
    /// told.
    pub(crate) async fn check_key(
        &self,
        api_key: Option<&Secret<String>>,
        peer: IpAddr,
        now: Timestamp,
    ) -> Result<CheckedKey, AccessError> {
        let api_key = api_key.ok_or(AccessError::Key("missing or malformed"))?;
        let (mut key, mut generation) = self.keys.find(api_key);
        if key.is_none() && Keys::could_make(api_key) {
            self.keys.look_again().await?;
            (key, generation) = self.keys.find(api_key);
        }
        let key = key.ok_or(AccessError::Key("unknown"))?;
        if key.revoked_at.is_some() {
            Err(AccessError::Key("revoked"))
        } else if !key.is_valid_at(now) {
            Err(AccessError::Key("expired"))
        } else if !key.allows(peer) {
            Err(AccessError::Key("not allowed from this address"))
        } else {
            Ok(CheckedKey { key, peer, generation })
        }
    }

    /// Who acts with this key and token at `now`.
    ///
    /// # Errors
    ///
    /// Nobody, or it could not be told.
    pub(crate) async fn check_token(
        &self,
        checked: CheckedKey,
        token: Token<'_>,
        now: Timestamp,
    ) -> Result<Actor, AccessError> {
        let CheckedKey { key, peer, generation } = checked;
        let mut session = None;
        if key.requires_token {
            let token = match token {
                Token::Absent => return Err(AccessError::TokenNeeded),
                Token::Malformed => return Err(AccessError::Token),
                Token::Sent(token) => token,
            };
            let found = self.sessions.find(token, generation).await?.ok_or(AccessError::Token)?;
            if !found.is_valid_for(&key, now) {
                return Err(AccessError::Token);
            }
            session = Some(found);
        }
        Ok(Actor { key, session, peer, generation })
    }

    /// Takes note of keys, users and sessions that changed.
    ///
    /// # Errors
    ///
    /// What was known stays known.
    pub(crate) async fn refresh(&self) -> Result<(), StoreError> {
        self.keys.refresh().await
    }
}

/// A key that was accepted; not yet somebody.
#[derive(Clone, Debug)]
pub(crate) struct CheckedKey {
    key: Arc<ApiKey>,
    peer: IpAddr,
    generation: i64,
}

impl CheckedKey {
    /// The key.
    pub(crate) fn key(&self) -> &ApiKey {
        &self.key
    }
}

/// What came as a token.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Token<'a> {
    /// None came.
    Absent,
    /// Something that can be no token.
    Malformed,
    /// This one, canonical.
    Sent(&'a Secret<String>),
}

impl Actor {
    /// The key that acts.
    pub(crate) fn key(&self) -> &ApiKey {
        &self.key
    }

    /// The session it acts in, where it needs one.
    pub(crate) fn session(&self) -> Option<&Session> {
        self.session.as_deref()
    }

    /// Where it acts from.
    pub(crate) const fn peer(&self) -> IpAddr {
        self.peer
    }

    /// The state of keys, users and sessions in which it was checked.
    pub(crate) const fn generation(&self) -> i64 {
        self.generation
    }

    /// It has this right.
    pub(crate) fn may(&self, right: Right) -> bool {
        self.key.may(right)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::Clock;
    use crate::id::TenantId;
    use crate::keys::KeyWish;
    use crate::sessions::LIFETIME;
    use crate::store::fixture::{API_KEY, Fixture, NOW, TENANT, open};
    use crate::store::sqlite::Missing;

    const PEER: &str = "192.0.2.7";
    const OTHER_KEY: &str = "6b1f0000-0000-4000-8000-000000000001";

    fn access(there: &Fixture) -> (Access, Sessions) {
        let keys = Keys::new(there.store.clone(), there.pepper.clone(), Clock::manual(NOW));
        let sessions = Sessions::new(there.store.clone(), there.pepper.clone(), Clock::manual(NOW));
        (Access::new(keys, sessions.clone()), sessions)
    }

    /// Who acts with the one key of `there`, for the tests of what takes an actor.
    pub(crate) async fn actor(there: &Fixture) -> Actor {
        let (access, _) = access(there);
        access.refresh().await.unwrap();
        let secret = Secret::new(API_KEY.to_owned());
        let checked = access.check_key(Some(&secret), PEER.parse().unwrap(), NOW).await.unwrap();
        access.check_token(checked, Token::Absent, NOW).await.unwrap()
    }

    #[tokio::test]
    async fn a_key_is_accepted_while_it_is_valid_and_from_where_it_may_be_used() {
        for (change, expected) in [
            ("last_used_at = 5", None),
            ("peers = '192.0.2.0/24 2001:db8::/32'", None),
            ("peers = '198.51.100.0/24'", Some("not allowed from this address")),
            ("expires_at = 1790000000001", None),
            ("expires_at = 1790000000000", Some("expired")),
            ("revoked_at = 5", Some("revoked")),
            ("hash = zeroblob(32)", Some("unknown")),
        ] {
            let there = Fixture::new().await;
            there.by_hand(&format!("UPDATE keys SET {change}"));
            let (access, _) = access(&there);
            access.refresh().await.unwrap();
            let secret = Secret::new(API_KEY.to_owned());
            let checked = access.check_key(Some(&secret), PEER.parse().unwrap(), NOW).await;
            let refused = match checked {
                Ok(_) => None,
                Err(AccessError::Key(why)) => Some(why),
                Err(error) => panic!("{error}"),
            };
            assert_eq!(refused, expected, "{change}");
        }
    }

    #[tokio::test]
    async fn a_key_that_another_process_made_counts_at_once() {
        let there = Fixture::new().await;
        let (access, _) = access(&there);
        access.refresh().await.unwrap();
        let check = async |secret: &Secret<String>| {
            access.check_key(Some(secret), PEER.parse().unwrap(), NOW).await
        };
        let (other, pepper) = open(there.path().parent().unwrap(), Missing::Refuse);
        let wish = KeyWish {
            name: "made elsewhere".to_owned(),
            tenant: TenantId::new(TENANT),
            requires_token: false,
            rights: Vec::new(),
            peers: Vec::new(),
            post_only: false,
            reason_required: false,
            expires_at: None,
        };
        let (_, secret) = Keys::new(other, pepper, Clock::System).create(wish).await.unwrap();
        assert!(check(&secret).await.is_ok());
    }

    #[tokio::test]
    async fn while_the_store_fails_a_key_it_may_have_is_not_called_unknown() {
        let there = Fixture::new().await;
        let (access, _) = access(&there);
        access.refresh().await.unwrap();
        there.by_hand("ALTER TABLE access_generation RENAME TO hidden");
        let check = async |secret: &str| {
            let secret = Secret::new(secret.to_owned());
            access.check_key(Some(&secret), PEER.parse().unwrap(), NOW).await
        };
        assert!(matches!(check(OTHER_KEY).await, Err(AccessError::Store(_))));
        assert!(matches!(check("no key of ours").await, Err(AccessError::Key("unknown"))));
        assert!(check(API_KEY).await.is_ok(), "it is in memory");
    }

    #[tokio::test]
    async fn a_token_counts_for_its_own_key_within_its_hour_and_only_where_one_is_needed() {
        let there = Fixture::new().await;
        let (other, _) = there.make_key(OTHER_KEY).await;
        there.by_hand("UPDATE keys SET requires_token = 1");
        let (access, sessions) = access(&there);
        access.refresh().await.unwrap();
        let own = sessions.create(there.key).await.unwrap().unwrap().token;
        let foreign = sessions.create(other).await.unwrap().unwrap().token;
        let secret = Secret::new(API_KEY.to_owned());
        let check = async |token, now| {
            let checked =
                access.check_key(Some(&secret), PEER.parse().unwrap(), NOW).await.unwrap();
            match access.check_token(checked, token, now).await {
                Ok(actor) if actor.session().is_some() => "session",
                Ok(_) => "no session",
                Err(AccessError::TokenNeeded) => "needed",
                Err(AccessError::Token) => "refused",
                Err(error) => panic!("{error}"),
            }
        };
        let end = NOW + LIFETIME;
        let before = end - Duration::from_millis(1);
        for (token, now, expected) in [
            (Token::Sent(&own), before, "session"),
            (Token::Sent(&own), end, "refused"),
            (Token::Sent(&foreign), NOW, "refused"),
            (Token::Sent(&secret), NOW, "refused"),
            (Token::Malformed, NOW, "refused"),
            (Token::Absent, NOW, "needed"),
        ] {
            assert_eq!(check(token, now).await, expected, "{token:?} {now}");
        }
        there.by_hand("UPDATE keys SET requires_token = 0");
        access.refresh().await.unwrap();
        for token in [Token::Sent(&foreign), Token::Malformed, Token::Absent] {
            assert_eq!(check(token, NOW).await, "no session", "{token:?}");
        }
    }

    #[tokio::test]
    async fn a_store_that_cannot_be_asked_is_no_refusal() {
        let there = Fixture::new().await;
        there.by_hand("UPDATE keys SET requires_token = 1");
        let (access, _) = access(&there);
        access.refresh().await.unwrap();
        let secret = Secret::new(API_KEY.to_owned());
        let checked = access.check_key(Some(&secret), PEER.parse().unwrap(), NOW).await.unwrap();
        there.by_hand("ALTER TABLE sessions RENAME TO elsewhere");
        let nobody = access.check_token(checked, Token::Sent(&secret), NOW).await;
        assert!(matches!(nobody, Err(AccessError::Store(_))), "{nobody:?}");
    }
}
