//! Tokens for Graph by client credentials: one per configured tenant, refreshed once for all.
//!
//! A token is renewed before it expires, and one that is still valid is used on when that fails. A
//! tenant that is not configured gets nothing, least of all another tenant's token. Neither token
//! nor secret is ever printed, logged or part of an error.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::header::{ACCEPT, HeaderValue};
use reqwest::{Client, Url};

use super::error::LoginError;
use super::model::Grant;
use super::{ClientError, LONGEST_BODY, body, path_segment, retry_after};
use crate::clock::{Clock, Timestamp};
use crate::config::graph::GraphConfig;
use crate::id::TenantId;
use crate::secret::Secret;

#[cfg(test)]
mod tests;

/// A token is renewed this long before it expires, or at half its life when that is shorter.
const EARLY: Duration = Duration::from_mins(5);
/// After a failed renewal, a token that is still valid is used this long before the next try.
const PAUSE_WITH_TOKEN: Duration = Duration::from_secs(30);
/// Without a token, all who need one share the failure this long; then one of them tries again.
const PAUSE_WITHOUT_TOKEN: Duration = Duration::from_secs(1);
/// A login that asks for more patience than this is asked again all the same.
const LONGEST_PAUSE: Duration = Duration::from_hours(1);

/// The tokens of the configured tenant.
#[derive(Debug)]
pub(super) struct Tokens {
    http: Client,
    clock: Clock,
    /// How long one request to the login may take.
    timeout: Duration,
    app: Option<App>,
    state: Mutex<State>,
    /// Held by the one who asks the login.
    refreshing: tokio::sync::Mutex<()>,
}

/// A token as it is sent.
#[derive(Clone, Debug)]
pub(super) struct Token {
    /// The whole `Authorization` header.
    pub(super) bearer: Secret<HeaderValue>,
    /// Graph's challenge that it was made for.
    claims: Option<String>,
    /// Counts the grants, so that a rejected token is told from the one that replaced it.
    number: u64,
    renew_at: Timestamp,
    expires_at: Timestamp,
}

/// The app that logs in.
#[derive(Debug)]
struct App {
    tenant: TenantId,
    url: Url,
    client_id: String,
    client_secret: Secret<String>,
    scope: String,
}

#[derive(Debug, Default)]
struct State {
    token: Option<Token>,
    granted: u64,
    failure: Option<Failure>,
}

/// The last refresh failed; nobody asks again before `until`.
#[derive(Clone, Debug)]
struct Failure {
    error: LoginError,
    since: Timestamp,
    until: Timestamp,
}

impl Tokens {
    /// # Errors
    ///
    /// When tenant and login URL do not make a URL.
    pub(super) fn new(
        config: &GraphConfig,
        http: Client,
        clock: Clock,
    ) -> Result<Self, ClientError> {
        let app = match &config.tenant {
            None => None,
            Some(tenant) => {
                let segment = path_segment(tenant.id.as_str()).ok_or(ClientError::Tenant)?;
                let url = format!("{}/{segment}/oauth2/v2.0/token", config.login_url);
                Some(App {
                    tenant: tenant.id.clone(),
                    url: Url::parse(&url).map_err(|source| ClientError::LoginUrl { source })?,
                    client_id: tenant.client_id.clone(),
                    client_secret: tenant.client_secret.clone(),
                    scope: format!("{}/.default", config.base_url),
                })
            }
        };
        Ok(Self {
            http,
            clock,
            timeout: config.request_timeout / 2,
            app,
            state: Mutex::default(),
            refreshing: tokio::sync::Mutex::default(),
        })
    }

    /// A token for `tenant`, renewed when it is time.
    ///
    /// # Errors
    ///
    /// When there is no valid token and none can be had; no request may be sent then.
    pub(super) async fn get(&self, tenant: &TenantId) -> Result<Token, LoginError> {
        let app = self.app(tenant)?;
        let _asking = match self.look() {
            Look::Use(token) => return Ok(token),
            Look::Fail(error) => return Err(error),
            Look::Renew(None) => self.refreshing.lock().await,
            Look::Renew(Some(token)) => match self.refreshing.try_lock() {
                Ok(guard) => guard,
                // Somebody is at it, and this one is valid until then.
                Err(_) => return Ok(token),
            },
        };
        // Whoever held the lock before may have settled it.
        let spare = match self.look() {
            Look::Use(token) => return Ok(token),
            Look::Fail(error) => return Err(error),
            Look::Renew(spare) => spare,
        };
        match (self.refresh(app, None).await, spare) {
            (Err(error), Some(spare)) => {
                tracing::warn!(
                    tenant.id = %tenant,
                    error = &error as &dyn std::error::Error,
                    "the token of tenant {tenant} could not be renewed; it is used on until {}",
                    spare.expires_at,
                );
                Ok(spare)
            }
            (result, _) => result,
        }
    }

    /// A token in place of one that Graph rejected, made for Graph's challenge if it came with one.
    /// When somebody else has replaced the token meanwhile, that one is it.
    ///
    /// # Errors
    ///
    /// When none can be had.
    pub(super) async fn replace(
        &self,
        tenant: &TenantId,
        rejected: &Token,
        claims: Option<String>,
    ) -> Result<Token, LoginError> {
        let app = self.app(tenant)?;
        let _asking = self.refreshing.lock().await;
        let now = self.clock.now();
        let settled = {
            let state = self.state();
            let newer = state.token.clone().filter(|token| {
                token.number > rejected.number && (claims.is_none() || token.claims == claims)
            });
            newer.map(Ok).or_else(|| state.paused(now).map(|failure| Err(failure.error.clone())))
        };
        match settled {
            Some(settled) => settled,
            None => self.refresh(app, claims).await,
        }
    }

    fn app(&self, tenant: &TenantId) -> Result<&App, LoginError> {
        self.app.as_ref().filter(|app| app.tenant == *tenant).ok_or(LoginError::NotConfigured)
    }

    fn look(&self) -> Look {
        let now = self.clock.now();
        let state = self.state();
        let valid = state.token.clone().filter(|token| now < token.expires_at);
        match (valid, state.paused(now)) {
            (Some(token), None) if token.renew_at <= now => Look::Renew(Some(token)),
            (Some(token), _) => Look::Use(token),
            (None, Some(failure)) => Look::Fail(failure.error.clone()),
            (None, None) => Look::Renew(None),
        }
    }

    /// Asks the login and keeps what came of it; only with `refreshing` held.
    async fn refresh(&self, app: &App, claims: Option<String>) -> Result<Token, LoginError> {
        let asked_at = self.clock.now();
        let granted = self.ask(app, claims.as_deref()).await;
        let now = self.clock.now();
        let mut state = self.state();
        match granted {
            Ok((bearer, lifetime)) => {
                state.granted += 1;
                let token = Token {
                    bearer,
                    claims,
                    number: state.granted,
                    renew_at: asked_at + lifetime.saturating_sub(EARLY.min(lifetime / 2)),
                    expires_at: asked_at + lifetime,
                };
                state.token = Some(token.clone());
                state.failure = None;
                Ok(token)
            }
            Err(error) => {
                let until = state.next_try(now, &error);
                state.failure = Some(Failure { error: error.clone(), since: now, until });
                Err(error)
            }
        }
    }

    async fn ask(
        &self,
        app: &App,
        claims: Option<&str>,
    ) -> Result<(Secret<HeaderValue>, Duration), LoginError> {
        let mut form = vec![
            ("client_id", app.client_id.as_str()),
            ("client_secret", app.client_secret.expose()),
            ("grant_type", "client_credentials"),
            ("scope", &app.scope),
        ];
        form.extend(claims.map(|claims| ("claims", claims)));
        let request = self.http.post(app.url.clone()).timeout(self.timeout).form(&form);
        let unreachable =
            |error: reqwest::Error| LoginError::Unreachable(Arc::new(error.without_url()));
        let mut response =
            request.header(ACCEPT, "application/json").send().await.map_err(unreachable)?;
        let status = response.status().as_u16();
        let patience = retry_after(response.headers(), self.clock.now());
        let body = body(&mut response, LONGEST_BODY).await.map_err(unreachable);
        if (200..=299).contains(&status) {
            let grant = Grant::read(&body?).ok_or(LoginError::Unreadable { status })?;
            // Anything else could not be found again in what others send back.
            let printable = grant.access_token.bytes().all(|byte| byte.is_ascii_graphic());
            let bearer = HeaderValue::try_from(format!("Bearer {}", grant.access_token)).ok();
            let mut bearer =
                bearer.filter(|_| printable).ok_or(LoginError::Unreadable { status })?;
            bearer.set_sensitive(true);
            return Ok((Secret::new(bearer), grant.expires_in));
        }
        let patience = patience.map(|wait| wait.min(LONGEST_PAUSE));
        Err(LoginError::from_answer(status, patience, &body.unwrap_or_default()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Token {
    /// The bare token, for the one place that takes it out of what others sent.
    pub(super) fn text(&self) -> &str {
        let header = self.bearer.expose().to_str().expect("it was checked when it was granted");
        header.strip_prefix("Bearer ").unwrap_or(header)
    }
}

/// What there is to do for a token.
enum Look {
    Use(Token),
    /// Ask the login; the token, if any, is valid until then.
    Renew(Option<Token>),
    Fail(LoginError),
}

impl State {
    fn paused(&self, now: Timestamp) -> Option<&Failure> {
        // Both ends, so that a clock that was set back does not prolong it.
        self.failure.as_ref().filter(|failure| failure.since <= now && now < failure.until)
    }

    /// When the login may be asked again after `error`.
    fn next_try(&self, now: Timestamp, error: &LoginError) -> Timestamp {
        let until = match &self.token {
            // The pause is over when the token is.
            Some(token) if now < token.expires_at => {
                token.expires_at.min(now + PAUSE_WITH_TOKEN).max(now + PAUSE_WITHOUT_TOKEN)
            }
            _ => now + PAUSE_WITHOUT_TOKEN,
        };
        match error {
            LoginError::Unavailable { retry_after: Some(wait), .. } => until.max(now + *wait),
            _ => until,
        }
    }
}
