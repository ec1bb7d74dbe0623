//! One HTTP request to the notifications' listener: its path, its sender, its size, its line in the
//! log.
//!
//! The sender is proven by the head of the request, so a stranger's body is not read, and his
//! connection ends with its first answer: whoever proves nothing holds none that Graph could need. Nor
//! does he write the log: lines alike are folded.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderMap};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response};
use ipnet::IpNet;
use tokio::time::Instant;

use super::body::{self, BodyError};
use super::fold::Fold;
use super::head::Head;
use super::peer;
use super::respond;
use crate::id::RequestId;
use crate::notifications::{Credentials, Notification, Notifications, Refused, Sender};
use crate::reply::{ContentType, Reply};
use crate::secret::{SafeUri, Secret};
use crate::telemetry::metrics::label::Notified;

/// No documented notification is longer than a few kilobytes, a roster of a large meeting included.
const LONGEST_BODY: usize = 1024 * 1024;
/// How often it is looked for folded lines that nothing alike has followed.
const LOOK: Duration = Duration::from_secs(1);

/// The notifications as the server's handler.
pub(crate) struct Webhook {
    notifications: Notifications,
    /// Where Graph posts to.
    path: String,
    /// How long a body may take after its head.
    body_timeout: Duration,
    /// Who is believed when they say whom a request is from.
    trusted_proxies: Vec<IpNet>,
    refusals: Fold,
}

/// A request as far as it is known before its body.
struct Asked {
    peer: IpAddr,
    method: Method,
    uri: SafeUri,
    headers: HeaderMap,
}

/// Why a request got no further.
enum Stopped {
    /// It is no notification at all.
    NotFound,
    Method,
    TooLarge,
    Incomplete,
    Refused(Refused),
}

impl Webhook {
    /// Takes notifications that are posted to `path`.
    pub(crate) fn new(
        notifications: Notifications,
        path: String,
        body_timeout: Duration,
        trusted_proxies: Vec<IpNet>,
    ) -> Self {
        Self { notifications, path, body_timeout, trusted_proxies, refusals: Fold::default() }
    }

    /// Writes the folded lines in time, for as long as it is polled.
    pub(crate) async fn write_folded(&self) {
        let mut interval = tokio::time::interval(LOOK);
        loop {
            let now = interval.tick().await;
            for (reason, folded) in self.refusals.overdue(now) {
                tracing::info!(reason, folded, "notifications refused, alike");
            }
        }
    }

    /// Answers one request and writes its line in the log.
    pub(crate) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: IpAddr,
    ) -> Response<Full<Bytes>> {
        let began = Instant::now();
        let (Parts { method, uri, headers, .. }, body) = request.into_parts();
        let id = RequestId::random();
        let peer = peer::client(peer, &self.trusted_proxies, &headers);
        let asked = Asked { peer, method, uri: SafeUri::new(uri), headers };
        let mut close = true;
        let result = self.take(asked, body, &mut close).await;
        let counted = result.as_ref().map_or_else(Stopped::label, |_reply| Notified::Taken);
        self.notifications.counts.count(counted);
        let now = Instant::now();
        let duration_ms = now.duration_since(began).as_secs_f64() * 1000.0;
        let reply = match result {
            Ok(reply) => {
                let status = reply.status;
                tracing::debug!(request.id = %id, status, duration_ms, "notification taken");
                reply
            }
            Err(stopped) => {
                let reply = stopped.reply();
                let (status, reason) = (reply.status, stopped.word());
                if let Some(folded) = self.refusals.note(reason, now) {
                    tracing::info!(
                        request.id = %id, status, duration_ms, reason, folded,
                        "notification refused: {stopped}"
                    );
                }
                reply
            }
        };
        respond::response(reply, id, HeaderMap::new(), close)
    }

    /// Takes it, or says why not. `close` becomes false when the sender was proven and nothing of the
    /// body is left.
    async fn take(&self, asked: Asked, body: Incoming, close: &mut bool) -> Result<Reply, Stopped> {
        let sender = self.sender(&asked).await?;
        let body = body::read(body, LONGEST_BODY, self.body_timeout).await?;
        *close = false;
        let Asked { uri, headers, .. } = asked;
        let query = uri.expose().query().map(|query| Secret::new(query.to_owned()));
        let notification = Notification { sender, headers, query, body };
        Ok(self.notifications.take(notification).await?)
    }

    async fn sender(&self, asked: &Asked) -> Result<Sender, Stopped> {
        let path = asked.uri.expose().path();
        if path.strip_suffix('/').unwrap_or(path) != self.path {
            return Err(Stopped::NotFound);
        }
        if asked.method != Method::POST {
            return Err(Stopped::Method);
        }
        let head = Head::read(&asked.headers);
        let mut all = asked.headers.get_all(AUTHORIZATION).iter();
        let authorization = match (all.next(), all.next()) {
            (Some(only), None) => Bytes::copy_from_slice(only.as_bytes()),
            _ => Bytes::new(),
        };
        let authorization = Secret::new(authorization);
        let credentials = Credentials { api_key: head.api_key, authorization };
        Ok(self.notifications.prove(&credentials, asked.peer).await?)
    }
}

impl Stopped {
    /// The reason in one word, out of a closed list.
    const fn word(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Method => "method",
            Self::TooLarge => "body_too_large",
            Self::Incomplete => "body_incomplete",
            Self::Refused(refused) => refused.word(),
        }
    }

    /// Its word in metrics.
    const fn label(&self) -> Notified {
        match self {
            Self::NotFound => Notified::NotFound,
            Self::Method => Notified::Method,
            Self::TooLarge => Notified::TooLarge,
            Self::Incomplete => Notified::Incomplete,
            Self::Refused(refused) => refused.label(),
        }
    }

    fn reply(&self) -> Reply {
        let text = |status, body: &'static str| Reply::new(status, ContentType::Text, body);
        match self {
            Self::NotFound => text(404, "No such path.\n"),
            Self::Method => text(405, "Only POST is taken here.\n").with_header("allow", "POST"),
            Self::TooLarge => text(413, "The body is longer than 1 MiB.\n"),
            Self::Incomplete => text(408, "The body did not arrive.\n"),
            Self::Refused(refused) => refused.reply(),
        }
    }
}

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotFound => f.write_str("no such path"),
            Self::Method => f.write_str("not a POST"),
            Self::TooLarge => f.write_str("the body is longer than 1 MiB"),
            Self::Incomplete => f.write_str("the body did not arrive"),
            Self::Refused(refused) => refused.fmt(f),
        }
    }
}

impl From<Refused> for Stopped {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<BodyError> for Stopped {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge => Self::TooLarge,
            BodyError::Incomplete => Self::Incomplete,
        }
    }
}
