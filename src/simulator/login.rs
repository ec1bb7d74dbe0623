//! Login's side: the token endpoint for client credentials, and the OpenID document that Microsoft's
//! libraries ask for first.
//!
//! Any tenant, client id and credential is accepted, as long as the request is complete. A token
//! carries its own expiry, so that nothing has to be kept; it proves nothing to anybody else.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use hyper::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue,
};
use hyper::{Method, Request, StatusCode};
use serde_json::json;
use uuid::Uuid;

use super::answer::{Answer, Exchange, text_of};
use crate::clock::Timestamp;

/// What Entra ID says of most tokens.
const LIFETIME: Duration = Duration::from_secs(3599);

/// How a token of ours begins; a client treats the whole as opaque.
const TOKEN_PREFIX: &str = "callgate-simulator.";

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A path of the login side.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Login {
    Token { tenant: String },
    OpenId { tenant: String },
}

impl Login {
    /// The login path that these segments form, if they form one.
    pub(super) fn of(path: &[String]) -> Option<Self> {
        let (tenant, rest) = path.split_first().filter(|(tenant, _)| !tenant.is_empty())?;
        let is = |names: &[&str]| {
            rest.len() == names.len()
                && rest.iter().zip(names).all(|(given, name)| given.eq_ignore_ascii_case(name))
        };
        if is(&["oauth2", "v2.0", "token"]) {
            return Some(Self::Token { tenant: tenant.clone() });
        }
        let document = is(&["v2.0", ".well-known", "openid-configuration"]);
        document.then(|| Self::OpenId { tenant: tenant.clone() })
    }
}

/// Who logged in.
#[derive(Clone, Debug)]
pub(super) struct App {
    pub(super) tenant: String,
    pub(super) client_id: String,
}

/// Answers as Entra ID does. Whose token is issued is noted in `last`.
pub(super) fn answer(
    login: &Login,
    request: &Request<Bytes>,
    exchange: &Exchange,
    last: &mut Option<App>,
) -> Answer {
    let answer = match (login, request.method()) {
        (Login::Token { tenant }, &Method::POST) => match check(request) {
            Ok(client_id) => {
                *last = Some(App { tenant: tenant.clone(), client_id });
                token(exchange)
            }
            Err(refusal) => refusal.answer(exchange),
        },
        (Login::OpenId { tenant }, &Method::GET) => document(tenant, request.headers()),
        (Login::Token { .. }, method) => wrong_method("POST", method).answer(exchange),
        (Login::OpenId { .. }, method) => wrong_method("GET", method).answer(exchange),
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

/// Whether `token` was issued here and is over. A token from elsewhere never is.
pub(super) fn is_expired(token: &str, now: Timestamp) -> bool {
    token
        .strip_prefix(TOKEN_PREFIX)
        .and_then(|rest| rest.split_once('.'))
        .and_then(|(expires, _)| expires.parse().ok())
        .is_some_and(|expires| Timestamp(expires) <= now)
}

fn token(exchange: &Exchange) -> Answer {
    let expires = exchange.at + LIFETIME;
    let token = format!("{TOKEN_PREFIX}{}.{}", expires.0, Uuid::new_v4());
    Answer::json(
        StatusCode::OK,
        &json!({
            "token_type": "Bearer",
            "expires_in": LIFETIME.as_secs(),
            "ext_expires_in": LIFETIME.as_secs(),
            "access_token": token,
        }),
    )
}

/// Names endpoints on the host that the client reached us by. There are no user logins and no keys
/// to publish, so the authorization endpoint is a name that is not served.
fn document(tenant: &str, headers: &HeaderMap) -> Answer {
    let host = headers.get(HOST).map(text_of).unwrap_or_default();
    let base = format!("http://{host}/{tenant}");
    Answer::json(
        StatusCode::OK,
        &json!({
            "issuer": format!("{base}/v2.0"),
            "authorization_endpoint": format!("{base}/oauth2/v2.0/authorize"),
            "token_endpoint": format!("{base}/oauth2/v2.0/token"),
            "token_endpoint_auth_methods_supported":
                ["client_secret_post", "private_key_jwt", "client_secret_basic"],
            "response_types_supported": ["token"],
            "subject_types_supported": ["pairwise"],
        }),
    )
}

/// The client id in a request for a token, if the request is complete.
fn check(request: &Request<Bytes>) -> Result<String, Refusal> {
    let form = Form::read(request);
    match form.get("grant_type") {
        None => return Err(missing("grant_type")),
        Some("client_credentials") => {}
        Some(other) => {
            return Err(Refusal {
                status: StatusCode::BAD_REQUEST,
                error: "unsupported_grant_type",
                number: 70_003,
                text: format!("The app requested an unsupported grant type '{other}'."),
            });
        }
    }
    let basic = basic_credentials(request.headers());
    let client_id = form.get("client_id").map(str::to_owned);
    let client_id = client_id.or_else(|| basic.as_ref().map(|(id, _)| id.clone()));
    let client_id = client_id.ok_or_else(|| missing("client_id"))?;
    let scope = form.get("scope").ok_or_else(|| missing("scope"))?;
    if scope.split_whitespace().count() != 1 || !scope.trim().ends_with("/.default") {
        return Err(Refusal {
            status: StatusCode::BAD_REQUEST,
            error: "invalid_scope",
            number: 70_011,
            text: format!(
                "The provided request must include a 'scope' input parameter. The provided value \
                 for the input parameter 'scope' is not valid. The scope {scope} is not valid."
            ),
        });
    }
    match (form.get("client_assertion"), form.get("client_assertion_type")) {
        (Some(_), Some(ASSERTION_TYPE)) => Ok(client_id),
        (Some(_), None) => Err(missing("client_assertion_type")),
        (Some(_), Some(_)) => Err(Refusal {
            status: StatusCode::BAD_REQUEST,
            error: "invalid_request",
            number: 9_002_313,
            text: "Invalid request. Request is malformed or invalid.".to_owned(),
        }),
        (None, _) if basic.is_some() || form.get("client_secret").is_some() => Ok(client_id),
        (None, _) => Err(Refusal {
            status: StatusCode::UNAUTHORIZED,
            error: "invalid_client",
            number: 7_000_218,
            text: "The request body must contain the following parameter: 'client_assertion' or \
                   'client_secret'."
                .to_owned(),
        }),
    }
}

/// The form of a token request; a body of another media type is none.
struct Form(Vec<(String, String)>);

impl Form {
    fn read(request: &Request<Bytes>) -> Self {
        let media_type = request.headers().get(CONTENT_TYPE).map(text_of).unwrap_or_default();
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Self(Vec::new());
        }
        Self(serde_urlencoded::from_bytes(request.body()).unwrap_or_default())
    }

    /// The value of a field; an empty one is none.
    fn get(&self, name: &str) -> Option<&str> {
        let field = self.0.iter().find(|(given, value)| given == name && !value.is_empty());
        field.map(|(_, value)| value.as_str())
    }
}

/// Client id and secret in `Authorization: Basic`, which Entra ID takes as well.
fn basic_credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let header = text_of(headers.get(AUTHORIZATION)?);
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("Basic") {
        return None;
    }
    let decoded = String::from_utf8(BASE64_STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (client_id, secret) = decoded.split_once(':')?;
    let complete = !client_id.is_empty() && !secret.is_empty();
    complete.then(|| (client_id.to_owned(), secret.to_owned()))
}

/// A refused request, in the shape of Entra ID's token endpoint.
struct Refusal {
    status: StatusCode,
    error: &'static str,
    number: u32,
    text: String,
}

impl Refusal {
    fn answer(&self, exchange: &Exchange) -> Answer {
        let Self { error, number, text, .. } = self;
        let trace_id = text_of(&exchange.request_id);
        let correlation_id = text_of(&exchange.client_request_id);
        let timestamp = format!("{}Z", exchange.date().replace('T', " "));
        let description = format!(
            "AADSTS{number}: {text}\r\nTrace ID: {trace_id}\r\nCorrelation ID: \
             {correlation_id}\r\nTimestamp: {timestamp}"
        );
        let body = json!({
            "error": error,
            "error_description": description,
            "error_codes": [number],
            "timestamp": timestamp,
            "trace_id": trace_id,
            "correlation_id": correlation_id,
            "error_uri": format!("https://login.microsoftonline.com/error?code={number}"),
        });
        Answer::json(self.status, &body)
    }
}

fn missing(parameter: &str) -> Refusal {
    Refusal {
        status: StatusCode::BAD_REQUEST,
        error: "invalid_request",
        number: 900_144,
        text: format!("The request body must contain the following parameter: '{parameter}'."),
    }
}

fn wrong_method(right: &str, sent: &Method) -> Refusal {
    Refusal {
        status: StatusCode::METHOD_NOT_ALLOWED,
        error: "invalid_request",
        number: 900_561,
        text: format!("The endpoint only accepts {right} requests. Received a {sent} request."),
    }
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

    /// What the token endpoint says of `form`: `ok`, or the error and its number.
    fn verdict(form: &str, authorization: Option<&str>) -> String {
        let mut request = Request::post("/contoso.com/oauth2/v2.0/token")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded; charset=utf-8")
            .body(Bytes::copy_from_slice(form.as_bytes()))
            .unwrap();
        if let Some(value) = authorization {
            request.headers_mut().insert(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        match check(&request) {
            Ok(client_id) => format!("ok {client_id}"),
            Err(Refusal { status, error, number, .. }) => {
                format!("{} {error} {number}", status.as_u16())
            }
        }
    }

    #[test]
    fn an_incomplete_request_is_refused_as_documented() {
        const START: &str =
            "grant_type=client_credentials&client_id=app&scope=https%3A%2F%2Fg%2F.default";
        const TYPE: &str = "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
        let check = |form: &str, expected: &str| {
            assert_eq!(verdict(form, None), expected, "{form}");
        };
        check(&format!("{START}&client_secret=s"), "ok app");
        check(&format!("{START}&client_assertion=a.b.c&client_assertion_type={TYPE}"), "ok app");
        check("", "400 invalid_request 900144");
        check("grant_type=password", "400 unsupported_grant_type 70003");
        check("grant_type=client_credentials", "400 invalid_request 900144");
        check("grant_type=client_credentials&client_id=a", "400 invalid_request 900144");
        check(
            "grant_type=client_credentials&client_id=a&client_secret=s&scope=Calls.Initiate.All",
            "400 invalid_scope 70011",
        );
        check(START, "401 invalid_client 7000218");
        check(&format!("{START}&client_secret="), "401 invalid_client 7000218");
        check(&format!("{START}&client_assertion=a.b.c"), "400 invalid_request 900144");
        check(
            &format!("{START}&client_assertion=a.b.c&client_assertion_type=jwt"),
            "400 invalid_request 9002313",
        );
    }

    #[test]
    fn id_and_secret_may_come_as_basic_credentials() {
        let form = "grant_type=client_credentials&scope=g%2F.default";
        assert_eq!(verdict(form, Some("Basic YXBwOnNlY3JldA==")), "ok app");
        assert_eq!(verdict(form, Some("Basic YXBwOg==")), "400 invalid_request 900144");
    }

    #[test]
    fn a_token_of_ours_is_expired_exactly_at_its_end_and_a_foreign_one_never() {
        let exchange = Exchange::new(&HeaderMap::new(), Timestamp(5_000));
        let body: serde_json::Value = serde_json::from_slice(&token(&exchange).body).unwrap();
        let token = body["access_token"].as_str().unwrap();
        let end = Timestamp(5_000 + 3_599_000);
        assert!(!is_expired(token, end - Duration::from_millis(1)));
        assert!(is_expired(token, end));
        assert!(!is_expired("FAKE.ACCESS.TOKEN", Timestamp(i64::MAX)));
    }

    #[test]
    fn names_in_a_login_path_are_compared_without_case() {
        let login = |path| Login::of(&segments(path));
        assert_eq!(login("/t/OAuth2/V2.0/Token"), Some(Login::Token { tenant: "t".to_owned() }));
        assert_eq!(
            login("/T/v2.0/.well-known/openid-configuration"),
            Some(Login::OpenId { tenant: "T".to_owned() })
        );
        assert_eq!(login("//oauth2/v2.0/token"), None);
        assert_eq!(login("/t/oauth2/v2.0/token/"), None);
        assert_eq!(login("/t/oauth2/token"), None);
    }
}
