//! The legacy API: from a request's bytes to its answer, one step after the other.
//!
//! [`run`] is the order of checks. An earlier failure hides every later one, and nothing is done
//! unless all of them passed. Every decision is recorded: a deletion by the journal, in the
//! transaction that does it, what is refused or only looked up by the audit worker, folded.

pub(crate) mod action;
mod auth;
pub(crate) mod codes;
mod delete;
mod end;
pub(crate) mod error;
mod lookup;
pub(crate) mod outcome;
pub(crate) mod params;
pub(crate) mod render;
mod session;

use std::net::IpAddr;

use bytes::Bytes;

use self::action::{Action, ActionName, Steps};
use self::codes::Table;
use self::error::GatewayError;
use self::outcome::Done;
use self::params::Params;
use self::render::Style;
use crate::access::Actor;
use crate::app::App;
use crate::id::{KeyId, RequestId, SessionId};
use crate::model::chain::{AuditEvent, Personal};
use crate::model::key::{ApiKey, Session};
use crate::model::plan::Refusal;
use crate::model::selector::Selector;
use crate::reply::Reply;
use crate::secret::{SafeUri, Secret};
use crate::store::error::StoreError;

/// How often a request is checked anew because keys or sessions changed under it.
const CHECKS: usize = 5;
/// No password that anybody has is shorter.
const SHORTEST_CREDENTIAL: usize = 8;

/// A request to the legacy API, read whole, before anything of it was understood.
#[derive(Debug)]
pub(crate) struct LegacyRequest {
    pub(crate) id: RequestId,
    /// The client's address.
    pub(crate) peer: IpAddr,
    /// It came to a path of the legacy API.
    pub(crate) at_our_path: bool,
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
    /// `Authorization: Basic`, still encoded; several different ones are one that is malformed.
    pub(crate) basic: Option<Secret<Bytes>>,
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
    /// So many bad keys come from its address that this is not worth a line.
    pub(crate) is_braked: bool,
}

/// What becomes known of a request on its way, for log and audit record.
#[derive(Clone, Debug, Default)]
struct Trail {
    action: &'static str,
    key: Option<KeyId>,
    tenant: Option<String>,
    /// The session that its token opened, accepted or not.
    session: Option<SessionId>,
    personal: Personal,
    /// Why it was refused, where the reason does not say it.
    cause: Option<&'static str>,
    is_braked: bool,
    /// What was sent to prove the caller.
    credentials: Vec<Secret<String>>,
}

impl Trail {
    /// It comes with this key, accepted or not.
    fn uses(&mut self, key: &ApiKey) {
        self.key = Some(key.id);
        self.tenant = Some(key.tenant.to_string());
    }

    /// It comes with the token of this session, accepted or not.
    fn acts_in(&mut self, session: &Session) {
        self.session = Some(session.id);
        self.personal.user.clone_from(&session.login);
    }

    /// What the record says of `selector`: nothing when a confused client sent a credential in it.
    fn selector(&self, selector: &str) -> Option<String> {
        self.without_credentials(selector)
    }

    /// `text`, when no credential is in it. What is shorter than every credential counts as none, or
    /// a client could hide from the record what it does.
    fn without_credentials(&self, text: &str) -> Option<String> {
        let holds = |secret: &Secret<String>| {
            let significant = secret.expose().chars().filter(|letter| *letter != '-').count();
            significant >= SHORTEST_CREDENTIAL && secret.is_in(text)
        };
        (!self.credentials.iter().any(holds)).then(|| text.to_owned())
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
    let mut style = params.style();
    let mut trail = Trail::default();
    if request.at_our_path {
        trail.action = params.action_name().map_or("", ActionName::as_str);
        trail.cause = unread(&error);
        trail.personal.peer = Some(request.peer.to_string());
        record_refusal(app, &params, &trail, &error);
    }
    // A path that is not ours is no request of the legacy API: nothing of it is echoed.
    if !request.at_our_path || error == GatewayError::RequestLineTooLong {
        style.echo.clear();
    }
    answer(app, &Err(error), &style, &params, &trail)
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
    let credentials = params.credentials(request);
    trail.credentials = credentials.sent();
    for _ in 0..CHECKS {
        let key = auth::key(app, &credentials, request, trail).await?;
        let done = match name.steps() {
            Steps::LogIn => {
                auth::permit(key.key(), name, request)?;
                let ask = action::token_request(request, params)?;
                session::request(app, &key, ask, request, params, trail).await?
            }
            Steps::Act { always_with_token, read } => {
                let actor = auth::actor(app, &key, always_with_token, &credentials, request, trail);
                let actor = actor.await?;
                auth::permit(actor.key(), name, request)?;
                act(app, &actor, read(params)?, params, trail).await?
            }
        };
        match done {
            Some(done) => return Ok(done),
            // Key, session or user changed while the request was under way.
            None => app.access.refresh().await.map_err(|_error| GatewayError::Unavailable)?,
        }
    }
    Err(GatewayError::Unavailable)
}

/// Carries an action out; gives none when the actor has to be checked anew.
async fn act(
    app: &App,
    actor: &Actor,
    action: Action,
    params: &Params,
    trail: &mut Trail,
) -> Result<Option<Done>, GatewayError> {
    match action {
        Action::Delete(ask) => {
            Ok(delete::run(app, actor, ask, params, trail).await?.map(Done::Deletion))
        }
        Action::GetCallId(ask) => lookup::call_id(app, actor, ask, params, trail).await,
        Action::GetCallInformation(ask) => {
            lookup::call_information(app, actor, ask, params, trail).await
        }
        Action::GetDeletion(ask) => lookup::deletion(app, actor, ask, params, trail).await,
        Action::ReleaseToken => session::release(app, actor, params, trail).await,
    }
}

fn refused(refusal: Refusal) -> GatewayError {
    GatewayError::Refused { refusal, facts: Box::default() }
}

/// What a caller is told when the store failed; the log says why.
fn store_failed(what: &'static str, error: &StoreError) -> GatewayError {
    if !error.is_shown() {
        tracing::error!("{what}: {error}");
    }
    match error {
        // Asking again would not help.
        StoreError::Unexpected(_) | StoreError::Conflict => GatewayError::Internal,
        _ => GatewayError::Unavailable,
    }
}

/// The right to name a call by what this selector names it by.
fn permit_identifiers(key: &ApiKey, selector: &Selector) -> Result<(), GatewayError> {
    let allowed = &key.identifiers;
    match selector.kinds().find(|kind| !allowed.is_empty() && !allowed.contains(kind)) {
        Some(kind) => Err(refused(Refusal::NotPermitted(kind.as_str()))),
        None => Ok(()),
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

/// Why a request was refused before it was read, where the reason does not say it.
const fn unread(error: &GatewayError) -> Option<&'static str> {
    match error {
        GatewayError::Method => Some("method"),
        GatewayError::BodyTooLarge => Some("body_too_large"),
        GatewayError::RequestLineTooLong => Some("request_line_too_long"),
        GatewayError::HeadersTooLarge => Some("headers_too_large"),
        GatewayError::BodyIncomplete => Some("body_incomplete"),
        _ => None,
    }
}

fn record_refusal(app: &App, params: &Params, trail: &Trail, error: &GatewayError) {
    // "Cannot decide" is no decision, unless it is known why.
    let is_undecided = matches!(error, GatewayError::Unavailable | GatewayError::Internal);
    if is_undecided && trail.cause.is_none() {
        return;
    }
    let result = Table::new(&app.legacy).failure(error).reason.as_str();
    let mut event = event(params, trail, "refused", result);
    if let GatewayError::Refused { facts, .. } = error {
        event.call_id = facts.call_id.as_ref().map(ToString::to_string);
        event.deletion_id = facts.deletion_id.map(|id| id.to_string());
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
        session_id: trail.session.map(|id| id.to_string()),
        successor_id: None,
        predecessor_id: None,
        cause: trail.cause,
        commits: None,
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
        is_braked: trail.is_braked,
    };
    Answered { reply, log }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trail(credential: &str) -> Trail {
        Trail { credentials: vec![Secret::new(credential.to_owned())], ..Trail::default() }
    }

    #[test]
    fn a_selector_that_holds_a_credential_is_not_recorded() {
        let key = "74c8eea0-50c6-40b2-9f3e-252ed501c3c8";
        let trail = trail(key);
        for selector in [key.to_uppercase(), format!("nativeID=32:{};", key.replace('-', ""))] {
            assert_eq!(trail.selector(&selector), None, "{selector}");
        }
        assert_eq!(trail.selector("callID=1:a;").as_deref(), Some("callID=1:a;"));
    }

    #[test]
    fn nobody_hides_from_the_record_by_sending_its_letters_as_a_credential() {
        for short in ["", "-", "8", "calli-d", "--------"] {
            let recorded = trail(short).selector("callID=1:8;");
            assert_eq!(recorded.as_deref(), Some("callID=1:8;"), "{short}");
        }
        assert_eq!(trail("Geheim-12").without_credentials("jane geheim12"), None);
    }
}
