//! Logins with credentials that were said to be right: secrets, certificates, federations, and the
//! identity of the machine.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{CALL, Graph, ID};

const APP: &str = "2891555a-92ff-42e6-80fa-6e1300c6b5c6";
const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// What the login says: 200, or its number.
async fn log_in(graph: &Graph, credential: &[(&str, &str)]) -> i64 {
    let mut form = vec![
        ("grant_type", "client_credentials"),
        ("client_id", APP),
        ("scope", "https://graph.microsoft.com/.default"),
    ];
    form.extend(credential);
    let path = format!("/{TENANT}/oauth2/v2.0/token");
    let answer = graph.request(Method::POST, &path).form(&form).send().await.unwrap();
    let status = answer.status();
    let body: Value = answer.json().await.unwrap();
    if status == StatusCode::OK {
        return 200;
    }
    body["error_codes"][0].as_i64().expect("an error has a number")
}

async fn assert_in(graph: &Graph, assertion: &str) -> i64 {
    let credential = [("client_assertion_type", ASSERTION_TYPE), ("client_assertion", assertion)];
    log_in(graph, &credential).await
}

async fn say(graph: &Graph, credentials: Value) -> Value {
    let mut app = credentials;
    app["clientId"] = json!(APP);
    let (status, shown) = graph.control(Method::POST, "/sim/apps", &app).await;
    assert_eq!(status, StatusCode::OK, "{shown}");
    shown["credentials"].clone()
}

struct Signer {
    key: rsa::KeyPair,
    pem: String,
}

impl Signer {
    fn make() -> Self {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        let pem = CertificateParams::default().self_signed(&key).unwrap().pem();
        let key = rsa::KeyPair::from_pkcs8(&key.serialize_der()).unwrap();
        Self { key, pem }
    }

    fn sign(&self, header: &Value, claims: &Value, how: &'static dyn RsaEncoding) -> String {
        let encode = |part: &Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
        let signed = format!("{}.{}", encode(header), encode(claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key.sign(how, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }
}

fn claims(graph: &Graph) -> Value {
    let audience = format!("{}/{TENANT}/oauth2/v2.0/token", graph.simulator.url());
    let far = 4_000_000_000_u64;
    json!({"aud": audience, "iss": APP, "sub": APP, "jti": "1", "nbf": 1, "exp": far})
}

#[tokio::test]
async fn only_secrets_that_were_named_are_right_and_an_expired_one_says_so() {
    let graph = Graph::start().await;
    assert_eq!(log_in(&graph, &[("client_secret", "anything")]).await, 200);
    let secrets = json!(["new", {"value": "old", "expired": true}]);
    let shown = say(&graph, json!({"secrets": secrets})).await;
    assert_eq!(shown["secrets"], json!([{"expired": false}, {"expired": true}]));
    for (secret, expected) in [("new", 200), ("old", 7_000_222), ("anything", 7_000_215)] {
        assert_eq!(log_in(&graph, &[("client_secret", secret)]).await, expected, "{secret}");
    }
    graph.control(Method::DELETE, "/sim/apps", &Value::Null).await;
    assert_eq!(log_in(&graph, &[("client_secret", "anything")]).await, 200);
}

#[tokio::test]
async fn an_assertion_is_held_to_the_certificate_that_it_names() {
    let graph = Graph::start().await;
    let (signer, other) = (Signer::make(), Signer::make());
    let shown = say(&graph, json!({"certificates": [signer.pem]})).await;
    let thumbprints = &shown["certificates"][0];
    // With the padding that some libraries leave in it.
    let sha256 = format!("{}=", thumbprints["x5t#S256"].as_str().unwrap());
    let strong = json!({"alg": "PS256", "typ": "JWT", "x5t#S256": sha256});
    let weak = json!({"alg": "RS256", "typ": "JWT", "x5t": thumbprints["x5t"]});
    let claims = claims(&graph);
    let changed = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        claims
    };

    let good = signer.sign(&strong, &claims, &RSA_PSS_SHA256);
    assert_eq!(assert_in(&graph, &good).await, 200);
    let good = signer.sign(&weak, &claims, &RSA_PKCS1_SHA256);
    assert_eq!(assert_in(&graph, &good).await, 200);
    let fraction = changed("exp", json!(4_000_000_000.5));
    let good = signer.sign(&strong, &fraction, &RSA_PSS_SHA256);
    assert_eq!(assert_in(&graph, &good).await, 200);

    let nameless = json!({"alg": "PS256", "typ": "JWT"});
    for (assertion, number) in [
        (other.sign(&strong, &claims, &RSA_PSS_SHA256), 700_027),
        (signer.sign(&strong, &claims, &RSA_PKCS1_SHA256), 700_027),
        (signer.sign(&nameless, &claims, &RSA_PSS_SHA256), 700_027),
        (signer.sign(&strong, &changed("iss", json!("x")), &RSA_PSS_SHA256), 700_021),
        (signer.sign(&strong, &changed("sub", json!(null)), &RSA_PSS_SHA256), 700_021),
        (signer.sign(&strong, &changed("aud", json!("https://x")), &RSA_PSS_SHA256), 700_023),
        (signer.sign(&strong, &changed("exp", json!(1)), &RSA_PSS_SHA256), 700_024),
        (signer.sign(&strong, &changed("nbf", json!(3_999_999_999_u64)), &RSA_PSS_SHA256), 700_024),
        ("e30.e30".to_owned(), 50_027),
    ] {
        assert_eq!(assert_in(&graph, &assertion).await, number, "{assertion}");
    }
    assert_eq!(log_in(&graph, &[("client_secret", "s")]).await, 7_000_215);

    say(&graph, json!({"certificates": [{"pem": signer.pem, "expired": true}]})).await;
    let good = signer.sign(&strong, &claims, &RSA_PSS_SHA256);
    assert_eq!(assert_in(&graph, &good).await, 700_027);
}

#[tokio::test]
async fn a_federated_assertion_is_compared_with_what_was_said() {
    let graph = Graph::start().await;
    let signer = Signer::make();
    let header = json!({"alg": "RS256"});
    let word = |subject: &str| {
        let claims = json!({"iss": "https://k8s", "sub": subject, "aud": "api://x", "exp": 4e9});
        signer.sign(&header, &claims, &RSA_PKCS1_SHA256)
    };
    assert_eq!(assert_in(&graph, &word("anybody")).await, 200);
    let federation = json!({"issuer": "https://k8s", "subject": "sa", "audience": "api://x"});
    say(&graph, json!({"federations": [federation]})).await;
    assert_eq!(assert_in(&graph, &word("sa")).await, 200);
    assert_eq!(assert_in(&graph, &word("anybody")).await, 700_213);
}

#[tokio::test]
async fn a_machine_has_an_identity_in_both_forms() {
    const MACHINE: &str = "/metadata/identity/oauth2/token?api-version=2018-02-01";
    const APP_SERVICE: &str = "/msi/token?api-version=2019-08-01";
    const RESOURCE: &str = "&resource=https://graph.microsoft.com";
    let graph = Graph::start().await;
    let identity = json!({"tenantId": "t", "clientId": APP, "header": "planted-secret"});
    let (_, shown) = graph.control(Method::POST, "/sim/identity", &identity).await;
    assert_eq!(shown["header"], "(hidden)");
    let call = json!({"id": ID, "tenantId": "t", "appId": APP});
    graph.make(call).await;
    for (path, name, value, status) in [
        (format!("{MACHINE}{RESOURCE}"), "metadata", "true", 200),
        (format!("{MACHINE}{RESOURCE}&client_id={APP}"), "metadata", "true", 200),
        (format!("{APP_SERVICE}{RESOURCE}"), "x-identity-header", "planted-secret", 200),
        (format!("{MACHINE}{RESOURCE}"), "x-other", "true", 400),
        (format!("{MACHINE}{RESOURCE}&client_id=other"), "metadata", "true", 400),
        (format!("{MACHINE}{RESOURCE}/.default"), "metadata", "true", 400),
        (MACHINE.to_owned(), "metadata", "true", 400),
        (format!("{APP_SERVICE}{RESOURCE}"), "x-identity-header", "wrong", 401),
        (format!("{APP_SERVICE}{RESOURCE}"), "metadata", "true", 401),
    ] {
        let answer = graph.request(Method::GET, &path).header(name, value).send().await.unwrap();
        assert_eq!(answer.status(), status, "{path} {name}");
        let body: Value = answer.json().await.unwrap();
        if status == 200 {
            assert!(body["expires_in"].is_string() && body["expires_on"].is_string(), "{body}");
            let token = body["access_token"].as_str().unwrap();
            let answer = graph.request(Method::GET, CALL).bearer_auth(token).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK, "{path}");
        } else {
            assert!(body["error_description"].is_string(), "{body}");
        }
    }
    assert!(!json!(graph.requests().await).to_string().contains("planted-secret"));
}
