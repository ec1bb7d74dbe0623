//! The audit record of the legacy API: every decision, who asked, and why it was refused.

use serde_json::{Value, json};

use super::login::{LOGIN, PASSWORD, basic, request, site};
use crate::support::{Gateway, Site, post};

const NO_CALL: &str = "callID=57dab8b1-894c-409a-b240-bd8beae78896";
const NOBODY: &str = "57dab8b1-894c-409a-b240-bd8beae78896";

/// The entry of this action and cause.
async fn refused(gateway: &Gateway, action: &str, cause: &str) -> Value {
    let decides = |entry: &Value| entry["action"] == action && entry["cause"] == cause;
    let entry = gateway.audited(&format!("{action} is refused: {cause}"), decides).await;
    assert_eq!(entry["decision"], "refused", "{entry}");
    entry
}

#[tokio::test]
async fn a_login_and_its_end_are_on_record_with_user_and_session() {
    let (site, key) = site().await;
    let gateway = Gateway::serve(site).await;
    let answer = request(&gateway, &key, &[&basic(format!("{LOGIN}:{PASSWORD}"))], "").await;
    let token = answer.attribute("token");
    assert_eq!(gateway.get(&key.ask("ReleaseToken", &format!("token={token}"))).await.code(), 0);
    let session = gateway.value::<String>("SELECT session_id FROM sessions");
    // Both were written with what they are about: nobody waits.
    let audit = gateway.audit();
    for (action, result) in [("RequestToken", "logged_in"), ("ReleaseToken", "released")] {
        let mut entries = audit.iter().filter(|entry| entry["action"] == action);
        let entry = entries.next().unwrap();
        assert!(entries.next().is_none(), "one record of each");
        assert_eq!((&entry["decision"], &entry["result"]), (&json!("allowed"), &json!(result)));
        assert_eq!(entry["key_id"], key.id.as_str());
        assert_eq!(entry["session_id"], session.as_str());
        assert_eq!(entry["personal"]["user"], LOGIN);
        assert_eq!(entry["personal"]["peer"], "127.0.0.1");
        assert!(!entry.to_string().contains(token), "{entry}");
    }
}

#[tokio::test]
async fn a_reason_that_holds_the_key_is_not_recorded() {
    let gateway = Gateway::start().await;
    let secret = gateway.key.secret.to_uppercase();
    for (reason, kept) in [("wrong+number", json!("wrong number")), (&*secret, Value::Null)] {
        let call = gateway.call("8856").await;
        let selector = format!("callID={}&reason={reason}", call.id);
        assert_eq!(gateway.delete(&selector).await.code(), 0);
        let audit = gateway.audit();
        let entry = audit.iter().rfind(|entry| entry["action"] == "DeleteCall").unwrap();
        assert_eq!(entry["personal"]["reason"], kept);
    }
    let reasons = "SELECT coalesce(group_concat(reason), '') FROM deletions";
    assert_eq!(gateway.value::<String>(reasons), "wrong number");
}

#[tokio::test]
async fn whatever_is_asked_in_a_session_is_on_record_with_it() {
    let (site, key) = site().await;
    let other = site.key(&["--requires-token"]).await;
    let gateway = Gateway::serve(site).await;
    let call = gateway.call("8856").await;
    let answer = request(&gateway, &key, &[&basic(format!("{LOGIN}:{PASSWORD}"))], "").await;
    let token = answer.attribute("token");
    let session = gateway.value::<String>("SELECT session_id FROM sessions");
    let is_on_record = async |action: &str, result: &str| {
        let is_it = |entry: &Value| entry["action"] == action && entry["result"] == result;
        let entry = gateway.audited(&format!("{action}: {result}"), is_it).await;
        assert_eq!(entry["session_id"], session.as_str(), "{entry}");
        assert_eq!(entry["personal"]["user"], LOGIN, "{entry}");
    };
    let selector = format!("callID={}&token={token}", call.id);
    for (action, rest, result) in [
        ("GetCallID", selector.as_str(), "found"),
        ("GetCallInformation", &format!("{NO_CALL}&token={token}"), "not_found"),
        ("GetDeletion", &format!("token={token}"), "bad_parameter"),
        ("DeleteCall", &format!("{selector}&scope=all"), "not_permitted"),
        ("DeleteCall", &selector, "admitted"),
        ("ReleaseToken", &format!("token={token}"), "released"),
        ("GetCallID", &selector, "token_expired"),
    ] {
        gateway.get(&key.ask(action, rest)).await;
        is_on_record(action, result).await;
    }
    gateway.get(&other.ask("GetCallInformation", &selector)).await;
    is_on_record("GetCallInformation", "token_expired").await;
}

#[tokio::test]
async fn a_login_that_is_refused_is_on_record_with_its_cause_and_who_it_was_tried_for() {
    let (site, key) = site().await;
    let gateway = Gateway::serve(site).await;
    let wrong = basic(format!("{LOGIN}:not the password"));
    let long = basic(format!("{}:x", "ü".repeat(200)));
    let swapped = basic("not the password:not the password");
    for header in [&wrong, &long, &swapped] {
        assert_eq!(request(&gateway, &key, &[header], "").await.code(), -40);
    }
    request(&gateway, &key, &["Authorization: Basic x"], "").await;
    request(&gateway, &key, &[], "").await;
    refused(&gateway, "RequestToken", "malformed").await;
    refused(&gateway, "RequestToken", "missing").await;
    let tried = |user: Value| {
        move |entry: &Value| entry["result"] == "bad_login" && entry["personal"]["user"] == user
    };
    let entry = gateway.audited("who it was tried for", tried(json!(LOGIN))).await;
    assert_eq!(entry["key_id"], key.id.as_str());
    for entry in gateway.audit() {
        assert!(!entry.to_string().contains("not the password"), "{entry}");
        let user = entry["personal"]["user"].as_str().unwrap_or_default();
        assert!(user.chars().count() <= 128, "{entry}");
    }
}

#[tokio::test]
async fn a_key_that_is_known_and_refused_is_named() {
    let site = Site::new().await;
    let revoked = site.key(&[]).await;
    site.run(&["keys", "revoke", &revoked.id]).await;
    let expired = site.key(&["--expires", "2099-01-01T00:00:00Z"]).await;
    site.change(&format!("UPDATE keys SET expires_at = 1 WHERE key_id = '{}'", expired.id));
    let elsewhere = site.key(&["--allow", "192.0.2.7"]).await;
    let guarded = site.key(&["--requires-token"]).await;
    let gateway = Gateway::serve(site).await;
    for (key, cause) in [(&revoked, "revoked"), (&expired, "expired"), (&elsewhere, "address")] {
        assert_eq!(gateway.get(&key.query(NO_CALL)).await.code(), -41);
        let entry = refused(&gateway, "DeleteCall", cause).await;
        assert_eq!((&entry["key_id"], &entry["result"]), (&json!(key.id), &json!("bad_key")));
        assert!(entry["tenant"].is_string());
    }
    for (query, cause) in [
        (format!("action=GetCallID&{NO_CALL}"), "missing"),
        (format!("action=GetCallID&{NO_CALL}&apiKey=x"), "malformed"),
        (format!("action=GetCallID&{NO_CALL}&apiKey={NOBODY}"), "unknown"),
    ] {
        assert_eq!(gateway.get(&query).await.code(), -41);
        let entry = refused(&gateway, "GetCallID", cause).await;
        assert!(entry["key_id"].is_null(), "{entry}");
    }
    gateway.get(&guarded.query(&format!("{NO_CALL}&token={NOBODY}"))).await;
    let is_token = |entry: &Value| entry["result"] == "token_expired";
    let entry = gateway.audited("a token that is not accepted", is_token).await;
    assert_eq!(entry["key_id"], guarded.id.as_str());
    assert!(entry["cause"].is_string(), "{entry}");
}

#[tokio::test]
async fn what_is_refused_before_it_is_read_is_on_record_at_our_path_only() {
    let gateway = Gateway::with("listen.header_timeout = \"300ms\"").await;
    let query = gateway.query(NO_CALL);
    let long = "a".repeat(70_000);
    let head = "HTTP/1.1\r\nHost: a\r\n";
    let header = format!("X: {}\r\n", "x".repeat(33_000));
    let cut = format!("GET /verba/api?{query}&reason={} {head}\r\n", "a".repeat(9_000));
    let short = post(&query, "callID=x").replace("callID=x", "callID=");
    let requests = [
        (format!("PUT /verba/api?{query} {head}\r\n"), 405, "method"),
        (short, 408, "body_incomplete"),
        (post(&query, &long), 413, "body_too_large"),
        (cut, 414, "request_line_too_long"),
        (format!("GET /verba/api?{query} {head}{header}\r\n"), 431, "headers_too_large"),
    ];
    for (request, status, cause) in &requests {
        // The same at a path that is none of ours leaves no trace.
        let elsewhere = request.replace("/verba/api?", "/verba/other?");
        assert_ne!(gateway.ask(elsewhere).await.status, 200);
        assert_eq!(gateway.ask(request).await.status, *status, "{cause}");
        let entry = refused(&gateway, "DeleteCall", cause).await;
        assert_eq!(entry["result"], "bad_parameter");
        assert!(entry["key_id"].is_null(), "nobody looked at the key");
        assert_eq!(entry["personal"]["peer"], "127.0.0.1");
        assert_eq!(entry["count"], 1, "{entry}");
    }
    let site = gateway.stop().await;
    assert_eq!(
        site.audit().iter().filter(|entry| entry["cause"].is_string()).count(),
        requests.len()
    );
}

#[tokio::test]
async fn a_key_whose_host_names_cannot_be_resolved_is_on_record_though_nothing_was_decided() {
    let site = Site::new().await;
    let key = site.key(&["--allow", "pbx.callgate.invalid"]).await;
    let gateway = Gateway::serve(site).await;
    let answer = gateway.get(&key.query(&format!("{NO_CALL}&detail=1"))).await;
    assert_eq!((answer.status, answer.code(), answer.word()), (503, -1, "unavailable"));
    let entry = refused(&gateway, "DeleteCall", "hosts").await;
    assert_eq!((&entry["key_id"], &entry["result"]), (&json!(key.id), &json!("unavailable")));
}
