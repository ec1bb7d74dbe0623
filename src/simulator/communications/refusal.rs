//! Graph's refusals, in its error shape.

use hyper::StatusCode;
use hyper::header::{HeaderValue, WWW_AUTHENTICATE};
use serde_json::json;

use super::entity::graph_json;
use super::identified;
use super::resource::Part;
use crate::simulator::answer::{Answer, Exchange, text_of};
use crate::simulator::calls::CallError;
use crate::simulator::fields::BadField;
use crate::simulator::trouble::Trouble;

/// A request that is not carried out, in Graph's error shape.
pub(super) struct Refusal {
    status: StatusCode,
    code: &'static str,
    pub(super) message: String,
    /// The methods that the path knows, for a 405.
    allow: &'static str,
}

impl From<CallError> for Refusal {
    /// Which errors belong to a call that is there but elsewhere than the request thinks is not
    /// documented: to the app it is a call that is not there.
    fn from(error: CallError) -> Self {
        match error {
            CallError::UnknownParticipant => {
                Self::new(StatusCode::NOT_FOUND, "NotFound", "Participant not found.")
            }
            CallError::NoGroup => Self::bad_request(error.to_string()),
            CallError::Unknown
            | CallError::Exists
            | CallError::NotRinging
            | CallError::Ended
            | CallError::ParticipantExists => Self::call_not_found(),
        }
    }
}

impl From<Trouble> for Refusal {
    fn from(trouble: Trouble) -> Self {
        let (status, message) = match trouble {
            Trouble::NotRegistered => {
                (StatusCode::FORBIDDEN, "Application is not registered in our store.")
            }
            Trouble::NoConsent => (
                StatusCode::FORBIDDEN,
                "Insufficient enterprise tenant permissions, cannot access this API.",
            ),
            Trouble::OtherTenant => (
                StatusCode::FORBIDDEN,
                "Mismatch between request authorization tenant and call tenant.",
            ),
            Trouble::NoCall => (StatusCode::NOT_FOUND, "Call not found."),
            Trouble::Internal => {
                (StatusCode::INTERNAL_SERVER_ERROR, "Unknown internal server error.")
            }
        };
        Self::new(status, trouble.code(), message)
    }
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), allow: "" }
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    pub(super) fn method(part: &Part<'_>) -> Self {
        let message = "Specified HTTP method is not allowed for the request target.";
        let allow = match part {
            Part::Whole | Part::Participant(_) => "DELETE, GET",
            Part::Rejection | Part::Invitation => "POST",
            Part::Roster | Part::Operation(_) => "GET",
        };
        Self { allow, ..Self::new(StatusCode::METHOD_NOT_ALLOWED, "BadRequest", message) }
    }

    pub(super) fn call_not_found() -> Self {
        Trouble::NoCall.into()
    }

    pub(super) fn no_operation() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", "Operation not found.")
    }

    pub(super) fn invalid_body(error: &BadField) -> Self {
        Self::bad_request(format!("Invalid request body: {error}"))
    }

    pub(super) fn unauthorized(message: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "InvalidAuthenticationToken", message)
    }

    pub(super) fn no_segment(path: &[String], index: usize) -> Self {
        // A path that is too short lacks what would follow its last segment.
        let segment = path.get(index).or(path.last()).map_or("", String::as_str);
        let message = format!("Resource not found for the segment '{segment}'.");
        Self::bad_request(message)
    }

    pub(super) fn no_version(path: &[String]) -> Self {
        let version = path.first().map_or("", String::as_str);
        Self::bad_request(format!("Invalid version: {version}"))
    }

    pub(super) fn answer(&self, exchange: &Exchange) -> Answer {
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
            StatusCode::METHOD_NOT_ALLOWED if !self.allow.is_empty() => answer.allowing(self.allow),
            _ => answer,
        };
        identified(answer, exchange)
    }
}
