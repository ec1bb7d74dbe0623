//! Microsoft Graph as this service uses it: one HTTP client, typed calls, judged answers.
//!
//! Every call gives an [`Answer`], whatever happened, because the journal keeps each attempt. A
//! call sends its request once, and once more after a 401, with a new token; all other retries are
//! rows in the journal. Redirects are not followed, the environment's proxies are ignored, and
//! neither a token nor a URL gets into an error or a log line.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{ACCEPT, AUTHORIZATION, DATE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, ClientBuilder, Method, Response, Url};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use crate::clock::{Clock, Timestamp};
use crate::config::graph::GraphConfig;
use crate::graph::error::{GraphError, LoginError, short};
use crate::graph::token::{Token, Tokens};
use crate::id::TenantId;

mod calls;
pub(crate) mod error;
mod model;
pub(crate) mod pacing;
#[cfg(test)]
pub(crate) mod responder;
mod token;

const PRODUCT: &str = concat!("callgate/", env!("CARGO_PKG_VERSION"));
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// No id of a call or tenant is longer.
const LONGEST_ID: usize = 1024;
/// Of the body of a refusal, or of the login, this much is read.
const LONGEST_BODY: usize = 64 * 1024;

/// Graph, reached with the configured app. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct GraphClient {
    http: Client,
    /// Without a trailing slash.
    base_url: String,
    request_timeout: Duration,
    tokens: Arc<Tokens>,
    clock: Clock,
}

/// What came of one call, and what is kept with the attempt.
#[derive(Debug)]
pub(crate) struct Answer<T = ()> {
    /// None when no answer came.
    pub(crate) status: Option<u16>,
    /// Graph's id of the request.
    pub(crate) request_id: Option<String>,
    /// Our id of the request, or what the answer has in its place; none when nothing was sent.
    pub(crate) client_request_id: Option<String>,
    /// Graph's `Date`.
    pub(crate) date: Option<String>,
    /// Graph's `x-ms-ags-diagnostic`.
    pub(crate) diagnostic: Option<String>,
    pub(crate) result: Result<T, GraphError>,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("graph.base_url is not a URL")]
    BaseUrl { source: <Url as FromStr>::Err },
    #[error("graph.login_url is not a URL")]
    LoginUrl { source: <Url as FromStr>::Err },
    #[error("graph.tenant_id is not a tenant's id or domain")]
    Tenant,
    #[error("the HTTPS client could not be built; are the system's CA certificates installed?")]
    Build(#[source] reqwest::Error),
}

impl GraphClient {
    /// Builds the client; nothing is sent. The system's CA certificates are read only if Graph or
    /// the login is at an `https` URL, so that a simulator can be used on a machine without any.
    ///
    /// # Errors
    ///
    /// When a URL is not one, or there are no CA certificates and they are needed.
    pub(crate) fn new(config: &GraphConfig, clock: Clock) -> Result<Self, ClientError> {
        let base =
            Url::parse(&config.base_url).map_err(|source| ClientError::BaseUrl { source })?;
        let login =
            Url::parse(&config.login_url).map_err(|source| ClientError::LoginUrl { source })?;
        let secure = [base, login].iter().any(|url| url.scheme() == "https");
        let http = http_client(config, secure).map_err(ClientError::Build)?;
        Self::with(http, config, clock)
    }

    fn with(http: Client, config: &GraphConfig, clock: Clock) -> Result<Self, ClientError> {
        let tokens = Tokens::new(config, http.clone(), clock.clone())?;
        Ok(Self {
            http,
            base_url: config.base_url.clone(),
            request_timeout: config.request_timeout,
            tokens: Arc::new(tokens),
            clock,
        })
    }

    /// Sends a request without a body, with the token of `tenant`; of a success, the first `longest`
    /// bytes are the result. All of it, logins and repetition included, ends within
    /// `graph.request_timeout`, which the lease of a step is measured by.
    async fn send(
        &self,
        tenant: &TenantId,
        method: Method,
        path: &str,
        longest: usize,
    ) -> Answer<String> {
        let Ok(url) = Url::parse(&format!("{}{path}", self.base_url)) else {
            // The base is a URL, so the path is at fault.
            return Answer::unsent(GraphError::UnusableId);
        };
        let deadline = Instant::now() + self.request_timeout;
        let login = timeout_at(deadline, self.tokens.get(tenant)).await;
        let token = match login.unwrap_or(Err(LoginError::TimedOut)) {
            Ok(token) => token,
            Err(error) => return Answer::unsent(error.into()),
        };
        let (answer, challenge) = self.send_once(&method, &url, &token, deadline, longest).await;
        if !matches!(answer.result, Err(GraphError::Unauthorized)) {
            return answer;
        }
        let login = timeout_at(deadline, self.tokens.replace(tenant, &token, challenge)).await;
        match login.unwrap_or(Err(LoginError::TimedOut)) {
            Ok(token) => self.send_once(&method, &url, &token, deadline, longest).await.0,
            Err(error) => Answer { result: Err(error.into()), ..answer },
        }
    }

    /// Sends it once. Beside the answer, the claims that Graph wants in the next token.
    async fn send_once(
        &self,
        method: &Method,
        url: &Url,
        token: &Token,
        deadline: Instant,
        longest: usize,
    ) -> (Answer<String>, Option<String>) {
        let client_request_id = Uuid::new_v4().hyphenated().to_string();
        let sent = self
            .http
            .request(method.clone(), url.clone())
            .timeout(deadline.saturating_duration_since(Instant::now()))
            .header(ACCEPT, "application/json")
            .header(AUTHORIZATION, token.bearer.expose().clone())
            .header("client-request-id", &client_request_id)
            .send()
            .await;
        let mut answer = Answer::unsent(GraphError::Unauthorized);
        answer.client_request_id = Some(client_request_id);
        let mut response = match sent {
            Ok(response) => response,
            Err(error) => {
                answer.result = Err(GraphError::from_transport(error));
                return (answer, None);
            }
        };
        let hidden = token.text();
        let kept = |name| Some(printable(response.headers().get(name)?, hidden));
        answer.status = Some(response.status().as_u16());
        answer.request_id = kept("request-id");
        // Ours comes back; what Graph has in its place is what its support can find.
        answer.client_request_id =
            kept("client-request-id").filter(|id| !id.is_empty()).or(answer.client_request_id);
        answer.date = kept("date");
        answer.diagnostic = kept("x-ms-ags-diagnostic");
        let challenge = model::challenge(response.headers());
        answer.result = if response.status().is_success() {
            body(&mut response, longest).await.map_err(GraphError::from_transport)
        } else {
            Err(self.refusal(&mut response, hidden).await)
        };
        (answer, challenge)
    }

    async fn refusal(&self, response: &mut Response, hidden: &str) -> GraphError {
        let status = response.status().as_u16();
        let patience = retry_after(response.headers(), self.clock.now());
        match body(response, LONGEST_BODY).await {
            Ok(body) => {
                GraphError::from_answer(status, patience, &body.replace(hidden, "(hidden)"))
            }
            // Of these two the body tells what they mean; for all others the status is enough.
            Err(error) if matches!(status, 403 | 404) => {
                GraphError::Torn { status, source: error.without_url() }
            }
            Err(_) => GraphError::from_answer(status, patience, ""),
        }
    }
}

impl<T> Answer<T> {
    fn unsent(error: GraphError) -> Self {
        Self {
            status: None,
            request_id: None,
            client_request_id: None,
            date: None,
            diagnostic: None,
            result: Err(error),
        }
    }

    /// The same with what `read` makes of the result.
    fn and_then<U>(self, read: impl FnOnce(T) -> Result<U, GraphError>) -> Answer<U> {
        Answer {
            status: self.status,
            request_id: self.request_id,
            client_request_id: self.client_request_id,
            date: self.date,
            diagnostic: self.diagnostic,
            result: self.result.and_then(read),
        }
    }
}

/// `text` as one segment of a path; `None` when it is empty or absurdly long, or when a URL parser
/// would take it, however it is encoded, for a step within the path.
fn path_segment(text: &str) -> Option<String> {
    const ENCODED: &AsciiSet =
        &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    if matches!(text, "" | "." | "..") || text.len() > LONGEST_ID {
        return None;
    }
    Some(utf8_percent_encode(text, ENCODED).to_string())
}

/// What every client of ours has, but for time limits. `secure` says that there are `https` URLs to
/// be reached. Without, nothing vouches for one.
pub(crate) fn client_builder(secure: bool) -> ClientBuilder {
    let client = Client::builder()
        .user_agent(PRODUCT)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .referer(false);
    if secure { client } else { client.tls_certs_only([]) }
}

fn http_client(config: &GraphConfig, secure: bool) -> reqwest::Result<Client> {
    client_builder(secure)
        .timeout(config.request_timeout)
        // Shorter than what the login leaves of the time, so that a connection that does not come
        // about is never taken for a lost answer.
        .connect_timeout(CONNECT_TIMEOUT.min(config.request_timeout / 3))
        .tcp_nodelay(true)
        .pool_max_idle_per_host(config.concurrency)
        // Under the idle limits of the load balancers on the way.
        .pool_idle_timeout(Duration::from_mins(1))
        // A connection that died without a word is given up before its requests time out.
        .http2_keep_alive_interval(Duration::from_secs(15))
        .http2_keep_alive_timeout(Duration::from_secs(10))
        .build()
}

/// The longest of the waits that the headers ask for. A date is seen from the sender's own clock.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let now =
        headers.get(DATE).and_then(|date| pacing::http_date(date.to_str().ok()?)).unwrap_or(now);
    let values = headers.get_all(RETRY_AFTER).iter();
    values.filter_map(|value| pacing::retry_after(value.to_str().ok()?, now)).max()
}

/// The body as text, cut after `longest` bytes; with none, nothing of it is read.
async fn body(response: &mut Response, longest: usize) -> reqwest::Result<String> {
    let mut body = Vec::new();
    while body.len() < longest
        && let Some(chunk) = response.chunk().await?
    {
        body.extend_from_slice(&chunk);
    }
    body.truncate(longest);
    Ok(String::from_utf8_lossy(&body).into_owned())
}

/// A header as it may be kept: short, on one line, and without the token, should it be in there.
fn printable(value: &HeaderValue, hidden: &str) -> String {
    short(&String::from_utf8_lossy(value.as_bytes()).replace(hidden, "(hidden)"))
}
