//! `/sim/apps`, `/sim/tenants` and `/sim/identity`: what is right for the login, and what Graph allows.

use bytes::Bytes;
use hyper::{Method, Request, StatusCode};

use super::ControlError;
use crate::simulator::answer::Answer;
use crate::simulator::directory::{Directory, KnownApp, KnownTenant, ManagedIdentity};
use crate::simulator::fields::Fields;

const METHODS: ControlError = ControlError::Method("GET, POST, DELETE");

/// `/sim/apps`
pub(super) fn apps(
    directory: &mut Directory,
    request: &Request<Bytes>,
) -> Result<Answer, ControlError> {
    match *request.method() {
        Method::GET => Ok(Answer::json(StatusCode::OK, &directory.apps())),
        Method::POST => {
            let app = KnownApp::read(Fields::read(request.body())?)?;
            Ok(Answer::json(StatusCode::OK, &directory.set_app(app)))
        }
        Method::DELETE => {
            directory.forget_apps();
            Ok(Answer::empty(StatusCode::NO_CONTENT))
        }
        _ => Err(METHODS),
    }
}

/// `/sim/tenants`
pub(super) fn tenants(
    directory: &mut Directory,
    request: &Request<Bytes>,
) -> Result<Answer, ControlError> {
    match *request.method() {
        Method::GET => Ok(Answer::json(StatusCode::OK, &directory.tenants())),
        Method::POST => {
            let tenant = KnownTenant::read(Fields::read(request.body())?)?;
            Ok(Answer::json(StatusCode::OK, &directory.set_tenant(tenant)))
        }
        Method::DELETE => {
            directory.forget_tenants();
            Ok(Answer::empty(StatusCode::NO_CONTENT))
        }
        _ => Err(METHODS),
    }
}

/// `/sim/identity`
pub(super) fn identity(
    directory: &mut Directory,
    request: &Request<Bytes>,
) -> Result<Answer, ControlError> {
    match *request.method() {
        Method::GET => {}
        Method::POST => {
            directory.identity = ManagedIdentity::read(Fields::read(request.body())?)?;
        }
        Method::DELETE => {
            directory.identity = ManagedIdentity::default();
            return Ok(Answer::empty(StatusCode::NO_CONTENT));
        }
        _ => return Err(METHODS),
    }
    Ok(Answer::json(StatusCode::OK, &directory.identity.listing()))
}
