//! Graph's side: the calls API, in the three path forms that were ever documented.
//!
//! Imitates documents and captures of official clients, not our own client. Any bearer token is
//! accepted, because a test may come with one of its own; only one that the simulator issued
//! itself is held to its expiry.

use bytes::Bytes;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Method, Request, StatusCode};
use serde_json::{Map, Value, json};

use super::answer::{Answer, Exchange, text_of};
use super::calls::{Call, CallState, Calls, EndReason, IdentitySet};
use super::login;

/// The members of a communications identity set; those that are not used are sent as `null`.
const IDENTITY_KINDS: [&str; 11] = [
    "application",
    "applicationInstance",
    "assertedIdentity",
    "azureCommunicationServicesUser",
    "device",
    "encrypted",
    "endpointType",
    "guest",
    "onPremises",
    "phone",
    "user",
];

/// Carries out a request of an app and answers as Graph does.
pub(super) fn answer(
    calls: &mut Calls,
    path: &[String],
    request: &Request<Bytes>,
    exchange: &Exchange,
) -> Answer {
    let outcome = authorize(request, exchange)
        .and_then(|()| Resource::find(path))
        .and_then(|resource| carry_out(calls, &resource, request));
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

/// The call that a path names. `version` and `collection` are for the answer's context.
struct Resource<'a> {
    version: &'static str,
    collection: String,
    call_id: &'a str,
}

impl<'a> Resource<'a> {
    /// Finds it. Names are compared without case, ids are taken as they are.
    fn find(path: &'a [String]) -> Result<Self, Refusal> {
        let folded: Vec<String> = path.iter().map(|segment| segment.to_lowercase()).collect();
        let folded: Vec<&str> = folded.iter().map(String::as_str).collect();
        let (version, collection, known) = match folded[..] {
            ["v1.0", "communications", "calls", ..] => ("v1.0", "communications/calls".into(), 3),
            ["beta", "communications", "calls", ..] => ("beta", "communications/calls".into(), 3),
            ["beta", "app", "calls", ..] => ("beta", "app/calls".into(), 3),
            ["beta", "applications", _, "calls", ..] => {
                ("beta", format!("applications('{}')/calls", path[2]), 4)
            }
            ["beta", "applications", _, ..] => return Err(Refusal::no_segment(path, 3)),
            ["v1.0" | "beta", "communications", ..] | ["beta", "app" | "applications", ..] => {
                return Err(Refusal::no_segment(path, 2));
            }
            ["v1.0" | "beta", ..] => return Err(Refusal::no_segment(path, 1)),
            _ => return Err(Refusal::no_version(path)),
        };
        match &path[known..] {
            [] => Err(Refusal::no_segment(path, known - 1)),
            [call_id] if !call_id.is_empty() => Ok(Self { version, collection, call_id }),
            [_] => Err(Refusal::no_segment(path, known)),
            [_, ..] => Err(Refusal::no_segment(path, known + 1)),
        }
    }
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
    calls: &mut Calls,
    resource: &Resource<'_>,
    request: &Request<Bytes>,
) -> Result<Answer, Refusal> {
    match *request.method() {
        Method::DELETE if !request.body().is_empty() => Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "BadRequest",
            "A request body is not supported for this method.",
        )),
        Method::DELETE => match calls.end(resource.call_id, EndReason::BY_APP) {
            Ok(_ended) => Ok(Answer::empty(StatusCode::NO_CONTENT)),
            Err(_ended_before_or_unknown) => Err(Refusal::call_not_found()),
        },
        Method::GET => match calls.get(resource.call_id) {
            Ok(call) if call.state != CallState::Terminated => {
                Ok(graph_json(StatusCode::OK, &call_resource(call, resource)))
            }
            _ => Err(Refusal::call_not_found()),
        },
        _ => Err(Refusal::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "BadRequest",
            "Specified HTTP method is not allowed for the request target.",
        )),
    }
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
        let mut target = participant("#microsoft.graph.invitationParticipantInfo", target);
        target["replacesCallId"] = Value::Null;
        target
    });
    json!({
        "@odata.context": context,
        "@odata.type": "#microsoft.graph.call",
        "id": call.id,
        "state": call.state.as_str(),
        "direction": "incoming",
        "subject": null,
        "callbackUri": "https://bot.contoso.com/api/calls",
        "callChainId": call.chain_id,
        "tenantId": call.tenant_id,
        "source": participant("#microsoft.graph.participantInfo", &call.source),
        "targets": targets.collect::<Vec<_>>(),
        "callRoutes": [],
        "chatInfo": chat,
        "meetingInfo": null,
        "requestedModalities": ["audio"],
        "mediaConfig": null,
        "mediaState": null,
        "myParticipantId": null,
        "resultInfo": null,
        "toneInfo": null,
        "transcription": null,
        "incomingContext": null,
        "callOptions": null,
    })
}

fn participant(odata_type: &str, who: &IdentitySet) -> Value {
    let mut set = Map::new();
    set.insert("@odata.type".into(), json!("#microsoft.graph.communicationsIdentitySet"));
    for kind in IDENTITY_KINDS {
        set.insert(kind.into(), Value::Null);
    }
    for (kind, given) in &who.0 {
        let mut identity = json!({"@odata.type": "#microsoft.graph.identity", "displayName": null});
        match (identity.as_object_mut(), given.as_object()) {
            (Some(identity), Some(given)) => identity.extend(given.clone()),
            _ => identity = given.clone(),
        }
        set.insert(kind.clone(), identity);
    }
    json!({
        "@odata.type": odata_type,
        "endpointType": "default",
        "identity": set,
        "languageId": null,
        "region": null,
    })
}

/// A request that is not carried out, in Graph's error shape.
struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    fn call_not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "8522", "Call not found.")
    }

    fn unauthorized(message: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "InvalidAuthenticationToken", message)
    }

    fn no_segment(path: &[String], index: usize) -> Self {
        // A path that is too short lacks what would follow its last segment.
        let segment = path.get(index).or(path.last()).map_or("", String::as_str);
        let message = format!("Resource not found for the segment '{segment}'.");
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    fn no_version(path: &[String]) -> Self {
        let version = path.first().map_or("", String::as_str);
        let message = format!("Invalid version: {version}");
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    fn answer(&self, exchange: &Exchange) -> Answer {
        let mut inner = json!({
            "date": exchange.date(),
            "request-id": text_of(&exchange.request_id),
            "client-request-id": text_of(&exchange.client_request_id),
        });
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            inner["code"] = json!("429");
        }
        let error = json!({"code": self.code, "message": self.message, "innerError": inner});
        let answer = graph_json(self.status, &json!({"error": error}));
        let answer = match self.status {
            StatusCode::UNAUTHORIZED => {
                answer.with(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"\""))
            }
            StatusCode::METHOD_NOT_ALLOWED => answer.allowing("DELETE, GET"),
            _ => answer,
        };
        identified(answer, exchange)
    }
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

#[cfg(test)]
mod tests {
    use super::super::state::segments;
    use super::*;

    #[track_caller]
    fn check(path: &str, expected: Result<&str, &str>) {
        let segments = segments(path);
        let found = Resource::find(&segments);
        let found = found.as_ref().map(|resource| resource.call_id);
        assert_eq!(found.map_err(|refusal| refusal.message.as_str()), expected, "{path}");
    }

    #[test]
    fn every_path_form_names_a_call() {
        check("/v1.0/communications/calls/a", Ok("a"));
        check("/beta/communications/calls/a", Ok("a"));
        check("/beta/app/calls/a", Ok("a"));
        check("/beta/applications/app%2Fid/calls/a", Ok("a"));
        check("/V1.0/Communications/CALLS/aB%2f%3F", Ok("aB/?"));
    }

    #[test]
    fn any_other_path_is_refused_with_the_segment_that_is_unknown() {
        for (path, segment) in [
            ("/v1.0/app/calls/a", "app"),
            ("/v1.0/applications/x/calls/a", "applications"),
            ("/v1.0//communications/calls/a", ""),
            ("/v1.0/communications/calls", "calls"),
            ("/v1.0/communications/calls/", ""),
            ("/v1.0/communications/calls/a/b", "b"),
            ("/v1.0/communications/call/a", "call"),
            ("/beta/applications/x/call/a", "call"),
            ("/beta/app", "app"),
            ("/beta", "beta"),
        ] {
            check(path, Err(&format!("Resource not found for the segment '{segment}'.")));
        }
        check("/v2.0/communications/calls/a", Err("Invalid version: v2.0"));
        check("/", Err("Invalid version: "));
    }
}
