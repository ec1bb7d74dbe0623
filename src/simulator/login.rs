//! Login's side: the token endpoint for client credentials, managed identities, and the documents that
//! Microsoft's libraries ask for first.
//!
//! Any tenant, client id and credential is accepted, as long as the request is complete and nothing
//! else was said of them in the control API.

mod assertion;
mod credential;
mod document;
mod form;
mod identity;
mod refusal;
mod token;

use std::time::Duration;

use bytes::Bytes;
use hyper::header::{CACHE_CONTROL, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};
use serde_json::json;

use self::identity::Endpoint;
use self::refusal::{Refusal, wrong_method};
pub(super) use self::token::{App, Bearer, read as read_token};
use super::answer::{Answer, Exchange};
use super::directory::Directory;

/// What Entra ID says of most tokens.
const LIFETIME: Duration = Duration::from_secs(3599);

/// A path of the login side.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Login {
    Token { tenant: String },
    OpenId { tenant: String },
    Keys,
    Instances,
    Identity(Endpoint),
}

impl Login {
    /// The login path that these segments form, if they form one.
    pub(super) fn of(path: &[String]) -> Option<Self> {
        let folded: Vec<String> = path.iter().map(|segment| segment.to_lowercase()).collect();
        match folded.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["", ..] => None,
            ["metadata", "identity", "oauth2", "token"] => Some(Self::Identity(Endpoint::Machine)),
            ["msi", "token"] => Some(Self::Identity(Endpoint::AppService)),
            ["common", "discovery", "instance"] => Some(Self::Instances),
            [_, "discovery", "v2.0", "keys"] => Some(Self::Keys),
            [_, "oauth2", "v2.0", "token"] => Some(Self::Token { tenant: path[0].clone() }),
            [_, "v2.0", ".well-known", "openid-configuration"] => {
                Some(Self::OpenId { tenant: path[0].clone() })
            }
            _ => None,
        }
    }
}

/// Answers as Entra ID does. Whose token is issued is noted in `last`.
pub(super) fn answer(
    login: &Login,
    request: &Request<Bytes>,
    exchange: &Exchange,
    directory: &Directory,
    last: &mut Option<App>,
) -> Answer {
    let answer = match (login, request.method()) {
        (Login::Token { tenant }, &Method::POST) => {
            match credential::check(tenant, request, exchange, directory) {
                Ok(app) => {
                    let answer = token(&app, exchange);
                    *last = Some(app);
                    answer
                }
                Err(refusal) => refusal.answer(exchange),
            }
        }
        (Login::OpenId { tenant }, &Method::GET) => document::configuration(tenant, &exchange.base),
        (Login::Keys, &Method::GET) => document::keys(),
        (Login::Instances, &Method::GET) => document::instances(request, exchange),
        (Login::Identity(endpoint), &Method::GET) => {
            identity::answer(*endpoint, request, exchange, &directory.identity, last)
        }
        (Login::Token { .. }, method) => wrong_method("POST", method).answer(exchange),
        (_, method) => wrong_method("GET", method).answer(exchange),
    };
    identified(answer, exchange)
}

/// What login answers with `status` when a fault names nothing else.
pub(super) fn usual(status: StatusCode, exchange: &Exchange) -> Answer {
    if status.as_u16() < 400 {
        return identified(Answer::empty(status), exchange);
    }
    let (error, number, text) = match status {
        StatusCode::BAD_REQUEST => {
            ("unauthorized_client", 700_016, "The application was not found in the directory.")
        }
        StatusCode::UNAUTHORIZED => {
            ("invalid_client", 7_000_215, "Invalid client secret provided.")
        }
        StatusCode::TOO_MANY_REQUESTS => {
            ("temporarily_unavailable", 90_055, "The tenant was throttled.")
        }
        status if status.is_server_error() => {
            ("temporarily_unavailable", 90_033, "A transient error has occurred.")
        }
        _ => ("invalid_request", 9_002_313, "Request is malformed or invalid."),
    };
    identified(Refusal { status, error, number, text: text.to_owned() }.answer(exchange), exchange)
}

fn token(app: &App, exchange: &Exchange) -> Answer {
    Answer::json(
        StatusCode::OK,
        &json!({
            "token_type": "Bearer",
            "expires_in": LIFETIME.as_secs(),
            "ext_expires_in": LIFETIME.as_secs(),
            "access_token": token::issue(app, exchange.at, LIFETIME),
        }),
    )
}

fn identified(answer: Answer, exchange: &Exchange) -> Answer {
    answer
        .with(CACHE_CONTROL, HeaderValue::from_static("no-store, no-cache"))
        .with(HeaderName::from_static("x-ms-request-id"), exchange.request_id.clone())
        .with(HeaderName::from_static("client-request-id"), exchange.client_request_id.clone())
}

#[cfg(test)]
mod tests {
    use super::super::state::segments;
    use super::*;

    #[test]
    fn names_in_a_login_path_are_compared_without_case() {
        let login = |path| Login::of(&segments(path));
        assert_eq!(login("/T/OAuth2/V2.0/Token"), Some(Login::Token { tenant: "T".to_owned() }));
        assert_eq!(
            login("/T/v2.0/.well-known/openid-configuration"),
            Some(Login::OpenId { tenant: "T".to_owned() })
        );
        assert_eq!(login("/common/Discovery/instance"), Some(Login::Instances));
        assert_eq!(login("/t/discovery/v2.0/keys"), Some(Login::Keys));
        assert_eq!(
            login("/Metadata/identity/oauth2/token"),
            Some(Login::Identity(Endpoint::Machine))
        );
        assert_eq!(login("/MSI/token"), Some(Login::Identity(Endpoint::AppService)));
        assert_eq!(login("//oauth2/v2.0/token"), None);
        assert_eq!(login("/t/oauth2/v2.0/token/"), None);
        assert_eq!(login("/t/oauth2/token"), None);
        assert_eq!(login("/t/discovery/instance"), None);
    }
}
