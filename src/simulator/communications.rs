//! Graph's side: the calls API, in the three path forms that were ever documented.
//!
//! Imitates documents and captures of official clients, not our own client. Any bearer token is
//! accepted, because a test may come with one of its own; only one that the simulator issued
//! itself is held to its expiry.

mod refusal;
mod resource;

use bytes::Bytes;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};
use serde_json::{Value, json};

use self::refusal::Refusal;
use self::resource::{Part, Resource};
use super::answer::{Answer, Exchange, text_of};
use super::calls::{Call, CallError, CallState, Calls, EndReason, IdentitySet, RosterChange};
use super::fields::Fields;
use super::login;
use super::switchboard::Switchboard;

/// Carries out a request of an app and answers as Graph does.
pub(super) fn answer(
    switchboard: &mut Switchboard,
    path: &[String],
    request: &Request<Bytes>,
    exchange: &Exchange,
) -> Answer {
    let outcome = authorize(request, exchange)
        .and_then(|()| Resource::find(path))
        .and_then(|resource| carry_out(switchboard, &resource, request));
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

fn authorize(request: &Request<Bytes>, exchange: &Exchange) -> Result<(), Refusal> {
    let credentials = request.headers().get(AUTHORIZATION).map(text_of).unwrap_or_default();
    let token = match credentials.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("Bearer") => token.trim(),
        _ => "",
    };
    if token.is_empty() {
        return Err(Refusal::unauthorized("Access token is empty."));
    }
    if login::is_expired(token, exchange.at) {
        return Err(Refusal::unauthorized("Lifetime validation failed, the token is expired."));
    }
    Ok(())
}

fn carry_out(
    switchboard: &mut Switchboard,
    resource: &Resource<'_>,
    request: &Request<Bytes>,
) -> Result<Answer, Refusal> {
    let id = resource.call_id;
    match (&resource.part, request.method()) {
        (Part::Whole | Part::Participant(_), &Method::DELETE) if !request.body().is_empty() => {
            Err(Refusal::bad_request("A request body is not supported for this method."))
        }
        (Part::Whole, &Method::DELETE) => {
            switchboard.end(id, EndReason::by_app())?;
            Ok(Answer::empty(StatusCode::NO_CONTENT))
        }
        (Part::Whole, &Method::GET) => {
            let call = live(switchboard.calls(), id)?;
            Ok(graph_json(StatusCode::OK, &call_resource(call, resource)))
        }
        (Part::Rejection, &Method::POST) => {
            check_rejection(request.body())?;
            switchboard.reject(id)?;
            Ok(Answer::empty(StatusCode::ACCEPTED))
        }
        (Part::Roster, &Method::GET) => {
            let call = live(switchboard.calls(), id)?;
            Ok(graph_json(StatusCode::OK, &roster(call, resource)))
        }
        (Part::Participant(participant), &Method::DELETE) => {
            switchboard.change_roster(id, RosterChange::removal(participant))?;
            Ok(Answer::empty(StatusCode::NO_CONTENT))
        }
        (Part::Participant(participant), &Method::GET) => {
            let call = live(switchboard.calls(), id)?;
            let found = call.participants.iter().find(|one| one.id == **participant);
            let found = found.ok_or(CallError::UnknownParticipant)?;
            let info = participant_info("#microsoft.graph.participantInfo", &found.identity);
            Ok(graph_json(StatusCode::OK, &found.entity(&info)))
        }
        (part, _) => Err(Refusal::method(part)),
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
    let invalid = |error: String| Refusal::bad_request(format!("Invalid request body: {error}"));
    let mut fields = Fields::read(body).map_err(|error| invalid(error.to_string()))?;
    let reason = fields.text("reason").map_err(|error| invalid(error.to_string()))?;
    match reason.map(|reason| reason.to_lowercase()).as_deref() {
        None | Some("none" | "busy" | "forbidden") => Ok(()),
        Some(other) => Err(invalid(format!("there is no reason '{other}'"))),
    }
}

/// The roster as a collection.
fn roster(call: &Call, resource: &Resource<'_>) -> Value {
    let Resource { version, collection, .. } = resource;
    let participants = call.participants.iter().map(|one| {
        one.entity(&participant_info("#microsoft.graph.participantInfo", &one.identity))
    });
    json!({
        "@odata.context": format!(
            "https://graph.microsoft.com/{version}/$metadata#{collection}('{}')/participants",
            call.id
        ),
        "value": participants.collect::<Vec<_>>(),
    })
}

/// The `call` entity as the documentation shows it: members that are not set are `null`.
fn call_resource(call: &Call, resource: &Resource<'_>) -> Value {
    let Resource { version, collection, .. } = resource;
    let context = format!("https://graph.microsoft.com/{version}/$metadata#{collection}/$entity");
    let chat = call.thread_id.as_ref().map(|thread_id| {
        json!({
            "@odata.type": "#microsoft.graph.chatInfo",
            "threadId": thread_id,
            "messageId": "0",
            "replyChainMessageId": null,
        })
    });
    let targets = call.targets.iter().map(|target| {
        let mut target = participant_info("#microsoft.graph.invitationParticipantInfo", target);
        target["replacesCallId"] = Value::Null;
        target
    });
    json!({
        "@odata.context": context,
        "@odata.type": "#microsoft.graph.call",
        "id": call.id,
        "state": call.state.as_str(),
        "direction": call.direction.as_str(),
        "subject": call.subject,
        "callbackUri": "https://bot.contoso.com/api/calls",
        "callChainId": call.chain_id,
        "tenantId": call.tenant_id,
        "source": participant_info("#microsoft.graph.participantInfo", &call.source),
        "targets": targets.collect::<Vec<_>>(),
        "callRoutes": call.routes,
        "chatInfo": chat,
        "meetingInfo": null,
        "requestedModalities": ["audio"],
        "mediaConfig": null,
        "mediaState": null,
        "myParticipantId": null,
        "resultInfo": null,
        "toneInfo": null,
        "transcription": null,
        "incomingContext": call.context,
        "callOptions": null,
    })
}

fn participant_info(odata_type: &str, who: &IdentitySet) -> Value {
    json!({
        "@odata.type": odata_type,
        "endpointType": "default",
        "identity": who.with_nulls(),
        "languageId": null,
        "region": null,
    })
}

fn graph_json(status: StatusCode, body: &Value) -> Answer {
    const MEDIA_TYPE: &str = "application/json;odata.metadata=minimal;odata.streaming=true;\
                              IEEE754Compatible=false;charset=utf-8";
    Answer::text(status, MEDIA_TYPE, body.to_string())
}

/// Adds the headers that every answer of Graph carries.
fn identified(answer: Answer, exchange: &Exchange) -> Answer {
    const DIAGNOSTIC: &str = r#"{"ServerInfo":{"DataCenter":"Simulator","Slice":"E","Ring":"1","ScaleUnit":"000","RoleInstance":"callgate"}}"#;
    answer
        .with(HeaderName::from_static("request-id"), exchange.request_id.clone())
        .with(HeaderName::from_static("client-request-id"), exchange.client_request_id.clone())
        .with(HeaderName::from_static("x-ms-ags-diagnostic"), HeaderValue::from_static(DIAGNOSTIC))
}
