//! Graph's side: the calls API, in the three path forms that were ever documented.
//!
//! Imitates documents and captures of official clients, not our own client.

mod access;
mod entity;
mod refusal;
mod resource;

use bytes::Bytes;
use hyper::header::{HeaderName, HeaderValue, LOCATION};
use hyper::{Method, Request, StatusCode};
use serde_json::Value;

use self::entity::graph_json;
use self::refusal::Refusal;
use self::resource::{Part, Resource};
use super::answer::{Answer, Exchange};
use super::calls::{Call, CallError, CallState, Calls, EndReason, Invitation, Invite};
use super::directory::Directory;
use super::fields::{BadField, Fields};
use super::login::Bearer;
use super::switchboard::Switchboard;

/// Carries out a request of an app and answers as Graph does.
pub(super) fn answer(
    switchboard: &mut Switchboard,
    directory: &Directory,
    path: &[String],
    request: &Request<Bytes>,
    exchange: &Exchange,
) -> Answer {
    let outcome = access::bearer(request, exchange).and_then(|bearer| {
        let resource = Resource::find(path)?;
        carry_out(switchboard, directory, &resource, &bearer, request, exchange)
    });
    match outcome {
        Ok(answer) => identified(answer, exchange),
        Err(refusal) => refusal.answer(exchange),
    }
}

/// What Graph answers with `status` when a fault names nothing else.
pub(super) fn usual(status: StatusCode, exchange: &Exchange) -> Answer {
    if status.as_u16() < 400 {
        return identified(Answer::empty(status), exchange);
    }
    match status {
        StatusCode::NOT_FOUND => Refusal::call_not_found(),
        StatusCode::UNAUTHORIZED => Refusal::unauthorized("Access token validation failure."),
        StatusCode::BAD_REQUEST => Refusal::new(status, "BadRequest", "Invalid request."),
        StatusCode::FORBIDDEN => {
            Refusal::new(status, "7503", "Application is not registered in our store.")
        }
        StatusCode::PAYLOAD_TOO_LARGE => {
            Refusal::new(status, "RequestEntityTooLarge", "The request is too large.")
        }
        StatusCode::TOO_MANY_REQUESTS => {
            Refusal::new(status, "TooManyRequests", "Please retry again later.")
        }
        StatusCode::INTERNAL_SERVER_ERROR => {
            Refusal::new(status, "9999", "Unknown internal server error.")
        }
        _ => Refusal::new(status, "UnknownError", "The request could not be processed."),
    }
    .answer(exchange)
}

fn carry_out(
    switchboard: &mut Switchboard,
    directory: &Directory,
    resource: &Resource<'_>,
    bearer: &Bearer,
    request: &Request<Bytes>,
    exchange: &Exchange,
) -> Result<Answer, Refusal> {
    let id = resource.call_id;
    let known = check_method(resource, request)?;
    access::check(switchboard.calls(), directory, resource, bearer)?;
    match known {
        Operation::HangUp => {
            switchboard.end(id, EndReason::by_app())?;
            Ok(Answer::empty(StatusCode::NO_CONTENT))
        }
        Operation::Reject => {
            check_rejection(request.body())?;
            switchboard.reject(id, exchange.at)?;
            Ok(Answer::empty(StatusCode::ACCEPTED))
        }
        Operation::Invite => {
            let invalid = |error: BadField| Refusal::invalid_body(&error);
            let invite = Fields::read(request.body()).and_then(Invite::read).map_err(invalid)?;
            let invitation = switchboard.invite(id, invite, exchange.at)?;
            Ok(invited(invitation, resource, request, exchange))
        }
        Operation::Remove(participant) => {
            access::check_removal(directory, bearer)?;
            switchboard.remove(id, participant)?;
            Ok(Answer::empty(StatusCode::NO_CONTENT))
        }
        Operation::Read => {
            let shown = read(live(switchboard.calls(), id)?, resource)?;
            Ok(graph_json(StatusCode::OK, &shown))
        }
    }
}

/// What a request wants done.
enum Operation<'a> {
    HangUp,
    Reject,
    Invite,
    Remove(&'a str),
    Read,
}

/// The operation that method and path name.
fn check_method<'a>(
    resource: &Resource<'a>,
    request: &Request<Bytes>,
) -> Result<Operation<'a>, Refusal> {
    match (&resource.part, request.method()) {
        (Part::Whole | Part::Participant(_), &Method::DELETE) if !request.body().is_empty() => {
            Err(Refusal::bad_request("A request body is not supported for this method."))
        }
        (Part::Whole, &Method::DELETE) => Ok(Operation::HangUp),
        (Part::Participant(id), &Method::DELETE) => Ok(Operation::Remove(id)),
        (Part::Rejection, &Method::POST) => Ok(Operation::Reject),
        (Part::Invitation, &Method::POST) => Ok(Operation::Invite),
        (Part::Whole | Part::Roster | Part::Participant(_) | Part::Operation(_), &Method::GET) => {
            Ok(Operation::Read)
        }
        (part, _) => Err(Refusal::method(part)),
    }
}

/// The entity that the path names.
fn read(call: &Call, resource: &Resource<'_>) -> Result<Value, Refusal> {
    match resource.part {
        Part::Roster => Ok(entity::roster(call, resource)),
        Part::Participant(id) => {
            let found = call.participants.iter().find(|one| one.id == id);
            Ok(entity::participant(found.ok_or(CallError::UnknownParticipant)?))
        }
        Part::Operation(id) => {
            let found = call.invitations.iter().find(|one| one.id == id);
            Ok(entity::operation(found.ok_or_else(Refusal::no_operation)?, resource))
        }
        Part::Whole | Part::Rejection | Part::Invitation => {
            Ok(entity::call_resource(call, resource))
        }
    }
}

/// The operation, and where it can be read until it is over.
fn invited(
    invitation: &Invitation,
    resource: &Resource<'_>,
    request: &Request<Bytes>,
    exchange: &Exchange,
) -> Answer {
    let shown = entity::operation(invitation, resource);
    let answer = graph_json(StatusCode::OK, &shown);
    let path = request.uri().path();
    let call = path.rsplitn(3, '/').nth(2).unwrap_or(path);
    let location = format!("{}{call}/operations/{}", exchange.base, invitation.id);
    match HeaderValue::from_str(&location) {
        Ok(location) => answer.with(LOCATION, location),
        // The host that the client named cannot be repeated to it.
        Err(_) => answer,
    }
}

/// A call as Graph's side knows it: an ended one is not there.
fn live<'a>(calls: &'a Calls, id: &str) -> Result<&'a Call, Refusal> {
    match calls.get(id) {
        Ok(call) if call.state != CallState::Terminated => Ok(call),
        _ => Err(Refusal::call_not_found()),
    }
}

/// Both parameters of a rejection are optional.
fn check_rejection(body: &[u8]) -> Result<(), Refusal> {
    let invalid = |error: BadField| Refusal::invalid_body(&error);
    let mut fields = Fields::read(body).map_err(invalid)?;
    let reason = fields.text("reason").map_err(invalid)?;
    let callback = fields.text("callbackUri").map_err(invalid)?;
    if callback.is_some_and(|uri| !uri.to_lowercase().starts_with("https://")) {
        return Err(invalid(BadField::new("callbackUri", "must be an https address")));
    }
    match reason.map(|reason| reason.to_lowercase()).as_deref() {
        None | Some("none" | "busy" | "forbidden") => Ok(()),
        Some(other) => Err(invalid(BadField::new("reason", format!("'{other}' is none")))),
    }
}

/// Adds the headers that every answer of Graph carries.
fn identified(answer: Answer, exchange: &Exchange) -> Answer {
    const DIAGNOSTIC: &str = r#"{"ServerInfo":{"DataCenter":"Simulator","Slice":"E","Ring":"1","ScaleUnit":"000","RoleInstance":"callgate"}}"#;
    answer
        .with(HeaderName::from_static("request-id"), exchange.request_id.clone())
        .with(HeaderName::from_static("client-request-id"), exchange.client_request_id.clone())
        .with(HeaderName::from_static("x-ms-ags-diagnostic"), HeaderValue::from_static(DIAGNOSTIC))
}
