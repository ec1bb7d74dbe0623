//! Who asks, and whether they may: API key and address, then the token, then the right.
//!
//! Why somebody was not accepted is for the log and the record; the caller learns the code only.

use super::action::{self, ActionName, Credentials};
use super::error::GatewayError;
use super::{LegacyRequest, Trail, refused};
use crate::access::{AccessError, Actor, CheckedKey, Token};
use crate::app::App;
use crate::model::key::ApiKey;
use crate::model::plan::Refusal;

/// Step 3: API key and address.
///
/// # Errors
///
/// When it is not accepted, or that could not be told.
pub(super) async fn key(
    app: &App,
    credentials: &Credentials,
    request: &LegacyRequest,
    trail: &mut Trail,
) -> Result<CheckedKey, GatewayError> {
    let now = app.clock.now();
    let checked = app.access.check_key(credentials.api_key.as_ref(), request.peer, now).await;
    let key = checked.map_err(|error| nobody(request, &error, trail))?;
    trail.uses(key.key());
    Ok(key)
}

/// Step 4: who acts with `key`, by the token where the key or the action needs one.
///
/// # Errors
///
/// Nobody, or it could not be told.
pub(super) async fn actor(
    app: &App,
    key: &CheckedKey,
    is_needed: bool,
    credentials: &Credentials,
    request: &LegacyRequest,
    trail: &mut Trail,
) -> Result<Actor, GatewayError> {
    let token = match &credentials.token {
        action::Token::Absent => Token::Absent,
        action::Token::Malformed => Token::Malformed,
        action::Token::Sent(token) => Token::Sent(token),
    };
    let now = app.clock.now();
    let mut actor = app.access.check_token(key.clone(), token, is_needed, now).await;
    if let Err(AccessError::Token(_)) = actor {
        // It may have ended with its key, which is to be told first.
        let again = async {
            app.access.refresh().await?;
            app.access.check_key(credentials.api_key.as_ref(), request.peer, now).await
        };
        actor = again.await.and(actor);
    }
    let actor = actor.map_err(|error| nobody(request, &error, trail))?;
    if let Some(session) = actor.session() {
        trail.acts_in(session);
    }
    Ok(actor)
}

/// Step 5: the right to the action, and to use it this way.
///
/// # Errors
///
/// When the key does not have it.
pub(super) fn permit(
    key: &ApiKey,
    name: ActionName,
    request: &LegacyRequest,
) -> Result<(), GatewayError> {
    if !key.may(name.right()) {
        return Err(refused(Refusal::NotPermitted(name.as_str())));
    }
    if key.post_only && !request.post {
        return Err(refused(Refusal::NotPermitted("GET")));
    }
    Ok(())
}

/// What a caller is told of a key or token that was not accepted; log and record say why.
fn nobody(request: &LegacyRequest, error: &AccessError, trail: &mut Trail) -> GatewayError {
    if let AccessError::Store(error) = error {
        if !error.is_shown() {
            tracing::error!(request.id = %request.id, "nobody can be recognised: {error}");
        }
        return GatewayError::Unavailable;
    }
    trail.cause = cause(error);
    match error {
        AccessError::Key(refusal) => {
            trail.is_braked = refusal.is_braked;
            refusal.key.iter().for_each(|key| trail.uses(key));
        }
        AccessError::Hosts(key) => trail.uses(key),
        AccessError::Token(refusal) => {
            refusal.session.iter().for_each(|session| trail.acts_in(session));
        }
        AccessError::TokenNeeded | AccessError::Store(_) => {}
    }
    if trail.is_braked {
        // The access log warns that there are more.
        tracing::debug!(request.id = %request.id, "{error}");
    } else {
        tracing::info!(request.id = %request.id, "{error}");
    }
    match error {
        AccessError::Key(_) => GatewayError::Key,
        AccessError::TokenNeeded => GatewayError::TokenNeeded,
        AccessError::Token(_) => GatewayError::Token,
        AccessError::Hosts(_) | AccessError::Store(_) => GatewayError::Unavailable,
    }
}

/// Why, where the reason does not say it.
const fn cause(error: &AccessError) -> Option<&'static str> {
    match error {
        AccessError::Key(refusal) => Some(refusal.cause),
        AccessError::Token(refusal) => Some(refusal.cause),
        AccessError::Hosts(_) => Some("hosts"),
        AccessError::TokenNeeded | AccessError::Store(_) => None,
    }
}
