//! What the login gets, beside what it gets of the official clients: the form's fields and values, and what
//! is in the assertion that a certificate signs.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::json;

use super::*;
use crate::config::graph::{Credential, ManagedIdentity, fixture};
use crate::secret::Secret;

/// What the login gets of an app with this credential.
async fn log_in(credential: impl FnOnce(&str) -> Credential) -> (Seen, String) {
    let there =
        Responder::start([grant("FAKE.ACCESS.TOKEN", 3599), answer("204 No Content", "", "")]);
    let mut config = config(&there.url, &there.url);
    config.tenant.as_mut().unwrap().credential = credential(&there.url);
    client(&config).hang_up(&tenant(), &GraphCallId(CALL.to_owned())).await.result.unwrap();
    (taken(&there).remove(0), there.url)
}

/// The form of the official client's last login without what it tells of itself, and for our Graph.
fn official_form(file: &str, url: &str) -> BTreeMap<String, String> {
    let theirs = logins(file).pop().unwrap();
    let path = theirs.path.split('?').next().unwrap();
    assert_eq!(path, format!("/{}/oauth2/v2.0/token", tenant()));
    let kind = theirs.header("content-type").unwrap().split(';').next();
    assert_eq!(kind, Some("application/x-www-form-urlencoded"));
    let mut form = theirs.form();
    form.retain(|name, _| {
        !["client_info", "client-request-id", "x-ms-lib-capability"].contains(&name.as_str())
            && !name.starts_with("x-client-")
    });
    let scope = form.insert("scope".to_owned(), format!("{url}/.default"));
    assert_eq!(scope.as_deref(), Some("https://graph.microsoft.com/.default"), "{file}");
    form
}

/// The requests for tokens in a captured file; before the first one some clients look for the endpoint,
/// which ours is told.
fn logins(file: &str) -> Vec<Seen> {
    captured(file).into_iter().filter(|request| request.method == "POST").collect()
}

fn check_login(ours: &Seen) {
    assert_eq!((ours.method.as_str(), ours.header("accept")), ("POST", Some("application/json")));
    assert_eq!(ours.path, format!("/{}/oauth2/v2.0/token", tenant()));
    assert_eq!(ours.header("content-type"), Some("application/x-www-form-urlencoded"));
}

#[tokio::test]
async fn a_secret_is_sent_as_the_official_clients_send_it() {
    for (file, secret) in [
        ("azure-identity-secret.txt", "FAKE-secret"),
        ("msal-node-secret.txt", "FAKE-secret"),
        ("msal-python-secret-default-authority.txt", "FAKE~secret+/=&%"),
        ("msal-python-secret-local-authority-discovery-on.txt", "FAKE-secret"),
        ("msal-python-secret-local-authority-discovery-off.txt", "FAKE-secret"),
    ] {
        let secrets = Credential::Secrets(vec![Secret::new(secret.to_owned())]);
        let (ours, url) = log_in(|_| secrets).await;
        check_login(&ours);
        assert_eq!(ours.form(), official_form(file, &url), "{file}");
    }
}

#[tokio::test]
async fn a_federated_token_is_sent_as_the_official_clients_send_it() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "<HEADER>.<CLAIMS>.<SIGNATURE>\n").unwrap();
    for name in ["azure-identity-workload.txt", "msal-python-credential-federated.txt"] {
        let (ours, url) = log_in(|_| Credential::Federated(file.path().to_owned())).await;
        check_login(&ours);
        assert_eq!(ours.form(), official_form(name, &url), "{name}");
    }
}

#[tokio::test]
async fn a_certificate_signs_what_the_official_clients_sign() {
    let made = fixture::make("270101000000Z");
    let (ours, url) = log_in(|_| Credential::Certificate(made.read())).await;
    check_login(&ours);
    let mut form = ours.form();
    let assertion =
        form.insert("client_assertion".to_owned(), "<HEADER>.<CLAIMS>.<SIGNATURE>".to_owned());
    let assertion = assertion.unwrap();
    let decode = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).unwrap();
    let parts: Vec<_> = assertion.split('.').collect();
    let header: Value = serde_json::from_slice(&decode(parts[0])).unwrap();
    let claims: Value = serde_json::from_slice(&decode(parts[1])).unwrap();
    for file in [
        "msal-python-credential-sha256.txt",
        // These sign as before PS256 and name the certificate by SHA-1; the rest is the same.
        "msal-python-credential-sha1.txt",
        "msal-python-credential-sha1-with-x5c.txt",
        "azure-identity-certificate.txt",
    ] {
        assert_eq!(form, official_form(file, &url), "{file}");
        let (their_header, their_claims) = (noted(file, "header"), noted(file, "claims"));
        assert_eq!(header["typ"], their_header["typ"]);
        if file.ends_with("sha256.txt") {
            assert_eq!(header["alg"], their_header["alg"]);
            // Theirs is padded, which the standard does not want.
            let thumbprint = their_header["x5t#S256"].as_str().unwrap().trim_end_matches('=');
            assert_eq!(decode(thumbprint).len(), decode(&made.thumbprint).len());
        }
        check_claims(&claims, &their_claims);
    }
    assert_eq!(header["x5t#S256"], json!(made.thumbprint));
    assert_eq!(claims["aud"], json!(format!("{url}/{}/oauth2/v2.0/token", tenant())));
    let (signed, _) = assertion.rsplit_once('.').unwrap();
    let algorithm = &aws_lc_rs::signature::RSA_PSS_2048_8192_SHA256;
    let key = aws_lc_rs::signature::UnparsedPublicKey::new(algorithm, &made.public_key);
    key.verify(signed.as_bytes(), &decode(parts[2])).unwrap();
}

/// What was noted beside an assertion that was taken.
fn noted(file: &str, part: &str) -> Value {
    let theirs = logins(file).pop().unwrap().body;
    let start = format!("# assertion {part}: ");
    let line = theirs.lines().find_map(|line| line.strip_prefix(&start)).unwrap();
    serde_json::from_str(line).unwrap()
}

fn check_claims(ours: &Value, theirs: &Value) {
    for name in ["iss", "sub"] {
        assert_eq!(ours[name], theirs[name], "{name}");
    }
    for claims in [ours, theirs] {
        let (audience, id) = (claims["aud"].as_str().unwrap(), claims["jti"].as_str().unwrap());
        assert!(audience.ends_with(&format!("/{}/oauth2/v2.0/token", tenant())), "{audience}");
        assert_eq!(canonical_guid(id).as_deref(), Some(id));
    }
    let lifetime =
        |claims: &Value| claims["exp"].as_f64().unwrap() - claims["iat"].as_f64().unwrap();
    assert!((lifetime(ours) - lifetime(theirs)).abs() < 0.001, "{ours}");
    assert_eq!(ours["nbf"], ours["iat"]);
}

#[tokio::test]
async fn a_machines_identity_is_asked_for_as_the_official_clients_ask() {
    let (imds, url) =
        log_in(|url| Credential::Managed(ManagedIdentity::Imds(url.to_owned()))).await;
    check_identity(&imds, &url, "azure-identity-imds.txt");
    assert_eq!(imds.header("metadata"), Some("true"));

    let (app_service, url) = log_in(|url| {
        let url = Url::parse(&format!("{url}/msi/token")).unwrap();
        let header = Secret::new("FAKE-HEADER".to_owned());
        Credential::Managed(ManagedIdentity::AppService(url, header))
    })
    .await;
    check_identity(&app_service, &url, "azure-identity-appservice.txt");
    assert_eq!(app_service.header("x-identity-header"), Some("FAKE-HEADER"));
}

fn check_identity(ours: &Seen, url: &str, file: &str) {
    let theirs = captured(file).remove(0);
    let (path, mut query) = theirs.query();
    assert_eq!(
        query.insert("resource".to_owned(), url.to_owned()).as_deref(),
        Some("https://graph.microsoft.com")
    );
    assert_eq!((ours.method.as_str(), ours.query()), (theirs.method.as_str(), (path, query)));
    assert_eq!(ours.query().1["client_id"], CLIENT_ID);
    assert!(ours.body.is_empty() && ours.header("content-length").is_none());
    for name in ["metadata", "x-identity-header"] {
        assert_eq!(ours.header(name), theirs.header(name), "{name}");
    }
}

#[tokio::test]
async fn a_challenge_goes_into_the_token_request() {
    let challenge = "WWW-Authenticate: Bearer claims=\"eyJhIjoxfQ==\"\r\n";
    let there = Responder::start([
        grant("one", 3599),
        answer("401 Unauthorized", challenge, ""),
        grant("two", 3599),
        answer("204 No Content", "", ""),
    ]);
    let mut config = config(&there.url, &there.url);
    let made = fixture::make("270101000000Z");
    config.tenant.as_mut().unwrap().credential = Credential::Certificate(made.read());
    client(&config).hang_up(&tenant(), &GraphCallId(CALL.to_owned())).await.result.unwrap();
    let taken = taken(&there);
    let (first, second) = (taken[0].form(), taken[2].form());
    assert_eq!((first.get("claims"), second["claims"].as_str()), (None, r#"{"a":1}"#));
    assert_ne!(first["client_assertion"], second["client_assertion"]);
}

#[tokio::test]
async fn a_challenge_is_passed_on_as_the_official_clients_pass_it_on() {
    let file = "end-to-end-sdk-and-credential.txt";
    let theirs = logins(file).pop().unwrap().form();
    let mut their_claims: Value = serde_json::from_str(&theirs["claims"]).unwrap();
    // What the client tells of itself, challenged or not.
    their_claims["access_token"].as_object_mut().unwrap().remove("xms_cc").unwrap();
    let challenge = BASE64_STANDARD.encode(their_claims.to_string());
    let there = Responder::start([
        grant("one", 3599),
        answer(
            "401 Unauthorized",
            &format!("WWW-Authenticate: Bearer claims=\"{challenge}\"\r\n"),
            "",
        ),
        grant("two", 3599),
        answer("204 No Content", "", ""),
    ]);
    let mut config = config(&there.url, &there.url);
    config.tenant.as_mut().unwrap().credential =
        Credential::Secrets(vec![Secret::new("FAKE-secret".to_owned())]);
    client(&config).hang_up(&tenant(), &GraphCallId(CALL.to_owned())).await.result.unwrap();
    let taken = taken(&there);
    let split = |mut form: BTreeMap<String, String>| {
        let claims = form.remove("claims").map(|claims| serde_json::from_str::<Value>(&claims));
        (form, claims.map(Result::unwrap))
    };
    let (their_form, _) = split(official_form(file, &there.url));
    assert_eq!(split(taken[0].form()), (their_form.clone(), None));
    assert_eq!(split(taken[2].form()), (their_form, Some(their_claims)));
}
