//! The control API under `/sim`: makes calls and faults, and tells what happened.
//!
//! Its requests are neither recorded nor struck by faults, and need no token.

mod directory;

use bytes::Bytes;
use hyper::{Method, Request, StatusCode};
use serde_json::{Value, json};

use super::answer::Answer;
use super::callback::Settings;
use super::calls::{AdjustError, Call, CallError, EndReason, NewCall, RosterChange};
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
    let (path, method) = (path.as_slice(), request.method());
    // What was due before this request has happened when it is carried out.
    state.settle();
    match (path, method) {
        (["calls", ..], _) => calls(state, path, request),
        (["apps"], _) => directory::apps(&mut state.directory, request),
        (["tenants"], _) => directory::tenants(&mut state.directory, request),
        (["identity"], _) => directory::identity(&mut state.directory, request),
        (["callback"], _) => callback(state, request),
        (["notifications"], &Method::GET) => {
            Ok(Answer::json(StatusCode::OK, &state.switchboard.callback.told()))
        }
        (["keys", "rotate"], &Method::POST) => {
            let mut fields = Fields::read(request.body())?;
            let keep_old = fields.flag("keepOld")?.unwrap_or(false);
            fields.finish()?;
            state.signing.rotate(keep_old);
            Ok(Answer::empty(StatusCode::NO_CONTENT))
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
        (["keys", "rotate"], _) => Err(ControlError::Method("POST")),
        (["requests"], _) => Err(ControlError::Method("GET, DELETE")),
        (["faults"], _) => Err(ControlError::Method("POST, DELETE")),
        _ => Err(ControlError::NoSuchPath),
    }
}

/// `/sim/calls` and what is below it.
fn calls(
    state: &mut State,
    path: &[&str],
    request: &Request<Bytes>,
) -> Result<Answer, ControlError> {
    let usual_tenant = state.usual_tenant();
    let switchboard = &mut state.switchboard;
    let fields = || Fields::read(request.body());
    match (path, request.method()) {
        (["calls"], &Method::POST) => {
            let new = NewCall::read(fields()?, usual_tenant)?;
            Ok(show(StatusCode::CREATED, switchboard.make(new, state.clock.now())?))
        }
        (["calls"], &Method::GET) => {
            let calls: Value = switchboard.calls().iter().map(Call::listing).collect();
            Ok(Answer::json(StatusCode::OK, &calls))
        }
        (["calls", id], &Method::GET) => Ok(show(StatusCode::OK, switchboard.calls().get(id)?)),
        (["calls", id], &Method::POST) => {
            Ok(show(StatusCode::OK, switchboard.adjust(id, fields()?)?))
        }
        (["calls", id, "answer"], &Method::POST) => {
            fields()?.finish()?;
            Ok(show(StatusCode::OK, switchboard.answer(id)?))
        }
        (["calls", id, "end"], &Method::POST) => {
            let reason = EndReason::read(fields()?)?;
            Ok(show(StatusCode::OK, switchboard.end(id, reason)?))
        }
        (["calls", id, "participants"], &Method::POST) => {
            let change = RosterChange::read(fields()?)?;
            Ok(show(StatusCode::OK, switchboard.change_roster(id, change)?))
        }
        (["calls"] | ["calls", _], _) => Err(ControlError::Method("GET, POST")),
        (["calls", _, "answer" | "end" | "participants"], _) => Err(ControlError::Method("POST")),
        _ => Err(ControlError::NoSuchPath),
    }
}

/// `/sim/callback`: what is set and what was counted is the answer to everything that sets it.
fn callback(state: &mut State, request: &Request<Bytes>) -> Result<Answer, ControlError> {
    let callback = &mut state.switchboard.callback;
    match *request.method() {
        Method::GET => {}
        Method::POST => callback.set(Settings::read(Fields::read(request.body())?)?),
        Method::DELETE => {
            callback.forget();
            return Ok(Answer::empty(StatusCode::NO_CONTENT));
        }
        _ => return Err(ControlError::Method("GET, POST, DELETE")),
    }
    Ok(Answer::json(StatusCode::OK, &callback.listing()))
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

impl From<AdjustError> for ControlError {
    fn from(error: AdjustError) -> Self {
        match error {
            AdjustError::Call(error) => Self::Call(error),
            AdjustError::Field(error) => Self::Field(error),
        }
    }
}

impl ControlError {
    fn answer(&self) -> Answer {
        let (status, code) = match self {
            Self::NoSuchPath => (StatusCode::NOT_FOUND, "noSuchPath"),
            Self::Method(_) => (StatusCode::METHOD_NOT_ALLOWED, "methodNotAllowed"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "tooLarge"),
            Self::Field(_) => (StatusCode::BAD_REQUEST, "badField"),
            Self::Call(CallError::Unknown) => (StatusCode::NOT_FOUND, "noSuchCall"),
            Self::Call(CallError::UnknownParticipant) => {
                (StatusCode::NOT_FOUND, "noSuchParticipant")
            }
            Self::Call(
                CallError::Exists
                | CallError::NotRinging
                | CallError::Ended
                | CallError::ParticipantExists
                | CallError::NoGroup,
            ) => (StatusCode::CONFLICT, "conflict"),
        };
        let error = json!({"code": code, "message": self.to_string()});
        let answer = Answer::json(status, &json!({"error": error}));
        match self {
            Self::Method(allowed) => answer.allowing(allowed),
            _ => answer,
        }
    }
}
