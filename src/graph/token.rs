//! Tokens for Graph by client credentials: those of one tenant, refreshed once for all who wait.
//!
//! A token is renewed before it expires, and one that is still valid is used on when that fails.
//! Neither token nor credential is ever printed, logged or part of an error.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::header::HeaderValue;

pub(super) use self::app::App;
use self::app::Granted;
use super::error::LoginError;
use crate::clock::{Clock, Moment, Timestamp};
use crate::secret::Secret;
use crate::telemetry::metrics::count::Counts;
use crate::telemetry::metrics::label::Login;

mod app;
mod assertion;
#[cfg(test)]
mod tests;

/// A token is renewed this long before it expires, or at half its life when that is shorter.
const EARLY: Duration = Duration::from_mins(5);
/// After a failed renewal, a token that is still valid is used this long before the next try.
const PAUSE_WITH_TOKEN: Duration = Duration::from_secs(30);
/// Without a token, all who need one share the failure this long; then one of them tries again.
const PAUSE_WITHOUT_TOKEN: Duration = Duration::from_secs(1);

/// The tokens of one tenant.
#[derive(Debug)]
pub(super) struct Tokens {
    app: App,
    clock: Clock,
    state: Mutex<State>,
    /// Held by the one who asks the login.
    refreshing: tokio::sync::Mutex<()>,
    pub(super) logins: Counts<Login>,
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
    /// By a clock that nobody sets.
    until: Timestamp,
}

impl Tokens {
    pub(super) fn new(app: App, clock: Clock) -> Self {
        let (state, refreshing) = (Mutex::default(), tokio::sync::Mutex::default());
        Self { app, clock, state, refreshing, logins: Counts::default() }
    }

    /// A token, renewed when it is time.
    ///
    /// # Errors
    ///
    /// When there is no valid token and none can be had; no request may be sent then.
    pub(super) async fn get(&self) -> Result<Token, LoginError> {
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
        match (self.refresh(None).await, spare) {
            (Err(error), Some(spare)) => {
                let tenant = self.app.tenant();
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
        rejected: &Token,
        claims: Option<String>,
    ) -> Result<Token, LoginError> {
        let _asking = self.refreshing.lock().await;
        let now = self.clock.moment();
        let settled = {
            let state = self.state();
            let newer = state.token.clone().filter(|token| {
                token.number > rejected.number && (claims.is_none() || token.claims == claims)
            });
            newer.map(Ok).or_else(|| state.paused(now.steady).map(Err))
        };
        match settled {
            Some(settled) => settled,
            None => self.refresh(claims).await,
        }
    }

    fn look(&self) -> Look {
        let Moment { wall: now, steady } = self.clock.moment();
        let state = self.state();
        let valid = state.token.clone().filter(|token| now < token.expires_at);
        match (valid, state.paused(steady)) {
            (Some(token), None) if token.renew_at <= now => Look::Renew(Some(token)),
            (Some(token), _) => Look::Use(token),
            (None, Some(error)) => Look::Fail(error),
            (None, None) => Look::Renew(None),
        }
    }

    /// Asks the login and keeps what came of it; only with `refreshing` held.
    async fn refresh(&self, claims: Option<String>) -> Result<Token, LoginError> {
        let asked_at = self.clock.now();
        let granted = self.app.ask(claims.as_deref()).await;
        self.logins
            .count(granted.as_ref().map_or_else(LoginError::label, |_granted| Login::Granted));
        let now = self.clock.moment();
        let mut state = self.state();
        match granted {
            Ok(Granted { bearer, lifetime, refresh_in }) => {
                state.granted += 1;
                let token = Token {
                    bearer,
                    claims,
                    number: state.granted,
                    renew_at: asked_at + renewed_after(lifetime, refresh_in),
                    expires_at: asked_at + lifetime,
                };
                state.token = Some(token.clone());
                state.failure = None;
                Ok(token)
            }
            Err(error) => {
                let until = now.steady + state.next_try(now.wall, &error).since(now.wall);
                state.failure = Some(Failure { error: error.clone(), until });
                Err(error)
            }
        }
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

/// How old a token gets before it is renewed. The login may wish for earlier, not for at once.
fn renewed_after(lifetime: Duration, refresh_in: Option<Duration>) -> Duration {
    let latest = lifetime.saturating_sub(EARLY.min(lifetime / 2));
    refresh_in.map_or(latest, |wish| wish.max(PAUSE_WITH_TOKEN).min(latest))
}

/// What there is to do for a token.
enum Look {
    Use(Token),
    /// Ask the login; the token, if any, is valid until then.
    Renew(Option<Token>),
    Fail(LoginError),
}

impl State {
    /// What whoever needs a token now shares: of what the login asked to wait, the rest is left.
    fn paused(&self, steady: Timestamp) -> Option<LoginError> {
        let failure = self.failure.as_ref().filter(|failure| steady < failure.until)?;
        let mut error = failure.error.clone();
        if let LoginError::Unavailable { retry_after: Some(wait), .. } = &mut error {
            *wait = failure.until.since(steady);
        }
        Some(error)
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
