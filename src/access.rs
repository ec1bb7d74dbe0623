//! Who acts: the one place where rights are made.
//!
//! An [`Actor`] cannot be made elsewhere, so a function that takes one needs no check of its own and
//! cannot be called without one. "The store could not be asked" is never reported as a refusal.

pub(crate) mod brakes;
pub(crate) mod hosts;
mod login;
mod token;

use std::net::IpAddr;
use std::sync::Arc;

use self::brakes::{Brakes, Policy};
use self::hosts::{Hosts, Standing};
pub(crate) use self::login::LoginError;
pub(crate) use self::token::{Token, TokenRefusal};
use crate::clock::Timestamp;
use crate::keys::Keys;
use crate::model::key::{ApiKey, Session};
use crate::model::rights::Right;
use crate::secret::Secret;
use crate::sessions::Sessions;
use crate::store::access::{AuditEntry, Checked};
use crate::store::error::StoreError;
use crate::users::Users;

/// Checks who a caller is. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    keys: Keys,
    sessions: Sessions,
    users: Users,
    hosts: Hosts,
    brakes: Brakes,
}

/// A legacy client that proved its key and, where the key needs one, its token.
#[derive(Clone, Debug)]
pub(crate) struct Actor {
    checked: Checked,
    peer: IpAddr,
}

/// Why somebody is nobody.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum AccessError {
    /// The API key is missing, unknown, expired, revoked or not allowed from this address.
    #[error("the API key was not accepted: {}", .0.cause)]
    Key(KeyRefusal),
    /// The key needs a token, and none was sent.
    #[error("the key needs a token and none was sent")]
    TokenNeeded,
    /// The token is expired, unknown, released or of another key, or its user is disabled: which is
    /// for the record.
    #[error("the token was not accepted: {}", .0.cause)]
    Token(TokenRefusal),
    /// It could not be told.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Whether the key may be used from this address could not be told: its names have no addresses.
    #[error("the host names of the API key cannot be resolved")]
    Hosts(Arc<ApiKey>),
}

/// A key that was not accepted. There is one answer for all of them; the rest is for log and record.
#[derive(Clone, Debug)]
pub(crate) struct KeyRefusal {
    /// `missing`, `malformed`, `unknown`, `revoked`, `expired` or `address`.
    pub(crate) cause: &'static str,
    /// The key, where there is one.
    pub(crate) key: Option<Arc<ApiKey>>,
    /// So many came from this address lately that they are no longer logged one by one.
    pub(crate) is_braked: bool,
}

impl Access {
    /// Checks by these keys, sessions, users and host names.
    pub(crate) fn new(keys: Keys, sessions: Sessions, users: Users, hosts: Hosts) -> Self {
        Self { keys, sessions, users, hosts, brakes: Brakes::new(Policy::default()) }
    }

    /// The key that was sent, when it may be used from `peer` at `now`.
    ///
    /// # Errors
    ///
    /// [`AccessError::Key`], which takes as long whatever is wrong with a key that could be one; or
    /// it could not be told.
    pub(crate) async fn check_key(
        &self,
        api_key: Option<&Secret<String>>,
        peer: IpAddr,
        now: Timestamp,
    ) -> Result<CheckedKey, AccessError> {
        let peer = peer.to_canonical();
        let api_key = api_key.ok_or_else(|| self.refusal("missing", None, peer))?;
        if !Keys::could_make(api_key) {
            return Err(self.refusal("malformed", None, peer));
        }
        if let Ok(checked) = self.judge(api_key, peer, now) {
            return Ok(checked);
        }
        // It may have been made or changed a moment ago. Whatever is wrong with it, it is looked for
        // once more, so that the time tells nobody whether there is such a key.
        self.keys.look_again().await?;
        match self.judge(api_key, peer, now) {
            Err(NotYet::Hosts(key)) => {
                self.hosts.ask(key.hosts()).await;
                self.judge(api_key, peer, now)
            }
            judged => judged,
        }
        .map_err(|not_yet| match not_yet {
            NotYet::Refused(cause, key) => self.refusal(cause, key, peer),
            NotYet::Hosts(key) => AccessError::Hosts(key),
        })
    }

    /// By what is known in memory.
    fn judge(
        &self,
        api_key: &Secret<String>,
        peer: IpAddr,
        now: Timestamp,
    ) -> Result<CheckedKey, NotYet> {
        let (key, generation) = self.keys.find(api_key);
        let key = key.ok_or(NotYet::Refused("unknown", None))?;
        if key.revoked_at.is_some() {
            return Err(NotYet::Refused("revoked", Some(key)));
        }
        if !key.is_valid_at(now) {
            return Err(NotYet::Refused("expired", Some(key)));
        }
        if !key.allows(peer) {
            match self.hosts.standing(key.hosts(), peer) {
                Standing::Inside => {}
                Standing::Outside => return Err(NotYet::Refused("address", Some(key))),
                Standing::Unknown => return Err(NotYet::Hosts(key)),
            }
        }
        Ok(CheckedKey { key, peer, generation })
    }

    fn refusal(&self, cause: &'static str, key: Option<Arc<ApiKey>>, peer: IpAddr) -> AccessError {
        AccessError::Key(KeyRefusal { cause, key, is_braked: self.brakes.bad_key(peer) })
    }

    /// Who acts with this key and token at `now`. A token counts where the key needs one, or the
    /// action does.
    ///
    /// # Errors
    ///
    /// Nobody, or it could not be told.
    pub(crate) async fn check_token(
        &self,
        checked: CheckedKey,
        token: Token<'_>,
        is_needed: bool,
        now: Timestamp,
    ) -> Result<Actor, AccessError> {
        let CheckedKey { key, peer, generation } = checked;
        let session = if is_needed || key.requires_token {
            Some(self.session(&key, generation, token, now).await?)
        } else {
            None
        };
        let login = session.as_ref().and_then(|session| session.login.as_deref());
        self.keys.used(&key, peer, login);
        Ok(Actor { checked: Checked { generation, key, session }, peer })
    }

    async fn session(
        &self,
        key: &ApiKey,
        generation: i64,
        token: Token<'_>,
        now: Timestamp,
    ) -> Result<Arc<Session>, AccessError> {
        let token = match token {
            Token::Absent => return Err(AccessError::TokenNeeded),
            Token::Malformed => return Err(AccessError::Token(TokenRefusal::unknown("malformed"))),
            Token::Sent(token) => token,
        };
        let found = self.sessions.find(token, generation).await?;
        let session = found.ok_or(AccessError::Token(TokenRefusal::unknown("unknown")))?;
        token::judge(session, key, now).map_err(AccessError::Token)
    }

    /// Ends the session that the actor acts in; gives false when it had ended by then.
    ///
    /// # Errors
    ///
    /// The session is as it was.
    pub(crate) async fn release(
        &self,
        actor: &Actor,
        entry: AuditEntry,
    ) -> Result<bool, StoreError> {
        match actor.session() {
            Some(session) => self.sessions.end(session.id, entry).await,
            None => Ok(false),
        }
    }

    /// Takes note of keys, users and sessions that changed.
    ///
    /// # Errors
    ///
    /// What was known stays known.
    pub(crate) async fn refresh(&self) -> Result<(), StoreError> {
        self.keys.refresh().await
    }

    /// Resolves the host names of all keys that are valid at `now`.
    pub(crate) async fn resolve_hosts(&self, now: Timestamp) {
        let keys = self.keys.all();
        let valid = keys.iter().filter(|key| key.is_valid_at(now));
        let names = valid.flat_map(|key| key.hosts()).map(str::to_owned).collect();
        self.hosts.refresh(names).await;
    }
}

/// A key that is not accepted by what is known.
enum NotYet {
    Refused(&'static str, Option<Arc<ApiKey>>),
    /// Its host names have no addresses.
    Hosts(Arc<ApiKey>),
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

impl Actor {
    /// The key that acts.
    pub(crate) fn key(&self) -> &ApiKey {
        &self.checked.key
    }

    /// The session it acts in, where it needs one.
    pub(crate) fn session(&self) -> Option<&Session> {
        self.checked.session.as_deref()
    }

    /// What it was checked against, for the transaction that acts for it.
    pub(crate) fn checked(&self) -> Checked {
        self.checked.clone()
    }

    /// Where it acts from.
    pub(crate) const fn peer(&self) -> IpAddr {
        self.peer
    }

    /// It has this right.
    pub(crate) fn may(&self, right: Right) -> bool {
        self.checked.key.may(right)
    }
}

#[cfg(test)]
pub(crate) mod tests;
