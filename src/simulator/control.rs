//! The control API under `/sim`: makes calls and faults, and tells what happened.
//!
//! Its requests are neither recorded nor struck by faults, and need no token.

use bytes::Bytes;
use hyper::{Method, Request, StatusCode};
use serde_json::{Value, json};

use super::answer::Answer;
use super::calls::{Call, CallError, EndReason, NewCall};
use super::faults::Fault;
use super::fields::{BadField, Fields};
use super::state::{State, segments};

/// Whether `path` belongs to the control API.
pub(super) fn is_for(path: &str) -> bool {
    path == "/sim" || path.starts_with("/sim/")
}

/// Carries out a request of the control API.
pub(super) fn answer(state: &mut State, request: &Request<Bytes>) -> Answer {
    match carry_out(state, request) {
        Ok(answer) => answer,
        Err(error) => error.answer(),
    }
}

/// Says that a body is larger than it may be.
pub(super) fn too_large() -> Answer {
    ControlError::TooLarge.answer()
}

fn carry_out(state: &mut State, request: &Request<Bytes>) -> Result<Answer, ControlError> {
    let path = segments(request.uri().path());
    let path: Vec<&str> = path.iter().map(String::as_str).skip(1).collect();
    match (path.as_slice(), request.method()) {
        (["calls"], &Method::POST) => {
            let new = NewCall::read(Fields::read(request.body())?)?;
            let now = state.clock.now();
            Ok(show(StatusCode::CREATED, state.calls.add(new, now)?))
        }
        (["calls"], &Method::GET) => {
            let calls: Value = state.calls.iter().map(Call::listing).collect();
            Ok(Answer::json(StatusCode::OK, &calls))
        }
        (["calls", id], &Method::GET) => Ok(show(StatusCode::OK, state.calls.get(id)?)),
        (["calls", id, "answer"], &Method::POST) => {
            Fields::read(request.body())?.finish()?;
            Ok(show(StatusCode::OK, state.calls.answer(id)?))
        }
        (["calls", id, "end"], &Method::POST) => {
            Fields::read(request.body())?.finish()?;
            Ok(show(StatusCode::OK, state.calls.end(id, EndReason::BY_OTHER)?))
        }
        (["requests"], &Method::GET) => Ok(Answer::json(StatusCode::OK, &state.requests.listing())),
        (["requests"], &Method::DELETE) => {
            state.requests.clear();
            Ok(Answer::empty(StatusCode::NO_CONTENT))
        }
        (["faults"], &Method::POST) => {
            let fields = Fields::read(request.body())?;
            let as_sent = fields.as_json();
            state.faults.add(Fault::read(fields)?);
            Ok(Answer::json(StatusCode::CREATED, &as_sent))
        }
        (["faults"], &Method::DELETE) => {
            state.faults.clear();
            Ok(Answer::empty(StatusCode::NO_CONTENT))
        }
        (["calls"], _) => Err(ControlError::Method("GET, POST")),
        (["calls", _], _) => Err(ControlError::Method("GET")),
        (["calls", _, "answer" | "end"], _) => Err(ControlError::Method("POST")),
        (["requests"], _) => Err(ControlError::Method("GET, DELETE")),
        (["faults"], _) => Err(ControlError::Method("POST, DELETE")),
        _ => Err(ControlError::NoSuchPath),
    }
}

fn show(status: StatusCode, call: &Call) -> Answer {
    Answer::json(status, &call.listing())
}

/// A request that was not carried out; nothing was changed.
#[derive(Debug, thiserror::Error)]
enum ControlError {
    #[error("The control API has no such path.")]
    NoSuchPath,
    #[error("This path knows only {0}.")]
    Method(&'static str),
    #[error("The body is too large.")]
    TooLarge,
    #[error(transparent)]
    Field(#[from] BadField),
    #[error(transparent)]
    Call(#[from] CallError),
}

impl ControlError {
    fn answer(&self) -> Answer {
        let (status, code) = match self {
            Self::NoSuchPath => (StatusCode::NOT_FOUND, "noSuchPath"),
            Self::Method(_) => (StatusCode::METHOD_NOT_ALLOWED, "methodNotAllowed"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "tooLarge"),
            Self::Field(_) => (StatusCode::BAD_REQUEST, "badField"),
            Self::Call(CallError::Unknown) => (StatusCode::NOT_FOUND, "noSuchCall"),
            Self::Call(CallError::Exists | CallError::NotRinging | CallError::Ended) => {
                (StatusCode::CONFLICT, "conflict")
            }
        };
        let error = json!({"code": code, "message": self.to_string()});
        let answer = Answer::json(status, &json!({"error": error}));
        match self {
            Self::Method(allowed) => answer.allowing(allowed),
            _ => answer,
        }
    }
}
