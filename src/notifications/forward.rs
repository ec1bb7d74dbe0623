//! The bot that owned the callback before: it gets every notification, and Graph gets its answer.
//!
//! Only what was proven and committed comes here, so a bot that is down loses nothing of ours. The
//! request goes on as it came: the same body, the same headers, the same proof, so that the bot
//! checks it as it always did.

mod outage;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::header::{HeaderMap, HeaderName};
use reqwest::{Client, Response, Url};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use self::outage::Outage;
use crate::health::Health;
use crate::reply::Reply;
use crate::secret::Secret;

/// The part of the service that [`Health`] reports on.
const PART: &str = "notifications.forward";
/// An answer that Graph acts on is a few hundred bytes long.
const LONGEST_ANSWER: usize = 1024 * 1024;

/// Headers that belong to one connection (RFC 9110 section 7.6.1), or that are made anew for the
/// next one; and `Accept-Encoding`, because who would have to decode the answer is not asked.
const NOT_PASSED_ON: [&str; 13] = [
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What of the bot's answer means something to Graph: the body of a `participantJoining` answer and
/// how to read it, the redirect to another region, how long to wait, and the two ids that tie answers
/// to requests.
const ANSWERED: [&str; 7] = [
    "content-type",
    "content-encoding",
    "location",
    "retry-after",
    "www-authenticate",
    "scenario-id",
    "client-request-id",
];

/// The way to the bot. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Forward {
    http: Client,
    url: Secret<Url>,
    limit: Duration,
    health: Health,
    under_way: Arc<Semaphore>,
    outage: Arc<Mutex<Outage>>,
}

/// The bot gave no answer that could be passed on. Its URL is in none of these.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    #[error("the bot has {} notifications to answer already", Forward::AT_ONCE)]
    Busy,
    #[error("no connection to the bot")]
    Connect(#[source] reqwest::Error),
    #[error("the bot did not answer within {} ms", .0.as_millis())]
    TimedOut(Duration),
    #[error("the bot's answer broke off")]
    Broken(#[source] reqwest::Error),
    #[error("the bot's answer is longer than 1 MiB")]
    TooLong,
}

impl Forward {
    /// What the bot is given at the same time. A bot that hangs takes no more than these from the
    /// notifications' connections, so that Graph still gets through to the registry.
    pub(crate) const AT_ONCE: usize = 128;

    /// The way to the bot at `url`, which has `limit` for each answer. Nothing is sent.
    ///
    /// # Errors
    ///
    /// When there are no CA certificates and `url` needs them.
    pub(crate) fn new(url: Secret<Url>, limit: Duration, health: Health) -> reqwest::Result<Self> {
        let client = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .timeout(limit)
            .tcp_nodelay(true);
        // Without https nothing vouches for a certificate, and none of the system's are read.
        let client =
            if url.expose().scheme() == "https" { client } else { client.tls_certs_only([]) };
        let under_way = Arc::new(Semaphore::new(Self::AT_ONCE));
        let outage = Arc::default();
        Ok(Self { http: client.build()?, url, limit, health, under_way, outage })
    }

    /// Passes a notification on and gives the bot's answer.
    ///
    /// # Errors
    ///
    /// The bot may have got it nevertheless.
    pub(super) async fn pass_on(
        &self,
        headers: HeaderMap,
        query: Option<&Secret<String>>,
        body: Bytes,
    ) -> Result<Reply, NoAnswer> {
        let began = Instant::now();
        let query = query.map(|query| query.expose().as_str());
        let result = self.exchange(headers, query, body).await;
        let now = Instant::now();
        let duration_ms = now.duration_since(began).as_secs_f64() * 1000.0;
        // Each change leaves an outage that can be told on.
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        match &result {
            Ok(reply) => {
                self.health.restored(PART);
                tracing::debug!(forward.status = reply.status, duration_ms, "the bot answered");
                if let Some(missed) = outage.answered(now) {
                    tracing::info!(missed, "the bot answers again");
                }
            }
            Err(error) => {
                self.health
                    .degraded(PART, "the bot behind notifications.forward_url did not answer");
                if let Some(missed) = outage.missed(now) {
                    tracing::warn!(missed, "a notification was not passed on: {error}");
                }
            }
        }
        result
    }

    async fn exchange(
        &self,
        mut headers: HeaderMap,
        query: Option<&str>,
        body: Bytes,
    ) -> Result<Reply, NoAnswer> {
        let _turn = self.under_way.try_acquire().map_err(|_none_free| NoAnswer::Busy)?;
        remove_of_the_connection(&mut headers);
        let mut url = self.url.expose().clone();
        if let Some(query) = query.filter(|query| !query.is_empty()) {
            let both = url.query().map(|own| format!("{own}&{query}"));
            url.set_query(Some(both.as_deref().unwrap_or(query)));
        }
        let mut response = self
            .http
            .post(url)
            .headers(headers)
            .body(body)
            .send()
            .await
            .map_err(|error| self.no_answer(error))?;
        let body = self.read(&mut response).await?;
        let mut reply = Reply::bare(response.status().as_u16(), body);
        for name in ANSWERED {
            if let Some(value) = response.headers().get(name).and_then(|value| value.to_str().ok())
            {
                reply = reply.with_header(name, value);
            }
        }
        Ok(reply)
    }

    async fn read(&self, response: &mut Response) -> Result<Bytes, NoAnswer> {
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.no_answer(error))? {
            if body.len() + chunk.len() > LONGEST_ANSWER {
                return Err(NoAnswer::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }

    fn no_answer(&self, error: reqwest::Error) -> NoAnswer {
        // The URL may hold a credential.
        let error = error.without_url();
        if error.is_timeout() {
            NoAnswer::TimedOut(self.limit)
        } else if error.is_connect() {
            NoAnswer::Connect(error)
        } else {
            NoAnswer::Broken(error)
        }
    }
}

/// Takes out what concerns the connection that the request came on, and what `Connection` names.
fn remove_of_the_connection(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all("connection")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in NOT_PASSED_ON {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn what_belongs_to_one_connection_is_not_passed_on() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("accept-encoding", "gzip"),
            ("authorization", "Bearer x"),
            ("connection", "close, X-Hop"),
            ("connection", "keep-alive"),
            ("content-length", "3"),
            ("expect", "100-continue"),
            ("host", "gateway"),
            ("scenario-id", "s"),
            ("transfer-encoding", "chunked"),
            ("x-hop", "1"),
            ("x-microsoft-skype-message-id", "m"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        remove_of_the_connection(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["authorization", "scenario-id", "x-microsoft-skype-message-id"]);
    }
}
