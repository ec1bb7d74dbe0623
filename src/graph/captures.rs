//! Our requests beside those of the official clients, which were taken off the wire: method, path,
//! the headers that matter, and body.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::calls::{ClientContext, Invitation};
use super::responder::{CLIENT_ID, Responder, answer, config, grant, tenant};
use super::*;
use crate::clock::Timestamp;
use crate::config::graph::{Credential, ManagedIdentity, fixture};
use crate::id::{GraphCallId, canonical_guid};
use crate::model::plan::RejectReason;
use crate::secret::Secret;

const CALL: &str = "57dab8b1-894c-409a-b240-bd8beae78896";
const PARTICIPANT: &str = "a7ebfb2d-871e-419c-87af-27290b22e8db";

/// Longer than anything here takes.
const LONG: Duration = Duration::from_mins(1);

/// A request, with the names of its headers in lower case.
#[derive(Clone, Debug)]
struct Seen {
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Seen {
    fn read(text: &str) -> Self {
        let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
        let mut lines = head.lines();
        let mut words = lines.next().unwrap().split(' ').map(str::to_owned);
        let headers = lines.filter_map(|line| line.split_once(": "));
        Self {
            method: words.next().unwrap(),
            path: words.next().unwrap(),
            headers: headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect(),
            body: body.trim().to_owned(),
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    fn form(&self) -> BTreeMap<String, String> {
        serde_urlencoded::from_str(self.body.lines().next().unwrap()).unwrap()
    }

    fn query(&self) -> (&str, BTreeMap<String, String>) {
        let (path, query) = self.path.split_once('?').unwrap();
        (path, serde_urlencoded::from_str(query).unwrap())
    }

    fn json(&self) -> Option<Value> {
        (!self.body.is_empty()).then(|| serde_json::from_str(&self.body).unwrap())
    }
}

/// The requests in a captured file.
fn captured(name: &str) -> Vec<Seen> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/facts/graph-captures");
    let text = std::fs::read_to_string(folder.join(name)).unwrap();
    let parts = text.split("\n# via: ").skip(1);
    let requests =
        parts.map(|part| part.split_once('\n').unwrap().1.split("\n----").next().unwrap());
    requests.map(Seen::read).collect()
}

fn taken(there: &Responder) -> Vec<Seen> {
    there.requests().iter().map(|text| Seen::read(&text.replace("\r\n", "\n"))).collect()
}

fn client(config: &GraphConfig) -> GraphClient {
    GraphClient::new(config, Clock::manual(Timestamp(1_795_319_012_914))).unwrap()
}

/// The one request of the file with this method, path and body.
fn find<'a>(all: &'a [Seen], ours: &Seen) -> &'a Seen {
    let is_like = |one: &&Seen| {
        (&one.method, &one.path, one.json()) == (&ours.method, &ours.path, ours.json())
    };
    all.iter().find(is_like).unwrap_or_else(|| panic!("no official client sends {ours:?}"))
}

fn check_to_graph(ours: &Seen, theirs: &Seen) {
    for name in ["accept", "authorization", "content-type"] {
        assert_eq!(ours.header(name), theirs.header(name), "{name} of {}", ours.path);
    }
    for request in [ours, theirs] {
        let id = request.header("client-request-id").unwrap();
        assert_eq!(canonical_guid(id).as_deref(), Some(id));
        let length = request.header("content-length").map(|length| length.parse().unwrap());
        assert_eq!(length, Some(request.body.len()).filter(|length| *length > 0), "{request:?}");
        assert_eq!(request.header("transfer-encoding"), None);
    }
}

async fn send_all(api: Api) -> Vec<Seen> {
    let mut reactions = vec![grant("FAKE.ACCESS.TOKEN", 3599)];
    reactions.extend((0..20).map(|_| answer("204 No Content", "", "")));
    let there = Responder::start(reactions);
    let mut config = config(&there.url, &there.url);
    config.tenant.as_mut().unwrap().api = api;
    let (client, tenant) = (client(&config), tenant());
    let call = GraphCallId(CALL.to_owned());
    let odd = GraphCallId("id with/odd?chars".to_owned());
    let invitation = Invitation {
        user_id: "278405a3-f568-4b3e-b684-009193463064".to_owned(),
        user_tenant: None,
        replaces: Some(GraphCallId(PARTICIPANT.to_owned())),
        context: ClientContext::new("f2fa86af-3c51-4bc2-8fc0-475452d9764f"),
    };
    client.hang_up(&tenant, &call).await.result.unwrap();
    client.remove_participant(&tenant, &call, PARTICIPANT).await.result.unwrap();
    let _no_roster = client.roster(&tenant, &call).await;
    if api == Api::V1 {
        client.reject(&tenant, &call, RejectReason::Busy, LONG).await.result.unwrap();
        let _no_operation = client.invite(&tenant, &call, &invitation).await;
        let _no_call = client.read_call(&tenant, &call).await;
        client.hang_up(&tenant, &odd).await.result.unwrap();
    } else {
        client.reject(&tenant, &call, RejectReason::None, LONG).await.result.unwrap();
    }
    taken(&there).split_off(1)
}

#[tokio::test]
async fn what_graph_gets_is_what_the_official_clients_send() {
    for (api, file, count) in [
        (Api::V1, "msgraph-sdk-python-graph-host-http1.txt", 7),
        (Api::BetaApp, "msgraph-beta-sdk-python-app-calls.txt", 4),
    ] {
        let theirs = captured(file);
        let ours = send_all(api).await;
        assert_eq!(ours.len(), count);
        for ours in &ours {
            check_to_graph(ours, find(&theirs, ours));
        }
    }
}

/// What the login gets of an app with this credential.
async fn log_in(credential: impl FnOnce(&str) -> Credential) -> (Seen, String) {
    let there =
        Responder::start([grant("FAKE.ACCESS.TOKEN", 3599), answer("204 No Content", "", "")]);
    let mut config = config(&there.url, &there.url);
    config.tenant.as_mut().unwrap().credential = credential(&there.url);
    client(&config).hang_up(&tenant(), &GraphCallId(CALL.to_owned())).await.result.unwrap();
    (taken(&there).remove(0), there.url)
}

/// The form of the official client's login without what it tells of itself, and for our Graph.
fn official_form(file: &str, url: &str) -> BTreeMap<String, String> {
    let theirs = captured(file).pop().unwrap();
    assert_eq!(theirs.path, format!("/{}/oauth2/v2.0/token", tenant()));
    assert_eq!(theirs.header("content-type"), Some("application/x-www-form-urlencoded"));
    let mut form = theirs.form();
    form.remove("client_info");
    form.insert("scope".to_owned(), format!("{url}/.default"));
    form
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
        ("msal-python-secret-default-authority.txt", "FAKE~secret+/=&%"),
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
    assert_eq!(form, official_form("msal-python-credential-sha256.txt", &url));
    let assertion = assertion.unwrap();
    let decode = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).unwrap();
    let parts: Vec<_> = assertion.split('.').collect();
    let header: Value = serde_json::from_slice(&decode(parts[0])).unwrap();
    let claims: Value = serde_json::from_slice(&decode(parts[1])).unwrap();
    let theirs = captured("msal-python-credential-sha256.txt").pop().unwrap().body;
    let noted = |what: &str| -> Value {
        let line = theirs.lines().find_map(|line| line.strip_prefix(what)).unwrap();
        serde_json::from_str(line).unwrap()
    };
    let (their_header, their_claims) =
        (noted("# assertion header: "), noted("# assertion claims: "));
    assert_eq!((&header["alg"], &header["typ"]), (&their_header["alg"], &their_header["typ"]));
    assert_eq!(header["x5t#S256"], json!(made.thumbprint));
    for name in ["iss", "sub"] {
        assert_eq!(claims[name], their_claims[name], "{name}");
    }
    assert_eq!(claims["aud"], json!(format!("{url}/{}/oauth2/v2.0/token", tenant())));
    assert_eq!(canonical_guid(claims["jti"].as_str().unwrap()).as_deref(), claims["jti"].as_str());
    let lifetime =
        |claims: &Value| claims["exp"].as_f64().unwrap() - claims["iat"].as_f64().unwrap();
    assert!((lifetime(&claims) - lifetime(&their_claims)).abs() < 0.001, "{claims}");
    assert_eq!(claims["nbf"], claims["iat"]);
    let (signed, _) = assertion.rsplit_once('.').unwrap();
    let algorithm = &aws_lc_rs::signature::RSA_PSS_2048_8192_SHA256;
    let key = aws_lc_rs::signature::UnparsedPublicKey::new(algorithm, &made.public_key);
    key.verify(signed.as_bytes(), &decode(parts[2])).unwrap();
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
