//! `RequestToken` and `ReleaseToken`: one hour in which a key acts for somebody.
//!
//! Both change something, so they are recorded in the transaction that does it; a login that was
//! not accepted is recorded like every other refusal.

use super::action::{SentLogin, TokenRequest};
use super::error::GatewayError;
use super::outcome::{Done, Found};
use super::params::Params;
use super::{LegacyRequest, Trail, event, notes, refused, store_failed};
use crate::access::{Actor, CheckedKey, LoginError};
use crate::app::App;
use crate::model::plan::Refusal;
use crate::store::access::AuditEntry;
use crate::users::Login;

/// Characters of a login that was tried, at most: no login that there is has more.
const LONGEST_LOGIN: usize = 128;

/// Carries out a `RequestToken`; gives none when the key has to be checked anew.
pub(super) async fn request(
    app: &App,
    key: &CheckedKey,
    ask: TokenRequest,
    request: &LegacyRequest,
    params: &Params,
    trail: &mut Trail,
) -> Result<Option<Done>, GatewayError> {
    if ask.in_query && !key.key().query_passwords {
        return Err(refused(Refusal::NotPermitted("a password in the query string")));
    }
    let login = match ask.sent {
        SentLogin::Sent { login, password } => Login { login, password },
        SentLogin::Malformed => {
            trail.cause = Some("malformed");
            return Err(GatewayError::Login);
        }
        SentLogin::Absent => {
            trail.cause = Some("missing");
            return Err(GatewayError::LoginNeeded { challenge: app.legacy.basic_challenge });
        }
    };
    let tried: String = login.login.chars().take(LONGEST_LOGIN).collect();
    trail.personal.user = trail.without_credentials(&tried);
    let entry = entry(app, params, trail, "logged_in");
    match app.access.log_in(key, &login, ask.in_query, entry).await {
        Ok(token) => {
            let what = Box::new(Found::Token(token));
            Ok(Some(Done::Found { what, notes: notes(app, None) }))
        }
        Err(LoginError::AccessChanged) => Ok(None),
        Err(error) => Err(nobody(request, error, trail)),
    }
}

/// Carries out a `ReleaseToken`; gives none when the session had ended by then: why is told by
/// checking the actor anew.
pub(super) async fn release(
    app: &App,
    actor: &Actor,
    params: &Params,
    trail: &Trail,
) -> Result<Option<Done>, GatewayError> {
    let entry = entry(app, params, trail, "released");
    let released = app.access.release(actor, entry).await;
    let released =
        released.map_err(|error| store_failed("a token could not be released", &error))?;
    let done = || Done::Found { what: Box::new(Found::Released), notes: notes(app, None) };
    Ok(released.then(done))
}

/// What a caller is told who was not logged in; log and record say why.
fn nobody(request: &LegacyRequest, error: LoginError, trail: &mut Trail) -> GatewayError {
    tracing::info!(request.id = %request.id, "{error}");
    match error {
        LoginError::Wrong(cause) => {
            trail.cause = Some(cause);
            GatewayError::Login
        }
        LoginError::Braked { retry_after } => {
            trail.cause = Some("braked");
            GatewayError::Braked { retry_after }
        }
        LoginError::Store(error) => store_failed("nobody can be logged in", &error),
        LoginError::AccessChanged => GatewayError::Unavailable,
    }
}

/// The record of what is done now, to be written with it.
fn entry(app: &App, params: &Params, trail: &Trail, result: &'static str) -> AuditEntry {
    AuditEntry {
        at: app.clock.now(),
        count: 1,
        event: event(params, trail, "allowed", result),
        personal: trail.personal.clone(),
    }
}
