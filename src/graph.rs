//! Microsoft Graph as this service uses it: one HTTP client, typed calls, judged answers.
//!
//! Every call gives an [`Answer`], whatever happened, because the journal keeps each attempt. A
//! call sends its request once, and once more after a 401, with a new token; all other retries are
//! rows in the journal. Redirects are not followed, the environment's proxy variables are ignored, and
//! neither a token nor a URL gets into an error or a log line.

use std::borrow::Cow;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, HeaderValue, RETRY_AFTER,
};
use reqwest::{Client, Method, Response, Url};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use crate::clock::{Clock, Timestamp};
use crate::config::graph::{Api, GraphConfig, TenantConfig, in_keys_of};
use crate::graph::error::{GraphError, LoginError, short};
use crate::graph::token::{App, Token, Tokens};
pub(crate) use crate::graph::transport::client_builder;
use crate::graph::transport::{direct_client, http_client};
use crate::id::TenantId;
use crate::model::reconcile::is_same_app;
use crate::telemetry::metrics::count::Counts;
use crate::telemetry::metrics::label::Login;

mod calls;
#[cfg(test)]
mod captures;
pub(crate) mod error;
mod model;
pub(crate) mod pacing;
#[cfg(test)]
pub(crate) mod responder;
mod token;
mod transport;

/// No id of a call or tenant is longer.
const LONGEST_ID: usize = 1024;
/// Of the body of a refusal, or of the login, this much is read.
const LONGEST_BODY: usize = 64 * 1024;

/// Graph, reached with the configured apps. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct GraphClient {
    http: Client,
    tenants: Arc<[Tenant]>,
    request_timeout: Duration,
    clock: Clock,
}

/// A tenant as it is reached.
#[derive(Debug)]
struct Tenant {
    id: TenantId,
    /// Its keys are those of a section of its own.
    is_further: bool,
    /// The app that we are there.
    client_id: String,
    /// Where its calls are, without a trailing slash.
    calls: String,
    tokens: Tokens,
}

/// What is asked of Graph.
#[derive(Debug)]
struct Request {
    method: Method,
    /// Behind the address of all calls, with a leading slash.
    path: String,
    /// JSON.
    body: Option<String>,
    /// Of a success, so many bytes are the result.
    longest: usize,
    /// One participant of the call is asked for, and not the call.
    is_about_participant: bool,
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
    #[error("graph.client_id cannot stand in a path")]
    ClientId,
    #[error("the HTTPS client could not be built; are the system's CA certificates installed?")]
    Build(#[source] reqwest::Error),
}

impl GraphClient {
    /// Builds the client; nothing is sent. The system's CA certificates are read only if Graph or a
    /// login is at an `https` URL, so that a simulator can be used on a machine without any.
    ///
    /// # Errors
    ///
    /// When a URL is not one, or there are no CA certificates and they are needed.
    pub(crate) fn new(config: &GraphConfig, clock: Clock) -> Result<Self, ClientError> {
        let mut secure = false;
        for tenant in config.tenants() {
            let base =
                Url::parse(&tenant.base_url).map_err(|source| ClientError::BaseUrl { source })?;
            let login =
                Url::parse(&tenant.login_url).map_err(|source| ClientError::LoginUrl { source })?;
            secure |= [base, login].iter().any(|url| url.scheme() == "https");
        }
        let http = http_client(config, secure).map_err(ClientError::Build)?;
        Self::with(http, config, clock)
    }

    fn with(http: Client, config: &GraphConfig, clock: Clock) -> Result<Self, ClientError> {
        let direct = direct_client().map_err(ClientError::Build)?;
        let tenant = |tenant: &TenantConfig| {
            let timeout = config.request_timeout / 2;
            let app = App::new(tenant, http.clone(), direct.clone(), timeout, clock.clone())?;
            let id = tenant.id.clone();
            let (calls, is_further) = (calls_of(tenant)?, tenant.is_further);
            let client_id = tenant.client_id.clone();
            let tokens = Tokens::new(app, clock.clone());
            Ok(Tenant { id, is_further, client_id, calls, tokens })
        };
        let tenants = config.tenants().map(tenant).collect::<Result<_, ClientError>>()?;
        Ok(Self { http, tenants, request_timeout: config.request_timeout, clock })
    }

    /// A hint with the names that keys have for this tenant: it was written with those of the first.
    pub(crate) fn in_keys_of(&self, tenant: &TenantId, hint: &'static str) -> Cow<'static, str> {
        let is_further = self.tenant(tenant).is_ok_and(|tenant| tenant.is_further);
        if is_further { in_keys_of(tenant, hint).into() } else { hint.into() }
    }

    /// What the logins of each tenant have answered.
    pub(crate) fn logins(&self) -> Vec<(TenantId, Counts<Login>)> {
        let of = |tenant: &Tenant| (tenant.id.clone(), tenant.tokens.logins.clone());
        self.tenants.iter().map(of).collect()
    }

    /// The app that we are in this tenant; none when it is not configured.
    pub(crate) fn client_id(&self, tenant: &TenantId) -> Option<&str> {
        self.tenant(tenant).ok().map(|tenant| tenant.client_id.as_str())
    }

    /// The answer to what is not sent, because the call was told of to another app than the one that
    /// we are in its tenant: Graph would say that there is no such call.
    pub(crate) fn refuse_other_app(
        &self,
        tenant: &TenantId,
        app_id: Option<&str>,
    ) -> Option<Answer> {
        let ours = self.client_id(tenant)?;
        let is_other = !is_same_app(app_id?, ours);
        is_other.then(|| Answer::unsent(GraphError::OtherApp))
    }

    /// Sends a request with the token of `tenant`. All of it, logins and repetition included, ends
    /// within `graph.request_timeout`, which the lease of a step is measured by.
    async fn send(&self, tenant: &TenantId, request: &Request) -> Answer<String> {
        self.send_by(tenant, request, Instant::now() + self.request_timeout).await
    }

    /// The same until `deadline`.
    async fn send_by(
        &self,
        tenant: &TenantId,
        request: &Request,
        deadline: Instant,
    ) -> Answer<String> {
        let tenant = match self.tenant(tenant) {
            Ok(tenant) => tenant,
            Err(error) => return Answer::unsent(error),
        };
        // The base is a URL, so the path is at fault.
        let Ok(url) = tenant.url(request) else { return Answer::unsent(GraphError::UnusableId) };
        self.send_to(tenant, &url, request, deadline).await
    }

    /// The tenant, which nobody else's token or address stands in for.
    fn tenant(&self, id: &TenantId) -> Result<&Tenant, GraphError> {
        let found = self.tenants.iter().find(|tenant| tenant.id == *id);
        found.ok_or(GraphError::Login(LoginError::NotConfigured))
    }

    /// The same to `url`, which is of this tenant, until `deadline`; and once more after a 401.
    async fn send_to(
        &self,
        tenant: &Tenant,
        url: &Url,
        request: &Request,
        deadline: Instant,
    ) -> Answer<String> {
        let login = timeout_at(deadline, tenant.tokens.get()).await;
        let token = match login.unwrap_or(Err(LoginError::TimedOut)) {
            Ok(token) => token,
            Err(error) => return Answer::unsent(error.into()),
        };
        let (answer, challenge) = self.send_once(request, url, &token, deadline).await;
        if !matches!(answer.result, Err(GraphError::Unauthorized)) {
            return answer;
        }
        let login = timeout_at(deadline, tenant.tokens.replace(&token, challenge)).await;
        match login.unwrap_or(Err(LoginError::TimedOut)) {
            Ok(token) => self.send_once(request, url, &token, deadline).await.0,
            Err(error) => Answer { result: Err(error.into()), ..answer },
        }
    }

    /// Sends it once. Beside the answer, the claims that Graph wants in the next token.
    async fn send_once(
        &self,
        request: &Request,
        url: &Url,
        token: &Token,
        deadline: Instant,
    ) -> (Answer<String>, Option<String>) {
        let client_request_id = Uuid::new_v4().hyphenated().to_string();
        let mut sending = self
            .http
            .request(request.method.clone(), url.clone())
            .timeout(deadline.saturating_duration_since(Instant::now()))
            .header(ACCEPT, "application/json")
            .header(AUTHORIZATION, token.bearer.expose().clone())
            .header("client-request-id", &client_request_id);
        if let Some(json) = &request.body {
            sending = sending.header(CONTENT_TYPE, "application/json").body(json.clone());
        }
        let sent = sending.send().await;
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
            body(&mut response, request.longest).await.map_err(GraphError::from_transport)
        } else {
            let is_identified = response.headers().contains_key("request-id");
            let refusal = self.refusal(&mut response, hidden).await;
            Err(if request.is_about_participant {
                refusal.of_participant(is_identified)
            } else {
                refusal
            })
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

impl Tenant {
    fn url(&self, request: &Request) -> Result<Url, <Url as FromStr>::Err> {
        Url::parse(&format!("{}{}", self.calls, request.path))
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

    /// What was done, and what it told.
    pub(crate) fn split(self) -> (Answer, Option<T>) {
        let mut told = None;
        let answer = self.and_then(|result| {
            told = Some(result);
            Ok(())
        });
        (answer, told)
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

/// Where a tenant's calls are.
fn calls_of(tenant: &TenantConfig) -> Result<String, ClientError> {
    let base = &tenant.base_url;
    Ok(match tenant.api {
        Api::V1 => format!("{base}/v1.0/communications/calls"),
        Api::BetaApp => format!("{base}/beta/app/calls"),
        Api::BetaApplications => {
            let app = path_segment(&tenant.client_id).ok_or(ClientError::ClientId)?;
            format!("{base}/beta/applications/{app}/calls")
        }
    })
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
