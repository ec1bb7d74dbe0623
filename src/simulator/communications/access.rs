//! Whether a request may do anything at all: the token, its app, the tenant and app of the call.
//!
//! Any bearer token is accepted, because a test may come with one of its own; only one that the
//! simulator issued itself is held to its expiry, its tenant and its app.

use bytes::Bytes;
use hyper::Request;
use hyper::header::AUTHORIZATION;

use super::refusal::Refusal;
use super::resource::Resource;
use crate::simulator::answer::{Exchange, text_of};
use crate::simulator::calls::Calls;
use crate::simulator::directory::{Directory, same};
use crate::simulator::login::{self, App, Bearer};
use crate::simulator::trouble::Trouble;

/// Who asks.
pub(super) fn bearer(request: &Request<Bytes>, exchange: &Exchange) -> Result<Bearer, Refusal> {
    let credentials = request.headers().get(AUTHORIZATION).map(text_of).unwrap_or_default();
    let token = match credentials.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("Bearer") => token.trim(),
        _ => "",
    };
    if token.is_empty() {
        return Err(Refusal::unauthorized("Access token is empty."));
    }
    match login::read_token(token, exchange.at) {
        Bearer::Expired => {
            Err(Refusal::unauthorized("Lifetime validation failed, the token is expired."))
        }
        bearer => Ok(bearer),
    }
}

/// Whether this app may ask about this call.
pub(super) fn check(
    calls: &Calls,
    directory: &Directory,
    resource: &Resource<'_>,
    bearer: &Bearer,
) -> Result<(), Refusal> {
    if let Bearer::Of(app) = bearer {
        check_app(calls, directory, resource, app)?;
    }
    match calls.get(resource.call_id)?.error {
        Some(trouble) => Err(trouble.into()),
        None => Ok(()),
    }
}

fn check_app(
    calls: &Calls,
    directory: &Directory,
    resource: &Resource<'_>,
    app: &App,
) -> Result<(), Refusal> {
    if let Some(trouble) = directory.trouble(app) {
        return Err(trouble.into());
    }
    // No document says what Graph makes of another app in the path. This is what it says of an app
    // that cannot be what it claims, and it can be mistaken for no answer about the call.
    if resource.app_id.is_some_and(|id| !same(id, &app.client_id)) {
        return Err(Trouble::NotRegistered.into());
    }
    let call = calls.get(resource.call_id)?;
    if call.tenant_is_said && !same(&call.tenant_id, &app.tenant) {
        return Err(Trouble::OtherTenant.into());
    }
    // A call is there only for the app that owns it.
    if call.app_id.as_ref().is_some_and(|owner| !same(owner, &app.client_id)) {
        return Err(Refusal::call_not_found());
    }
    Ok(())
}

/// Whether the tenant lets this app remove participants. What Graph answers otherwise is not
/// documented; the one failure of removals that people have reported is this.
pub(super) fn check_removal(directory: &Directory, bearer: &Bearer) -> Result<(), Refusal> {
    match bearer {
        Bearer::Of(app) if !directory.may_remove(app) => Err(Trouble::Internal.into()),
        _ => Ok(()),
    }
}
