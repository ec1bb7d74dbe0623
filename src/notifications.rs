//! Graph's notifications: proof first, then read, commit, and only then answer.
//!
//! What cannot be proven changes nothing. What was proven is committed whole or not at all, and a
//! 202 is never given for something that could be lost: when it could not be committed, a 503 makes
//! the sender try again. Doing a notification twice changes nothing, so trying again is safe.

pub(crate) mod forward;
pub(crate) mod keys;
pub(crate) mod payload;
pub(crate) mod token;

use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderName};

use self::forward::Forward;
use self::payload::Delivery;
use self::token::{NotProven, Verifier};
use crate::access::{Access, AccessError, CheckedKey, Token};
use crate::audit::Audit;
use crate::clock::Clock;
use crate::id::{TenantId, canonical_guid};
use crate::model::chain::{AuditEvent, Personal};
use crate::model::key::ApiKey;
use crate::model::rights::Right;
use crate::registry::Registry;
use crate::reply::{ContentType, Reply};
use crate::secret::Secret;
use crate::store::error::StoreError;
use crate::store::records::{Applied, CallNews};
use crate::telemetry::metrics::count::Counts;
use crate::telemetry::metrics::label::Notified;

/// Graph names each delivery with it, and finds it in our answer again.
const MESSAGE_ID: HeaderName = HeaderName::from_static("x-microsoft-skype-message-id");
/// Ties the requests of one call together.
const SCENARIO_ID: HeaderName = HeaderName::from_static("scenario-id");

/// What takes notifications.
#[derive(Clone, Debug)]
pub(crate) struct Notifications {
    pub(crate) registry: Registry,
    pub(crate) access: Access,
    pub(crate) audit: Audit,
    pub(crate) verifier: Verifier,
    /// The bot that owned the callback before.
    pub(crate) forward: Option<Forward>,
    pub(crate) clock: Clock,
    pub(crate) strangers: Strangers,
    pub(crate) counts: Counts<Notified>,
}

/// Tenants whose calls are announced and that we cannot log in to: each is told of once.
#[derive(Clone, Debug)]
pub(crate) struct Strangers {
    /// The tenants that we can log in to.
    served: Arc<[TenantId]>,
    told: Arc<Mutex<HashSet<TenantId>>>,
}

impl Strangers {
    /// Of so many is told; more of them are a multi-tenant app's, whose operator knows by then.
    const MOST: usize = 100;

    /// Every tenant but those `served` is one.
    pub(crate) fn new(served: impl IntoIterator<Item = TenantId>) -> Self {
        Self { served: served.into_iter().collect(), told: Arc::default() }
    }

    fn notice(&self, tenant: &TenantId) {
        if self.served.contains(tenant) {
            return;
        }
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < Self::MOST && told.insert(tenant.clone()) {
            tracing::warn!(
                tenant.id = %tenant.as_str(),
                "calls of a tenant are announced that is not configured: nothing can be sent for them"
            );
        }
    }
}

/// What a request brings to prove its sender.
#[derive(Debug)]
pub(crate) struct Credentials {
    /// `X-Api-Key`: of a bot that posts copies.
    pub(crate) api_key: Option<Secret<String>>,
    /// `Authorization`, with Graph's token; empty when there is none, or more than one.
    pub(crate) authorization: Secret<Bytes>,
}

/// A sender that proved who it is.
#[derive(Clone, Debug)]
pub(crate) enum Sender {
    /// Graph's calling service.
    Graph {
        tenant: TenantId,
        /// The app that the token is for.
        app_id: String,
    },
    /// A bot that posts copies, by its key and where it posts from.
    Bot { api_key: Secret<String>, peer: IpAddr },
}

/// A notification whose sender was proven. Of headers, query and body it prints nothing: they hold
/// the proof, a bot's credentials and people's numbers.
pub(crate) struct Notification {
    pub(crate) sender: Sender,
    pub(crate) headers: HeaderMap,
    pub(crate) query: Option<Secret<String>>,
    pub(crate) body: Bytes,
}

impl fmt::Debug for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notification").field("sender", &self.sender).finish_non_exhaustive()
    }
}

/// Why a notification changed nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// Nobody proved anything.
    #[error(transparent)]
    NotProven(NotProven),
    /// It came with an API key that was not accepted.
    #[error(transparent)]
    Key(AccessError),
    /// That key may not do this.
    #[error("the API key lacks the right Notify")]
    NotPermitted,
    /// The body tells of another tenant's call.
    #[error("the sender's tenant is not the call's")]
    OtherTenant,
    /// The body is no JSON.
    #[error(transparent)]
    NotJson(#[from] payload::NotJson),
    /// More than one transaction should hold up others with.
    #[error("too many calls and participants at once")]
    TooMuch,
    /// Whether its key may be used from there cannot be told.
    #[error("it cannot be taken now: {0}")]
    Hosts(AccessError),
    /// It could not be committed, or not be told who sent it.
    #[error("it cannot be taken now: {0}")]
    Unavailable(String),
}

impl Notifications {
    /// Who sent this, by the API key if there is one, or else by Graph's token.
    ///
    /// # Errors
    ///
    /// Nobody, or it could not be told.
    pub(crate) async fn prove(
        &self,
        credentials: &Credentials,
        peer: IpAddr,
    ) -> Result<Sender, Refused> {
        if let Some(key) = &credentials.api_key {
            self.bot(key, peer).await?;
            return Ok(Sender::Bot { api_key: key.clone(), peer });
        }
        let proof = self.verifier.verify(credentials.authorization.expose()).await?;
        Ok(Sender::Graph { tenant: proof.tenant, app_id: proof.app_id })
    }

    /// The tenant whose calls this key may tell of now. A refusal is recorded.
    async fn bot(&self, api_key: &Secret<String>, peer: IpAddr) -> Result<TenantId, Refused> {
        let mut known = None;
        let result = self.check_bot(api_key, peer, &mut known).await;
        if let Err(refused @ (Refused::Key(_) | Refused::Hosts(_) | Refused::NotPermitted)) =
            &result
        {
            let (key, cause) = refused.key_and_cause();
            let key = key.or(known.as_ref().map(CheckedKey::key));
            let event = AuditEvent {
                action: "Notify".to_owned(),
                decision: "refused",
                result: refused.word(),
                tenant: key.map(|key| key.tenant.to_string()),
                key_id: key.map(|key| key.id.to_string()),
                cause,
                ..AuditEvent::default()
            };
            let personal = Personal { peer: Some(peer.to_string()), ..Personal::default() };
            self.audit.refused(event, personal);
        }
        result
    }

    async fn check_bot(
        &self,
        api_key: &Secret<String>,
        peer: IpAddr,
        known: &mut Option<CheckedKey>,
    ) -> Result<TenantId, Refused> {
        let now = self.clock.now();
        let canonical = canonical_guid(api_key.expose()).map(Secret::new);
        let api_key = canonical.as_ref().unwrap_or(api_key);
        let checked = self.access.check_key(Some(api_key), peer, now).await?;
        let checked = known.insert(checked).clone();
        let actor = self.access.check_token(checked, Token::Absent, false, now).await?;
        if actor.may(Right::Notify) {
            Ok(actor.key().tenant.clone())
        } else {
            Err(Refused::NotPermitted)
        }
    }

    /// Reads a notification, commits what it says, and answers for the bot or for ourselves.
    ///
    /// # Errors
    ///
    /// Nothing of it was committed.
    pub(crate) async fn take(&self, notification: Notification) -> Result<Reply, Refused> {
        let Notification { sender, headers, query, body } = notification;
        let news = match payload::read(&body)? {
            Delivery::Notifications(news) => news,
            // The service sends it again in Graph's form.
            Delivery::PreGraph => return Ok(Reply::bare(204, "")),
            Delivery::TooMuch => return Err(Refused::TooMuch),
        };
        let (tenant, app_id) = match sender {
            Sender::Graph { tenant, app_id } => (tenant, Some(app_id)),
            // It may have been revoked while the body was on its way.
            Sender::Bot { api_key, peer } => (self.bot(&api_key, peer).await?, None),
        };
        if news.tenants.iter().any(|told| *told != tenant) {
            return Err(Refused::OtherTenant);
        }
        let is_copy = app_id.is_none();
        if !news.changes.is_empty() {
            let (changes, now) = (news.changes, self.clock.moment());
            self.strangers.notice(&tenant);
            match self.registry.apply(CallNews { tenant, app_id, changes, now }).await? {
                Applied::Merged { .. } => {}
                Applied::OtherTenant => return Err(Refused::OtherTenant),
            }
        }
        match &self.forward {
            // What a bot posted here has been at the bot.
            Some(bot) if !is_copy => Ok(bot
                .pass_on(headers, query.as_ref(), body)
                .await
                .unwrap_or_else(|_down| text(502, "The bot did not answer.\n"))),
            _ => Ok(taken(&headers)),
        }
    }
}

/// `202 Accepted`, with the ids by which Graph finds its request again.
fn taken(headers: &HeaderMap) -> Reply {
    let mut reply = Reply::bare(202, "");
    for (name, from) in [("scenario-id", SCENARIO_ID), ("client-request-id", MESSAGE_ID)] {
        if let Some(id) = headers.get(from).and_then(|value| value.to_str().ok()) {
            reply = reply.with_header(name, id);
        }
    }
    reply
}

impl Refused {
    /// The reason in one word, out of a closed list: whoever is refused cannot choose another.
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Self::NotProven(not_proven) => not_proven.word(),
            Self::Key(AccessError::TokenNeeded) => "token_needed",
            Self::Key(_) => "bad_key",
            Self::NotPermitted => "not_permitted",
            Self::OtherTenant => "other_tenant",
            Self::TooMuch => "too_much",
            Self::NotJson(_) => "not_json",
            Self::Hosts(_) | Self::Unavailable(_) => "unavailable",
        }
    }

    /// Its word in metrics.
    pub(crate) const fn label(&self) -> Notified {
        match self {
            Self::NotProven(_) => Notified::NotProven,
            Self::Key(AccessError::TokenNeeded) => Notified::TokenNeeded,
            Self::Key(_) => Notified::BadKey,
            Self::NotPermitted => Notified::NotPermitted,
            Self::OtherTenant => Notified::OtherTenant,
            Self::TooMuch => Notified::TooMuch,
            Self::NotJson(_) => Notified::NotJson,
            Self::Hosts(_) | Self::Unavailable(_) => Notified::Unavailable,
        }
    }

    /// What the record says of the key, and why it was not accepted.
    fn key_and_cause(&self) -> (Option<&ApiKey>, Option<&'static str>) {
        match self {
            Self::Key(AccessError::Key(refusal)) => (refusal.key.as_deref(), Some(refusal.cause)),
            Self::Key(AccessError::Token(refusal)) => (None, Some(refusal.cause)),
            Self::Hosts(AccessError::Hosts(key)) => (Some(key), Some("hosts")),
            _ => (None, None),
        }
    }

    /// The answer to whoever sent it; it does not say why.
    pub(crate) fn reply(&self) -> Reply {
        match self {
            Self::NotProven(_) | Self::Key(_) | Self::NotPermitted | Self::OtherTenant => {
                text(401, "Not proven.\n").with_header("www-authenticate", "Bearer")
            }
            Self::TooMuch => text(413, "Too much at once.\n"),
            Self::NotJson(_) => text(400, "The body is not JSON.\n"),
            Self::Hosts(_) | Self::Unavailable(_) => {
                text(503, "Please send it again.\n").with_header("retry-after", "1")
            }
        }
    }
}

fn text(status: u16, body: &'static str) -> Reply {
    Reply::new(status, ContentType::Text, body)
}

impl From<NotProven> for Refused {
    fn from(error: NotProven) -> Self {
        match error {
            // "Cannot decide" is not "no".
            NotProven::KeysNotLoaded => Self::Unavailable(error.to_string()),
            _ => Self::NotProven(error),
        }
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<AccessError> for Refused {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::Store(error) => error.into(),
            AccessError::Hosts(_) => Self::Hosts(error),
            AccessError::Key(_) | AccessError::TokenNeeded | AccessError::Token(_) => {
                Self::Key(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::{AUTHORIZATION, HeaderValue};

    use super::*;

    #[test]
    fn a_notification_prints_neither_its_proof_nor_its_query_nor_its_body() {
        let header = HeaderValue::from_static("Bearer hunter2");
        let notification = Notification {
            sender: Sender::Bot {
                api_key: Secret::new("hunter2".to_owned()),
                peer: IpAddr::from([192, 0, 2, 7]),
            },
            headers: HeaderMap::from_iter([(AUTHORIZATION, header)]),
            query: Some(Secret::new("code=hunter2".to_owned())),
            body: Bytes::from_static(b"hunter2"),
        };
        let shown = format!("{notification:?}");
        assert!(shown.contains("192.0.2.7") && !shown.contains("hunter2"), "{shown}");
    }
}
