//! Managed identities: tokens for whoever asks from the machine itself, in the forms of virtual
//! machines and of App Service.

use std::time::Duration;

use bytes::Bytes;
use hyper::{Request, StatusCode};
use serde_json::{Value, json};

use super::token::{self, App};
use crate::simulator::answer::{Answer, Exchange};
use crate::simulator::directory::{ManagedIdentity, USUAL_APP, USUAL_TENANT};

/// As long as Azure's machines get them.
const LIFETIME: Duration = Duration::from_secs(86_399);

/// Where an identity is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::simulator) enum Endpoint {
    /// `169.254.169.254` of a virtual machine.
    Machine,
    /// `IDENTITY_ENDPOINT` of App Service.
    AppService,
}

/// Issues a token. Whose it is is noted in `last`.
pub(super) fn answer(
    endpoint: Endpoint,
    request: &Request<Bytes>,
    exchange: &Exchange,
    identity: &ManagedIdentity,
    last: &mut Option<App>,
) -> Answer {
    match check(endpoint, request, identity) {
        Ok(asked) => {
            let app = App {
                tenant: identity.tenant_id.as_deref().unwrap_or(USUAL_TENANT).to_owned(),
                client_id: asked.client_id,
            };
            let body = token(&app, &asked.resource, exchange);
            *last = Some(app);
            Answer::json(StatusCode::OK, &body)
        }
        Err((status, problem)) => {
            let body = json!({"error": "invalid_request", "error_description": problem});
            Answer::json(status, &body)
        }
    }
}

struct Asked {
    resource: String,
    client_id: String,
}

fn check(
    endpoint: Endpoint,
    request: &Request<Bytes>,
    identity: &ManagedIdentity,
) -> Result<Asked, (StatusCode, &'static str)> {
    let bad = |problem| (StatusCode::BAD_REQUEST, problem);
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    match endpoint {
        Endpoint::Machine
            if !header("metadata").is_some_and(|is| is.eq_ignore_ascii_case("true")) =>
        {
            return Err(bad("Required metadata header not specified"));
        }
        Endpoint::AppService => {
            let given = header("x-identity-header").unwrap_or_default();
            let right = identity.header.as_deref().unwrap_or(given);
            if given.is_empty() || given != right {
                return Err((StatusCode::UNAUTHORIZED, "X-IDENTITY-HEADER is missing or wrong"));
            }
        }
        Endpoint::Machine => {}
    }
    let query = request.uri().query().unwrap_or_default();
    let query: Vec<(String, String)> = serde_urlencoded::from_str(query).unwrap_or_default();
    let get = |name: &str| {
        query
            .iter()
            .find(|(given, value)| given == name && !value.is_empty())
            .map(|(_, value)| value)
    };
    if get("api-version").is_none() {
        return Err(bad("Required query variable 'api-version' is missing"));
    }
    let resource = get("resource").ok_or(bad("Required query variable 'resource' is missing"))?;
    if resource.ends_with("/.default") {
        return Err(bad("'resource' names a resource, not a scope"));
    }
    let own = identity.client_id.as_deref();
    let client_id = get("client_id").map(String::as_str);
    if let (Some(asked), Some(own)) = (client_id, own)
        && !asked.eq_ignore_ascii_case(own)
    {
        return Err(bad("Identity not found"));
    }
    let client_id = client_id.or(own).unwrap_or(USUAL_APP).to_owned();
    Ok(Asked { resource: resource.clone(), client_id })
}

/// All numbers are strings there.
fn token(app: &App, resource: &str, exchange: &Exchange) -> Value {
    let lifetime = LIFETIME.as_secs().to_string();
    json!({
        "access_token": token::issue(app, exchange.at, LIFETIME),
        "client_id": app.client_id,
        "expires_in": lifetime,
        "expires_on": ((exchange.at + LIFETIME).0 / 1000).to_string(),
        "ext_expires_in": lifetime,
        "not_before": (exchange.at.0 / 1000).to_string(),
        "resource": resource,
        "token_type": "Bearer",
    })
}
