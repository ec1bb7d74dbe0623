//! The proof that a notification comes from Graph's calling service: the token beside it.
//!
//! Of a token nothing is believed before its signature. That is checked with a key out of the
//! [`KeySet`] and with nothing that the token brings along, by RS256 and by nothing that the token
//! asks for instead. Its claims are then compared with the configuration and the clock. This is
//! done here and not by a JWT library: time is an argument, names are compared without a slash at
//! the end, the tenant has two names; what such a library would still do is to split three parts.

use std::sync::Arc;

use tokio::sync::watch;

use crate::clock::Clock;
use crate::config::notifications::NotificationsConfig;
use crate::graph::ClientError;
use crate::health::Health;
use crate::id::TenantId;
use crate::notifications::keys::{KeyMissing, KeySet};
use crate::notifications::token::claims::Expectations;
use crate::notifications::token::parts::Token;

mod claims;
mod parts;
pub(crate) mod self_test;

/// Says of each notification whether Graph's calling service sent it. Clones share the keys.
#[derive(Clone, Debug)]
pub(crate) struct Verifier {
    keys: KeySet,
    expectations: Arc<Expectations>,
    clock: Clock,
}

/// What a token that holds proves of its notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proof {
    /// The tenant that the calls in the notification belong to.
    pub(crate) tenant: TenantId,
    /// The audience that matched, as it is configured: the app that the notification is for.
    pub(crate) app_id: String,
}

/// Why a notification is not proven, in words for the log. Of the token it holds at most the names
/// of algorithm and key, and when it is signed its audience and tenant, all cut short.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotProven {
    /// No `Authorization`, or another scheme.
    #[error("there is no bearer token")]
    NoToken,
    /// More than 16 KiB.
    #[error("the token is too long")]
    TooLong,
    /// Not three parts, or no JSON in them, or not in base64.
    #[error("the token is not a signed JWT")]
    NotAJwt,
    /// `none`, a shared secret, or anything else that is not RS256.
    #[error("the token is signed by {0}, and only RS256 is taken")]
    Algorithm(String),
    /// `crit`: it says that whoever does not know its extensions must refuse it.
    #[error("the token demands extensions that are not known")]
    Extension,
    /// No `kid`.
    #[error("the token names no key")]
    NoKeyId,
    /// No document has such a key, as far as it was asked.
    #[error("the token's key {0} is in none of notifications.openid_urls")]
    UnknownKey(String),
    /// No document could be loaded yet.
    #[error("no keys are loaded from notifications.openid_urls yet")]
    KeysNotLoaded,
    /// Not the key's, or not of this text.
    #[error("the token's signature does not hold")]
    Signature,
    /// A claim is not of its type, or there twice.
    #[error("the token's claims cannot be read")]
    Claims,
    /// None, or another one.
    #[error("the token's issuer is not in notifications.issuers")]
    Issuer,
    /// None, or others only.
    #[error(
        "the token is for {0}, and neither notifications.audiences nor that tenant's client_id has it"
    )]
    Audience(String),
    /// No `exp`.
    #[error("the token has no end")]
    NoExpiry,
    /// `exp` was more than five minutes ago.
    #[error("the token has expired")]
    Expired,
    /// `nbf` is more than five minutes ahead.
    #[error("the token is not valid yet; is this machine's clock right?")]
    NotYetValid,
    /// Neither `tid` nor its long name.
    #[error("the token names no tenant")]
    NoTenant,
    /// No GUID, or two different ones.
    #[error("the token's tenant is not one GUID")]
    Tenant,
}

impl NotProven {
    /// The reason in one word, with nothing of the token in it.
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Self::NoToken => "no_token",
            Self::TooLong => "too_long",
            Self::NotAJwt => "not_a_jwt",
            Self::Algorithm(_) => "algorithm",
            Self::Extension => "extension",
            Self::NoKeyId => "no_key_id",
            Self::UnknownKey(_) => "unknown_key",
            Self::KeysNotLoaded => "keys_not_loaded",
            Self::Signature => "signature",
            Self::Claims => "claims",
            Self::Issuer => "issuer",
            Self::Audience(_) => "audience",
            Self::NoExpiry => "no_expiry",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::NoTenant => "no_tenant",
            Self::Tenant => "tenant",
        }
    }
}

impl Verifier {
    /// No key is known before [`Verifier::run`] has loaded some.
    ///
    /// # Errors
    ///
    /// When there is no HTTPS client to load keys with.
    pub(crate) fn new(
        config: &NotificationsConfig,
        clock: Clock,
        health: Health,
    ) -> Result<Self, ClientError> {
        let keys = KeySet::new(config, health)?;
        Ok(Self { keys, expectations: Arc::new(Expectations::of(config)), clock })
    }

    /// Loads the keys and keeps them fresh until `shutdown`.
    pub(crate) async fn run(self, shutdown: watch::Receiver<bool>) {
        self.keys.run(shutdown).await;
    }

    /// What the value of a request's `Authorization` header proves; empty stands for no header. It
    /// waits, for a few seconds at most, when the key may be about to arrive.
    ///
    /// # Errors
    ///
    /// Nothing is proven, and nothing in the request may be used.
    pub(crate) async fn verify(&self, authorization: &[u8]) -> Result<Proof, NotProven> {
        let token = Token::read(authorization)?;
        let key = self.keys.find(token.key_id()).await.map_err(|missing| match missing {
            KeyMissing::Unknown => NotProven::UnknownKey(parts::shown(token.key_id())),
            KeyMissing::NotLoaded => NotProven::KeysNotLoaded,
        })?;
        self.expectations.check(&token.claims(&key)?, self.clock.now())
    }
}

#[cfg(test)]
mod tests;
