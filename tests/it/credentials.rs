//! Every kind of credential, from the configuration file through the login, which verifies it, to a
//! call that ends.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::{Timestamp, ToSpan as _, tz::TimeZone};
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize, date_time_ymd};
use serde_json::{Value, json};

use crate::support::{CLIENT_ID, Gateway, Graph, Process, Site, TENANT, until};

/// A certificate, and the files that it and its key are in.
struct Certificate {
    pem: String,
    file: PathBuf,
    key_file: PathBuf,
}

impl Certificate {
    /// One that counts for so many days more, and some hours.
    fn make(folder: &Path, name: &str, days: i64) -> Self {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048);
        let key = key.expect("a key can be made");
        #[expect(clippy::disallowed_methods, reason = "`check` compares it with the system's time")]
        let now = Timestamp::now();
        let end = now.to_zoned(TimeZone::UTC).checked_add((days + 1).days());
        let end = end.expect("a time that exists").date();
        let [month, day] = [end.month(), end.day()].map(|part| u8::try_from(part).expect("small"));
        let mut wanted = CertificateParams::default();
        wanted.not_after = date_time_ymd(end.year().into(), month, day);
        let pem = wanted.self_signed(&key).expect("a certificate can be made").pem();
        let [file, key_file] = ["pem", "key"].map(|ending| folder.join(format!("{name}.{ending}")));
        std::fs::write(&file, &pem).expect("a file can be written");
        std::fs::write(&key_file, key.serialize_pem()).expect("a file can be written");
        Self { pem, file, key_file }
    }

    /// The lines that configure it.
    fn lines(&self) -> String {
        let (file, key_file) = (self.file.display(), self.key_file.display());
        format!("graph.certificate_file = \"{file}\"\ngraph.key_file = \"{key_file}\"")
    }
}

/// What the site's app may log in with.
async fn say(graph: &Graph, credentials: Value) {
    let mut app = credentials;
    app["clientId"] = json!(CLIENT_ID);
    graph.say("apps", &app).await;
}

/// Has a call deleted, which the login and Graph must let through.
async fn deletes(gateway: &Gateway) {
    let call = gateway.call("8856").await;
    let answer = gateway.delete(&format!("callID={}&detail=1", call.id)).await;
    assert_eq!((answer.code(), answer.word()), (0, "sent"), "{}", answer.body);
    assert_eq!(gateway.graph.state(&call.graph_id).await, "terminated");
}

/// What the login answered until now.
async fn logins(gateway: &Gateway) -> Vec<Value> {
    let login = |request: &Value| {
        let path = request["path"].as_str()?;
        let is_login = path.ends_with("/token") && !path.starts_with("/v1.0/");
        is_login.then(|| request["status"].clone())
    };
    gateway.graph.requests().await.iter().filter_map(login).collect()
}

/// Two objects and somebody else's signature.
fn federated(subject: &str) -> String {
    let claims = json!({
        "iss": "https://cluster", "sub": subject, "aud": "api://exchange", "exp": 4_000_000_000_u64,
    });
    let parts = [json!({"alg": "RS256"}).to_string(), claims.to_string(), "signature".to_owned()];
    parts.map(|part| BASE64_URL_SAFE_NO_PAD.encode(part)).join(".")
}

#[tokio::test]
async fn a_certificate_opens_the_login_that_knows_it() {
    let mut pem = String::new();
    let site = Site::proving("", |folder, _| {
        let made = Certificate::make(folder, "app", 100);
        pem.clone_from(&made.pem);
        made.lines()
    })
    .await;
    say(&site.graph, json!({"certificates": [pem]})).await;
    let gateway = Gateway::serve(site).await;
    deletes(&gateway).await;
    let requests = gateway.graph.requests().await;
    let form = requests[0]["body"].as_str().expect("a form");
    assert!(form.contains("client_assertion_type=") && !form.contains("secret"), "{form}");
    assert_eq!(logins(&gateway).await, [200]);
}

#[tokio::test]
async fn a_certificate_that_the_login_does_not_know_keeps_the_deletion_until_it_does() {
    let mut pems = Vec::new();
    let site = Site::proving("legacy.wait = \"300ms\"", |folder, _| {
        let [ours, other] = ["app", "other"].map(|name| Certificate::make(folder, name, 100));
        pems = vec![other.pem, ours.pem.clone()];
        ours.lines()
    })
    .await;
    say(&site.graph, json!({"certificates": [pems[0]]})).await;
    let gateway = Gateway::serve(site).await;
    let call = gateway.call("8856").await;
    let answer = gateway.delete(&format!("callID={}&detail=1", call.id)).await;
    assert_eq!((answer.code(), answer.word()), (0, "accepted"), "{}", answer.body);
    let readiness = gateway.readiness().await;
    assert!(readiness.contains(&format!("degraded: graph.{TENANT}: ")), "{readiness}");
    assert_eq!(gateway.graph.state(&call.graph_id).await, "established");
    let refused: String = gateway.value("SELECT error FROM attempts WHERE error IS NOT NULL");
    assert!(refused.contains("AADSTS700027"), "{refused}");

    // The operator uploads the certificate that we log in with.
    say(&gateway.graph, json!({"certificates": pems})).await;
    gateway.settles(answer.element("DeletionID"), "sent").await;
    assert_eq!(gateway.graph.state(&call.graph_id).await, "terminated");
    let restored = async || {
        (!gateway.readiness().await.contains(&format!("degraded: graph.{TENANT}: "))).then_some(())
    };
    until("the fault is over", restored).await;
}

#[tokio::test]
async fn check_says_how_many_days_a_certificate_is_left() {
    for (days, is_warning) in [(100, false), (12, true)] {
        let site =
            Site::proving("", |folder, _| Certificate::make(folder, "app", days).lines()).await;
        let output = site.command(&["check"]).output().await.expect("the binary was built");
        assert!(output.status.success(), "{output:?}");
        let text = if is_warning { &output.stderr } else { &output.stdout };
        let text = String::from_utf8_lossy(text);
        let line = text.lines().find(|line| line.contains("the certificate for tenant"));
        let line = line.unwrap_or_default();
        let expected = format!("{TENANT} is valid for {days} more days, until ");
        assert!(line.contains(&expected), "{text}");
    }
}

#[tokio::test]
async fn a_federated_token_opens_the_login_that_trusts_its_issuer() {
    let site = Site::proving("", |folder, _| {
        let file = folder.join("federated");
        std::fs::write(&file, federated("gateway")).expect("a file can be written");
        format!("graph.federated_token_file = \"{}\"", file.display())
    })
    .await;
    let trusted =
        json!({"issuer": "https://cluster", "subject": "gateway", "audience": "api://exchange"});
    say(&site.graph, json!({"federations": [trusted]})).await;
    let gateway = Gateway::serve(site).await;
    deletes(&gateway).await;
    assert_eq!(logins(&gateway).await, [200]);
}

#[tokio::test]
async fn a_token_that_the_login_does_not_trust_is_renewed_without_a_restart() {
    let site = Site::proving("legacy.wait = \"300ms\"", |folder, _| {
        let file = folder.join("federated");
        std::fs::write(&file, federated("somebody")).expect("a file can be written");
        format!("graph.federated_token_file = \"{}\"", file.display())
    })
    .await;
    let trusted =
        json!({"issuer": "https://cluster", "subject": "gateway", "audience": "api://exchange"});
    say(&site.graph, json!({"federations": [trusted]})).await;
    let gateway = Gateway::serve(site).await;
    let call = gateway.call("8856").await;
    let answer = gateway.delete(&format!("callID={}&detail=1", call.id)).await;
    assert_eq!((answer.code(), answer.word()), (0, "accepted"), "{}", answer.body);
    let refused: String = gateway.value("SELECT error FROM attempts WHERE error IS NOT NULL");
    assert!(refused.contains("AADSTS700213"), "{refused}");
    let file = gateway.folder().join("federated");
    std::fs::write(file, federated("gateway")).expect("a file can be written");
    gateway.settles(answer.element("DeletionID"), "sent").await;
    assert_eq!(gateway.graph.state(&call.graph_id).await, "terminated");
}

#[tokio::test]
async fn the_machines_identity_opens_graph_without_any_secret() {
    let site =
        Site::proving("", |_, graph| format!("graph.managed_identity = \"{}\"", graph.url())).await;
    site.graph.say("identity", &json!({"clientId": CLIENT_ID, "tenantId": TENANT})).await;
    let gateway = Gateway::serve(site).await;
    deletes(&gateway).await;
    let requests = gateway.graph.requests().await;
    assert_eq!(requests[0]["path"], "/metadata/identity/oauth2/token", "{}", requests[0]);
    assert_eq!((&requests[0]["method"], &requests[0]["status"]), (&json!("GET"), &json!(200)));
}

#[tokio::test]
async fn while_a_secret_is_changed_either_of_the_two_opens_the_login() {
    for (lines, statuses) in [("new\nold", vec![401, 200]), ("old\nnew", vec![200])] {
        let site = Site::proving("", |folder, _| {
            let file = folder.join("secrets");
            std::fs::write(&file, lines).expect("a file can be written");
            format!("graph.client_secret_file = \"{}\"", file.display())
        })
        .await;
        // The app does not have the new one yet.
        say(&site.graph, json!({"secrets": ["old"]})).await;
        let gateway = Gateway::serve(site).await;
        deletes(&gateway).await;
        assert_eq!(logins(&gateway).await, statuses, "{lines:?}");
    }
}

#[tokio::test]
async fn a_secret_that_the_login_refuses_is_warned_of_by_its_line_and_a_failure_without_a_hint_ends()
 {
    let site = Site::proving("", |folder, _| {
        let file = folder.join("secrets");
        std::fs::write(&file, "new\nold").expect("a file can be written");
        format!("graph.client_secret_file = \"{}\"", file.display())
    })
    .await;
    say(&site.graph, json!({"secrets": ["old"]})).await;
    site.graph.fault(json!({"method": "DELETE", "status": 400, "times": 1})).await;
    let call = site.call("8856").await;
    let process = Process::start(&site, &[]).await;
    let query = site.key.query(&format!("callID={}&detail=1", call.id));
    assert_ne!(process.get(&site, &query).await.code(), 0);
    let log = std::fs::read_to_string(&process.log).expect("a log is text");
    let warning =
        format!("the login of tenant {TENANT} refused the client secret in line 1 of its two");
    let line = log.lines().find(|line| line.contains(&warning)).expect("a line about the secret");
    assert!(line.contains("WARN") && !line.contains("new"), "{line}");
    let failure =
        log.lines().find(|line| line.contains(" failed: ")).expect("a line of the failure");
    assert!(!failure.contains("; "), "{failure}");
}
