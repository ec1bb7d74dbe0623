//! The proof that a notification carries: tokens, the documents of their keys, rotation.

use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::RSA_PKCS1_2048_8192_SHA256;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::receiver::Receiver;
use super::{Graph, TOKEN_FORM, TOKEN_PATH};

const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";

/// A bearer token, taken apart.
struct Token {
    text: String,
    header: Value,
    claims: Value,
}

/// The token of the next notification.
async fn token(receiver: &mut Receiver) -> Token {
    let post = receiver.post().await;
    let text = post.headers["authorization"].to_str().unwrap();
    let text = text.strip_prefix("Bearer ").unwrap().to_owned();
    let part = |index| {
        let bytes = decode(text.split('.').nth(index).unwrap());
        serde_json::from_slice::<Value>(&bytes).unwrap()
    };
    Token { header: part(0), claims: part(1), text }
}

fn decode(text: &str) -> Vec<u8> {
    BASE64_URL_SAFE_NO_PAD.decode(text).unwrap()
}

/// The key document, found as a receiver finds it.
async fn keys(graph: &Graph) -> Vec<Value> {
    let path = "/v1/.well-known/OpenIdConfiguration";
    let answer = graph.request(Method::GET, path).send().await.unwrap();
    let configuration: Value = answer.json().await.unwrap();
    let url = configuration["jwks_uri"].as_str().unwrap();
    assert!(url.starts_with(&graph.simulator.url()), "{url}");
    let keys: Value = graph.client.get(url).send().await.unwrap().json().await.unwrap();
    keys["keys"].as_array().unwrap().clone()
}

/// Whether the key with the token's `kid` signed it; none when there is no such key.
fn verifies(token: &Token, keys: &[Value]) -> Option<bool> {
    let key = keys.iter().find(|key| key["kid"] == token.header["kid"])?;
    let number = |name: &str| decode(key[name].as_str().unwrap());
    let key = PublicKeyComponents { n: number("n"), e: number("e") };
    let (signed, signature) = token.text.rsplit_once('.').unwrap();
    let (signed, signature) = (signed.as_bytes(), decode(signature));
    Some(key.verify(&RSA_PKCS1_2048_8192_SHA256, signed, &signature).is_ok())
}

async fn told(extra: Value) -> (Graph, Receiver) {
    let (graph, receiver) = (Graph::start().await, Receiver::start().await);
    let mut callback = json!({"url": receiver.url, "form": "v1.0"});
    callback.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    graph.callback(callback).await;
    (graph, receiver)
}

async fn make(graph: &Graph) {
    graph.make(json!({"tenantId": TENANT})).await;
}

#[tokio::test]
async fn a_token_is_signed_by_the_key_that_the_documents_lead_to() {
    let (graph, mut receiver) = told(json!({})).await;
    make(&graph).await;
    let token = token(&mut receiver).await;
    let keys = keys(&graph).await;
    assert_eq!(verifies(&token, &keys), Some(true));
    assert_eq!((&token.header["alg"], &token.header["typ"]), (&json!("RS256"), &json!("JWT")));
    assert_eq!(token.claims["iss"], "https://api.botframework.com");
    assert_eq!(token.claims["tid"], TENANT);
    let time = |name: &str| token.claims[name].as_i64().unwrap();
    assert_eq!((time("exp") - time("iat"), time("nbf") - time("iat")), (3900, 0));

    let key = &keys[0];
    assert_eq!((keys.len(), &key["kty"], &key["use"]), (1, &json!("RSA"), &json!("sig")));
    assert_eq!(decode(key["n"].as_str().unwrap()).len(), 256);
    assert!(key["x5t"].is_string() && !key["endorsements"].as_array().unwrap().is_empty());

    let (rest, signature) = token.text.rsplit_once('.').unwrap();
    let forged = Token { text: format!("{rest}A.{signature}"), ..token };
    assert_eq!(verifies(&forged, &keys), Some(false));
}

#[tokio::test]
async fn the_documents_say_what_a_receiver_looks_for() {
    let graph = Graph::start().await;
    let path = "/v1/.well-known/OpenIdConfiguration";
    let answer = graph.request(Method::GET, path).send().await.unwrap();
    let configuration: Value = answer.json().await.unwrap();
    assert_eq!(configuration["issuer"], "https://api.botframework.com");
    assert_eq!(configuration["id_token_signing_alg_values_supported"], json!(["RS256"]));
    assert_eq!(configuration["jwks_uri"], format!("{}/v1/keys", graph.simulator.url()));

    graph.fault(json!({"path": "/v1/keys", "status": 503, "times": 1})).await;
    let status = async |method, path| graph.app(method, path).await.status();
    assert_eq!(status(Method::GET, "/v1/keys").await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(status(Method::GET, "/v1/keys").await, StatusCode::OK);
    assert_eq!(status(Method::POST, "/v1/keys").await, StatusCode::METHOD_NOT_ALLOWED);
    let requests = graph.requests().await;
    let paths: Vec<&str> = requests.iter().map(|one| one["path"].as_str().unwrap()).collect();
    assert_eq!(paths, [path, "/v1/keys", "/v1/keys", "/v1/keys"]);
}

#[tokio::test]
async fn a_token_is_for_the_app_that_logged_in_and_the_tenant_of_the_call() {
    let (graph, mut receiver) = told(json!({})).await;
    make(&graph).await;
    let usual = token(&mut receiver).await;
    assert_eq!(usual.claims["aud"], "2891555a-92ff-42e6-80fa-6e1300c6b5c6");

    let mut form = TOKEN_FORM;
    form[1].1 = "11111111-2222-3333-4444-555555555555";
    graph.request(Method::POST, TOKEN_PATH).form(&form).send().await.unwrap();
    make(&graph).await;
    make(&graph).await;
    let [first, second] = [token(&mut receiver).await, token(&mut receiver).await];
    assert_eq!(first.claims["aud"], form[1].1);
    assert_eq!(first.text, second.text, "a token is used again");

    let callback = json!({"url": receiver.url, "audience": "app", "tenantId": "other"});
    graph.callback(callback).await;
    make(&graph).await;
    let given = token(&mut receiver).await;
    assert_eq!((&given.claims["aud"], &given.claims["tid"]), (&json!("app"), &json!("other")));
}

#[tokio::test]
async fn two_tenants_at_once_have_tokens_for_their_own_apps() {
    const OTHER: &str = "57dab8b1-894c-409a-b240-bd8beae78896";
    let (graph, mut receiver) = told(json!({})).await;
    for (tenant, app) in [(TENANT, "first"), (OTHER, "second")] {
        let mut form = TOKEN_FORM;
        form[1].1 = app;
        let path = format!("/{tenant}/oauth2/v2.0/token");
        graph.request(Method::POST, &path).form(&form).send().await.unwrap();
    }
    let mut told_to = async |call: Value| {
        graph.make(call).await;
        let claims = token(&mut receiver).await.claims;
        [&claims["aud"], &claims["tid"]].map(|claim| claim.as_str().unwrap().to_owned())
    };
    assert_eq!(told_to(json!({"tenantId": TENANT})).await, ["first", TENANT]);
    assert_eq!(told_to(json!({"tenantId": OTHER})).await, ["second", OTHER]);
    let said = json!({"tenantId": TENANT, "appId": "third"});
    assert_eq!(told_to(said).await, ["third", TENANT]);
    assert_eq!(told_to(json!({})).await, ["second", OTHER], "the last login's tenant");
    assert_eq!(told_to(json!({"tenantId": "nobody"})).await, ["second", "nobody"]);
}

#[tokio::test]
async fn a_new_key_takes_the_place_of_the_old_one_or_stands_beside_it() {
    let (graph, mut receiver) = told(json!({})).await;
    let rotate = async |body| {
        let (status, _) = graph.control(Method::POST, "/sim/keys/rotate", &body).await;
        assert_eq!(status, StatusCode::NO_CONTENT);
    };
    make(&graph).await;
    let first = token(&mut receiver).await;
    rotate(json!({"keepOld": true})).await;
    make(&graph).await;
    let second = token(&mut receiver).await;
    let both = keys(&graph).await;
    assert_ne!(first.header["kid"], second.header["kid"]);
    assert_eq!([&first, &second].map(|token| verifies(token, &both)), [Some(true); 2]);

    rotate(json!({})).await;
    let newest = keys(&graph).await;
    assert_eq!(newest.len(), 1);
    assert_eq!([&first, &second].map(|token| verifies(token, &newest)), [None; 2]);
    make(&graph).await;
    assert_eq!(verifies(&token(&mut receiver).await, &newest), Some(true));
}
