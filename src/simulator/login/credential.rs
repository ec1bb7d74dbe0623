//! Whether a request for a token is complete, and whether its credential is one that was said to be
//! right. Where nothing was said, every complete request is.

use bytes::Bytes;
use hyper::{Request, StatusCode};

use super::assertion::{self, Assertion};
use super::form::{Form, basic_credentials};
use super::refusal::{Refusal, missing};
use super::token::App;
use crate::simulator::answer::Exchange;
use crate::simulator::directory::{Directory, KnownApp};

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The app that a request for a token of `tenant` proves to be.
///
/// # Errors
///
/// What Entra ID says of a request that is incomplete or not from that app.
pub(super) fn check(
    tenant: &str,
    request: &Request<Bytes>,
    exchange: &Exchange,
    directory: &Directory,
) -> Result<App, Refusal> {
    let form = Form::read(request);
    let basic = basic_credentials(request.headers());
    let client_id = check_form(&form, basic.as_ref().map(|(id, _)| id.as_str()))?;
    let credential = Credential::of(&form, basic.as_ref().map(|(_, secret)| secret.as_str()))?;
    let Some(tenant_id) = directory.tenant_id(tenant) else {
        return Err(Refusal::client(
            "invalid_request",
            90_002,
            format!(
                "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID."
            ),
        ));
    };
    let app = App { tenant: tenant_id, client_id };
    if let Some(known) = directory.app(&app) {
        check_app(known, &app)?;
        let endpoint = format!("{}/{tenant}", exchange.base);
        credential.check(known, &app, &endpoint, exchange)?;
    }
    Ok(app)
}

/// The client id in a form that is complete but for the credential.
fn check_form(form: &Form, basic_id: Option<&str>) -> Result<String, Refusal> {
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
    let client_id = form.get("client_id").or(basic_id).ok_or_else(|| missing("client_id"))?;
    let scope = form.get("scope").ok_or_else(|| missing("scope"))?;
    if scope.split_whitespace().count() != 1 || !scope.trim().ends_with("/.default") {
        let text = format!(
            "The provided request must include a 'scope' input parameter. The provided value for \
             the input parameter 'scope' is not valid. The scope {scope} is not valid."
        );
        return Err(Refusal::client("invalid_scope", 70_011, text));
    }
    Ok(client_id.to_owned())
}

/// What an app proves itself with.
enum Credential {
    Secret(String),
    Assertion(Assertion),
}

impl Credential {
    fn of(form: &Form, basic_secret: Option<&str>) -> Result<Self, Refusal> {
        match (form.get("client_assertion"), form.get("client_assertion_type")) {
            (Some(text), Some(ASSERTION_TYPE)) => {
                Ok(Self::Assertion(Assertion::read(text).ok_or_else(assertion::malformed)?))
            }
            (Some(_), None) => Err(missing("client_assertion_type")),
            (Some(_), Some(_)) => Err(Refusal::client(
                "invalid_request",
                9_002_313,
                "Invalid request. Request is malformed or invalid.",
            )),
            (None, _) => match form.get("client_secret").or(basic_secret) {
                Some(secret) => Ok(Self::Secret(secret.to_owned())),
                None => Err(Refusal::client(
                    "invalid_client",
                    7_000_218,
                    "The request body must contain the following parameter: 'client_assertion' or \
                     'client_secret'.",
                )),
            },
        }
    }

    fn check(
        &self,
        known: &KnownApp,
        app: &App,
        endpoint: &str,
        exchange: &Exchange,
    ) -> Result<(), Refusal> {
        let Some(credentials) = &known.credentials else { return Ok(()) };
        match self {
            Self::Assertion(assertion) => {
                assertion.check(credentials, &app.client_id, endpoint, exchange.at)
            }
            Self::Secret(given) => {
                match credentials.secrets.iter().find(|secret| secret.value == *given) {
                    Some(secret) if secret.expired => Err(Refusal::client(
                        "invalid_client",
                        7_000_222,
                        format!(
                            "The provided client secret keys for app '{}' are expired.",
                            app.client_id
                        ),
                    )),
                    Some(_) => Ok(()),
                    None => Err(Refusal::client(
                        "invalid_client",
                        7_000_215,
                        format!("Invalid client secret provided for app '{}'.", app.client_id),
                    )),
                }
            }
        }
    }
}

fn check_app(known: &KnownApp, app: &App) -> Result<(), Refusal> {
    let App { tenant, client_id } = app;
    if !known.exists {
        let text = format!(
            "Application with identifier '{client_id}' was not found in the directory '{tenant}'."
        );
        return Err(Refusal::client("unauthorized_client", 700_016, text));
    }
    if !known.enabled {
        let text = format!("Application '{client_id}' is disabled.");
        return Err(Refusal::client("unauthorized_client", 7_000_112, text));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
    use serde_json::{Value, json};

    use super::*;
    use crate::clock::Timestamp;
    use crate::simulator::directory::KnownTenant;
    use crate::simulator::fields::Fields;

    const START: &str =
        "grant_type=client_credentials&client_id=app&scope=https%3A%2F%2Fg%2F.default";
    const TYPE: &str = "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";

    /// What the token endpoint says of `form`: `ok`, or the error and its number.
    fn verdict(form: &str, authorization: Option<&str>, directory: &Directory) -> String {
        let mut request = Request::post("/contoso.com/oauth2/v2.0/token")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded; charset=utf-8")
            .body(Bytes::copy_from_slice(form.as_bytes()))
            .unwrap();
        if let Some(value) = authorization {
            request.headers_mut().insert(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        let exchange = Exchange::new(&request, Timestamp(0));
        match check("contoso.com", &request, &exchange, directory) {
            Ok(App { client_id, .. }) => format!("ok {client_id}"),
            Err(Refusal { status, error, number, .. }) => {
                format!("{} {error} {number}", status.as_u16())
            }
        }
    }

    fn fields(body: &Value) -> Fields {
        Fields::read(body.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn an_incomplete_request_is_refused_as_documented() {
        let check = |form: &str, expected: &str| {
            assert_eq!(verdict(form, None, &Directory::default()), expected, "{form}");
        };
        check(&format!("{START}&client_secret=s"), "ok app");
        check(
            &format!("{START}&client_assertion=e30.e30.c2ln&client_assertion_type={TYPE}"),
            "ok app",
        );
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
        check(&format!("{START}&client_assertion=e30.e30.c2ln"), "400 invalid_request 900144");
        check(
            &format!("{START}&client_assertion=e30.e30.c2ln&client_assertion_type=jwt"),
            "400 invalid_request 9002313",
        );
        check(
            &format!("{START}&client_assertion=a.b.c&client_assertion_type={TYPE}"),
            "401 invalid_client 50027",
        );
    }

    #[test]
    fn id_and_secret_may_come_as_basic_credentials() {
        let form = "grant_type=client_credentials&scope=g%2F.default";
        let directory = Directory::default();
        assert_eq!(verdict(form, Some("Basic YXBwOnNlY3JldA=="), &directory), "ok app");
        assert_eq!(verdict(form, Some("Basic YXBwOg=="), &directory), "400 invalid_request 900144");
    }

    #[test]
    fn what_was_said_of_an_app_decides() {
        let assertion =
            format!("{START}&client_assertion=e30.e30.c2ln&client_assertion_type={TYPE}");
        for (said, secret, expected) in [
            (json!({}), "any", "ok app"),
            (json!({"secrets": ["right", "next"]}), "next", "ok app"),
            (json!({"secrets": ["right"]}), "wrong", "401 invalid_client 7000215"),
            (
                json!({"secrets": [{"value": "old", "expired": true}]}),
                "old",
                "401 invalid_client 7000222",
            ),
            (json!({"certificates": []}), "any", "401 invalid_client 7000215"),
            (json!({"exists": false}), "any", "400 unauthorized_client 700016"),
            (json!({"enabled": false}), "any", "400 unauthorized_client 7000112"),
        ] {
            let mut directory = Directory::default();
            let mut app = said.clone();
            app["clientId"] = json!("app");
            directory.set_app(KnownApp::read(fields(&app)).unwrap());
            let form = format!("{START}&client_secret={secret}");
            assert_eq!(verdict(&form, None, &directory), expected, "{said}");
            if said.get("secrets").is_some() {
                assert_eq!(verdict(&assertion, None, &directory), "401 invalid_client 700027");
            }
        }
        let mut directory = Directory::default();
        let gone = json!({"tenantId": "t", "domains": "contoso.com", "exists": false});
        directory.set_tenant(KnownTenant::read(fields(&gone)).unwrap());
        let form = format!("{START}&client_secret=s");
        assert_eq!(verdict(&form, None, &directory), "400 invalid_request 90002");
    }
}
