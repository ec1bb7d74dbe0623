//! The legacy API: from a request's bytes to its answer, one step after the other.
//!
//! [`run`] is the order of checks. An earlier failure hides every later one, and nothing is done
//! unless all of them passed. Every decision is recorded: a deletion by the journal, in the
//! transaction that does it, what is refused or only looked up by the audit worker, folded.

pub(crate) mod action;
pub(crate) mod codes;
mod delete;
pub(crate) mod error;
mod lookup;
pub(crate) mod outcome;
pub(crate) mod params;
pub(crate) mod render;

use std::net::IpAddr;

use bytes::Bytes;

use self::action::{Action, ActionName};
use self::codes::Table;
use self::error::GatewayError;
use self::outcome::Done;
use self::params::Params;
use self::render::Style;
use crate::access::{AccessError, Actor, Token};
use crate::app::App;
use crate::id::{KeyId, RequestId};
use crate::model::chain::{AuditEvent, Personal};
use crate::model::plan::Refusal;
use crate::model::selector::Selector;
use crate::reply::Reply;
use crate::secret::{SafeUri, Secret};
use crate::store::error::StoreError;

/// How often a request is checked anew because keys or sessions changed under it.
const CHECKS: usize = 5;

/// A request to the legacy API, read whole, before anything of it was understood.
#[derive(Debug)]
pub(crate) struct LegacyRequest {
    pub(crate) id: RequestId,
    /// The client's address.
    pub(crate) peer: IpAddr,
    /// It came by `POST`.
    pub(crate) post: bool,
    /// Its query string is the part that is read.
    pub(crate) uri: SafeUri,
    /// The body, when its media type is `application/x-www-form-urlencoded`.
    pub(crate) form: Option<Secret<Bytes>>,
    /// `X-Api-Key`, read in the absence of the parameter.
    pub(crate) api_key_header: Option<Secret<String>>,
    /// `Authorization: Bearer`, read in the absence of the parameter.
    pub(crate) bearer: Option<Secret<String>>,
    /// A header says that nobody asked for this yet.
    pub(crate) prefetch: bool,
}

/// An answer, and what the access log says of its request.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) reply: Reply,
    pub(crate) log: AccessFacts,
}

/// What the access log may know of a request: names and words of ours, never a value.
#[derive(Clone, Debug)]
pub(crate) struct AccessFacts {
    /// Empty when it was none of ours.
    pub(crate) action: &'static str,
    pub(crate) key: Option<KeyId>,
    /// The outcome's or the reason's word.
    pub(crate) outcome: &'static str,
    pub(crate) code: i32,
    pub(crate) parameters: Vec<&'static str>,
    pub(crate) unknown_parameters: usize,
}

/// What becomes known of a request on its way, for log and audit record.
#[derive(Clone, Debug, Default)]
struct Trail {
    action: &'static str,
    key: Option<KeyId>,
    tenant: Option<String>,
    personal: Personal,
    /// What was sent to prove the caller.
    credentials: Vec<Secret<String>>,
}

impl Trail {
    /// What the record says of `selector`: nothing when a confused client sent a credential in it.
    fn selector(&self, selector: &str) -> Option<String> {
        let plain = |text: &str| text.to_lowercase().replace('-', "");
        let selected = plain(selector);
        let holds = |secret: &Secret<String>| selected.contains(&plain(secret.expose()));
        (!self.credentials.iter().any(holds)).then(|| selector.to_owned())
    }
}

/// Carries a request out, or says why not.
pub(crate) async fn handle(app: &App, request: LegacyRequest) -> Answered {
    let params = Params::read(&request, &app.limits);
    let style = params.style();
    let mut trail = Trail::default();
    trail.personal.peer = Some(request.peer.to_string());
    let result = run(app, &request, &params, &mut trail).await;
    if let Err(error) = &result {
        record_refusal(app, &params, &trail, error);
    }
    answer(app, &result, &style, &params, &trail)
}

/// Answers a request that never came to be read, in its caller's format as far as that is known.
pub(crate) fn refuse(app: &App, request: &LegacyRequest, error: GatewayError) -> Answered {
    let params = Params::read(request, &app.limits);
    // A path that is not ours is no request of the legacy API: nothing of it is echoed.
    let mut style = params.style();
    if matches!(error, GatewayError::UnknownPath | GatewayError::RequestLineTooLong) {
        style.echo.clear();
    }
    answer(app, &Err(error), &style, &params, &Trail::default())
}

/// The spine: the order of checks, as docs/PROTOCOL.md tells it.
async fn run(
    app: &App,
    request: &LegacyRequest,
    params: &Params,
    trail: &mut Trail,
) -> Result<Done, GatewayError> {
    params.format()?;
    let name = params.action_name()?;
    trail.action = name.as_str();
    if request.prefetch {
        return Err(refused(Refusal::Prefetch));
    }
    for _ in 0..CHECKS {
        let actor = authenticate(app, request, params, trail).await?;
        permit(&actor, name, request)?;
        let done = match Action::read(name, params)? {
            Action::DeleteCall(ask) => {
                delete::run(app, &actor, ask, params, trail).await?.map(Done::Deletion)
            }
            Action::GetCallId(ask) => lookup::call_id(app, &actor, ask, params, trail).await?,
            Action::GetCallInformation(ask) => {
                lookup::call_information(app, &actor, ask, params, trail).await?
            }
            Action::GetDeletion(ask) => lookup::deletion(app, &actor, ask, params, trail).await?,
        };
        match done {
            Some(done) => return Ok(done),
            // Key, session or user changed while the request was under way.
            None => app.access.refresh().await.map_err(|_error| GatewayError::Unavailable)?,
        }
    }
    Err(GatewayError::Unavailable)
}

/// API key and address, then the token.
async fn authenticate(
    app: &App,
    request: &LegacyRequest,
    params: &Params,
    trail: &mut Trail,
) -> Result<Actor, GatewayError> {
    let credentials = params.credentials(request);
    trail.credentials = credentials.sent();
    let now = app.clock.now();
    let checked = app
        .access
        .check_key(credentials.api_key.as_ref(), request.peer, now)
        .await
        .map_err(|error| nobody(request, &error))?;
    trail.key = Some(checked.key().id);
    trail.tenant = Some(checked.key().tenant.to_string());
    let token = match &credentials.token {
        action::Token::Absent => Token::Absent,
        action::Token::Malformed => Token::Malformed,
        action::Token::Sent(token) => Token::Sent(token),
    };
    let actor = app.access.check_token(checked, token, now).await;
    let actor = actor.map_err(|error| nobody(request, &error))?;
    trail.personal.user = actor.session().and_then(|session| session.login.clone());
    Ok(actor)
}

/// What a caller is told of a key or token that was not accepted; the log says why.
fn nobody(request: &LegacyRequest, error: &AccessError) -> GatewayError {
    match error {
        AccessError::Store(error) => {
            tracing::error!(request.id = %request.id, "nobody can be recognised: {error}");
            GatewayError::Unavailable
        }
        AccessError::Key(_) | AccessError::TokenNeeded | AccessError::Token => {
            tracing::info!(request.id = %request.id, "{error}");
            match error {
                AccessError::TokenNeeded => GatewayError::TokenNeeded,
                AccessError::Token => GatewayError::Token,
                AccessError::Key(_) | AccessError::Store(_) => GatewayError::Key,
            }
        }
    }
}

/// The right to the action, and to use it this way.
fn permit(actor: &Actor, name: ActionName, request: &LegacyRequest) -> Result<(), GatewayError> {
    if !actor.may(name.right()) {
        return Err(refused(Refusal::NotPermitted(name.as_str())));
    }
    if actor.key().post_only && !request.post {
        return Err(refused(Refusal::NotPermitted("GET")));
    }
    Ok(())
}

fn refused(refusal: Refusal) -> GatewayError {
    GatewayError::Refused { refusal, call_id: None, deletion_id: None }
}

/// What a caller is told when the store failed; the log says why.
fn store_failed(what: &'static str, error: &StoreError) -> GatewayError {
    tracing::error!("{what}: {error}");
    match error {
        // Asking again would not help.
        StoreError::Unexpected(_) | StoreError::Conflict => GatewayError::Internal,
        _ => GatewayError::Unavailable,
    }
}

/// What every answer with detail says besides its facts.
fn notes(app: &App, selector: Option<&Selector>) -> Vec<String> {
    let mut notes = selector.map(Selector::notes).unwrap_or_default();
    if app.other_host {
        notes.push("Graph is at a host that is not Microsoft's.".to_owned());
    }
    notes
}

fn record_refusal(app: &App, params: &Params, trail: &Trail, error: &GatewayError) {
    // "Cannot decide" is no decision.
    if matches!(error, GatewayError::Unavailable | GatewayError::Internal) {
        return;
    }
    let result = Table::new(&app.legacy).failure(error).reason.as_str();
    let mut event = event(params, trail, "refused", result);
    if let GatewayError::Refused { call_id, deletion_id, .. } = error {
        event.call_id = call_id.as_ref().map(ToString::to_string);
        event.deletion_id = deletion_id.map(|id| id.to_string());
    }
    app.audit.refused(event, trail.personal.clone());
}

/// What the audit record says of a request.
fn event(
    params: &Params,
    trail: &Trail,
    decision: &'static str,
    result: &'static str,
) -> AuditEvent {
    AuditEvent {
        action: trail.action.to_owned(),
        decision,
        result,
        tenant: trail.tenant.clone(),
        key_id: trail.key.map(|id| id.to_string()),
        call_id: None,
        deletion_id: None,
        parameters: params.known_names(),
    }
}

fn answer(
    app: &App,
    result: &Result<Done, GatewayError>,
    style: &Style,
    params: &Params,
    trail: &Trail,
) -> Answered {
    let table = Table::new(&app.legacy);
    let (reply, outcome, code) = match result {
        Ok(done) => {
            let (code, _) = match done {
                Done::Deletion(outcome) => codes::success(outcome.kind),
                Done::Found { .. } => codes::FOUND,
            };
            (render::done(done, style), done.as_str(), code)
        }
        Err(error) => {
            let failure = table.failure(error);
            (render::error(error, style, table), failure.reason.as_str(), failure.code)
        }
    };
    let log = AccessFacts {
        action: trail.action,
        key: trail.key,
        outcome,
        code,
        parameters: params.known_names(),
        unknown_parameters: params.unknown_count(),
    };
    Answered { reply, log }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_that_holds_a_credential_is_not_recorded() {
        let key = "74c8eea0-50c6-40b2-9f3e-252ed501c3c8";
        let trail = Trail { credentials: vec![Secret::new(key.to_owned())], ..Trail::default() };
        for selector in [key.to_uppercase(), format!("nativeID=32:{};", key.replace('-', ""))] {
            assert_eq!(trail.selector(&selector), None, "{selector}");
        }
        assert_eq!(trail.selector("callID=1:a;").as_deref(), Some("callID=1:a;"));
    }
}
