//! What changes nothing: no proof, no JSON, too much, another tenant.

use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{knows, ringing};
use crate::support::{Bot, Gateway, Process, Site, send, until};

/// A token of Graph's for the site's tenant, as it arrives at a bot.
pub(super) async fn token(gateway: &Gateway) -> String {
    let bot = Bot::start(Some("HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")).await;
    gateway.graph.callback(&json!({"url": format!("http://{}/", bot.address)})).await;
    gateway.graph.make(&ringing(&Uuid::new_v4().to_string(), "1111")).await;
    let received = bot.receives(1).await.remove(0);
    received.header("authorization").expect("Graph proves itself").to_owned()
}

fn news(id: &str, more: &Value) -> Value {
    let mut data = json!({"state": "incoming"});
    if let (Some(data), Value::Object(more)) = (data.as_object_mut(), more) {
        data.extend(more.clone());
    }
    json!({"value": [{
        "changeType": "created",
        "resourceUrl": format!("/communications/calls/{id}"),
        "resourceData": data,
    }]})
}

#[tokio::test]
async fn without_proof_nothing_changes_and_the_reason_is_in_the_log() {
    let site = Site::new().await;
    let gateway = Process::start(&site, &["--log", "json"]).await;
    let body = news("a", &json!({})).to_string();
    let none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.e30.";
    for (headers, reason) in [
        (vec![], "no_token"),
        (vec![("Authorization", "Bearer x")], "not_a_jwt"),
        (vec![("Authorization", &format!("Bearer {none}"))], "algorithm"),
        (vec![("X-Api-Key", "x")], "bad_key"),
        // The same reasons again.
        (vec![("Authorization", "Bearer")], ""),
        (vec![("Authorization", "Basic dXNlcjpwYXNz")], ""),
        (vec![("Authorization", none), ("X-Other", "1")], ""),
    ] {
        let answer = gateway.notify(&headers, &body).await;
        assert_eq!((answer.status, answer.body.as_str()), (401, "Not proven.\n"), "{headers:?}");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        assert_eq!(answer.header("connection"), Some("close"));
        let id = answer.header("x-request-id").expect("every answer has one").to_owned();
        if reason.is_empty() {
            continue;
        }
        let lines = until("the reason is in the log", async || {
            let log = std::fs::read_to_string(&gateway.log).expect("a log is text");
            let lines: Vec<_> =
                log.lines().filter(|line| line.contains(&id)).map(str::to_owned).collect();
            (!lines.is_empty()).then_some(lines)
        })
        .await;
        assert_eq!(lines.len(), 1, "{lines:?}");
        let line: Value = serde_json::from_str(&lines[0]).expect("JSON");
        assert_eq!(line["reason"], reason, "{line}");
        assert!(lines[0].contains("notification refused: "), "{line}");
    }
    let log = std::fs::read_to_string(&gateway.log).expect("a log is text");
    assert!(!log.contains("e30.") && !log.contains("dXNlcjpwYXNz"), "{log}");
    assert_eq!(site.value::<i64>("SELECT count(*) FROM calls"), 0);
}

#[tokio::test]
async fn what_is_proven_and_no_news_is_decided_and_changes_nothing() {
    let gateway = Gateway::start().await;
    let token = token(&gateway).await;
    let proof = [("Authorization", token.as_str())];
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    for (body, status) in [
        (String::new(), 400),
        ("{".to_owned(), 400),
        ("<xml/>".to_owned(), 400),
        (deep, 202),
        ("{}".to_owned(), 204),
        (r#"{"id":"x","callState":"incoming","participants":[]}"#.to_owned(), 204),
        (r#"{"value":[]}"#.to_owned(), 202),
        (r#"{"value":[{"changeType":"created","resourceUrl":"/users/x"}]}"#.to_owned(), 202),
        (format!(r#"{{"value":[{}]}}"#, "{},".repeat(10_000) + "{}"), 202),
        (" ".repeat(1024 * 1024 + 1), 413),
        (news("other", &json!({"tenantId": Uuid::new_v4().to_string()})).to_string(), 401),
    ] {
        let answer = gateway.notify(&proof, &body).await;
        assert_eq!(answer.status, status, "{body:.80}");
        // Who has proven himself is served on, when nothing of his body is left.
        assert_eq!(answer.header("connection").is_some(), status == 413, "{body:.80}");
    }
    assert_eq!(gateway.value::<i64>("SELECT count(*) FROM calls"), 0);
    // The next one finds everything in order.
    assert_eq!(gateway.notify(&proof, &news("a%2Fb", &json!({})).to_string()).await.status, 202);
    knows(&gateway, "a/b", "incoming").await;
}

#[tokio::test]
async fn a_batch_with_one_call_of_another_tenant_is_refused_whole() {
    let gateway = Gateway::start().await;
    let token = token(&gateway).await;
    let other = Uuid::new_v4().to_string();
    let lines = json!({"graphCallID": "theirs", "tenantID": other, "source": "1", "targets": ["2"],
        "state": "established"});
    gateway.import(&lines.to_string()).await;
    let mut body = news("ours", &json!({}));
    let theirs = news("theirs", &json!({"state": "terminated"}))["value"][0].clone();
    body["value"].as_array_mut().expect("a list").push(theirs);
    let answer = gateway.notify(&[("Authorization", &token)], &body.to_string()).await;
    assert_eq!(answer.status, 401);
    let calls: i64 = gateway.value("SELECT count(*) FROM calls WHERE state = 'established'");
    assert_eq!((calls, gateway.value("SELECT count(*) FROM calls")), (1, 1));
}

#[tokio::test]
async fn what_cannot_be_committed_is_answered_503_so_that_it_comes_again() {
    let gateway = Gateway::start().await;
    let token = token(&gateway).await;
    let database = gateway.database();
    database.execute_batch("BEGIN IMMEDIATE").expect("nobody else writes");
    let body = news("a", &json!({})).to_string();
    let answer = gateway.notify(&[("Authorization", &token)], &body).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    database.execute_batch("ROLLBACK").expect("it was begun");
    assert_eq!(gateway.notify(&[("Authorization", &token)], &body).await.status, 202);
    knows(&gateway, "a", "incoming").await;
}

#[tokio::test]
async fn only_a_post_to_the_path_is_a_notification() {
    let gateway = Gateway::start().await;
    for (method, path, status, allow) in [
        (Method::GET, "/api/calls", 405, Some("POST")),
        (Method::POST, "/api", 404, None),
        (Method::POST, "/verba/api?action=DeleteCall", 404, None),
        (Method::GET, "/livez", 404, None),
        (Method::POST, "/api/calls/?x", 401, None),
    ] {
        let url = format!("http://{}{path}", gateway.notifications);
        let answer = send(method, &url, &[], "").await;
        assert_eq!((answer.status, answer.header("allow")), (status, allow), "{path}");
        assert_eq!(answer.header("connection"), Some("close"), "{path}");
    }
}

/// The forms that are about calls of another tenant than the site's.
const OF_ANOTHER_TENANT: [&str; 1] = ["batch-of-several-calls"];

#[tokio::test]
async fn every_form_that_is_known_is_taken_over_tcp() {
    let gateway = Gateway::start().await;
    let token = token(&gateway).await;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/notifications");
    let mut forms = 0;
    for entry in std::fs::read_dir(folder).expect("the fixtures are there") {
        let path = entry.expect("it can be read").path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        // Some are no UTF-8, which is a client's matter: it sends what it can.
        let body = std::fs::read(&path).expect("it can be read");
        let body = String::from_utf8_lossy(&body).into_owned();
        let answer = gateway.notify(&[("Authorization", &token)], &body).await;
        let name = path.file_stem().expect("it has a name").to_string_lossy().into_owned();
        let expected: &[u16] = if name.starts_with("json-none") {
            &[400]
        } else if OF_ANOTHER_TENANT.contains(&name.as_str()) {
            &[401]
        } else {
            &[202, 204]
        };
        assert!(expected.contains(&answer.status), "{name}: {}", answer.status);
        forms += 1;
    }
    assert!(forms > 20, "{forms}");
}
