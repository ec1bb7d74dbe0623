//! Golden files: every kind of refusal in all four formats, with and without detail.

use serde_json::json;

use super::formats::golden;
use crate::support::{Gateway, Site, call};

#[tokio::test]
async fn what_nothing_was_found_for_reads_like_this() {
    let gateway = Gateway::start().await;
    golden("not_found", &[], async |style| {
        gateway.delete(&format!("callID=57dab8b1-894c-409a-b240-bd8beae78896&{style}")).await
    })
    .await;
    golden("bad_parameter", &[], async |style| {
        gateway.delete(&format!("extension=8856&{style}")).await
    })
    .await;
    golden("not_permitted", &[], async |style| {
        gateway.delete(&format!("callID=x&scope=all&{style}")).await
    })
    .await;
    golden("unknown_action", &[], async |style| {
        gateway.get(&format!("action=Delete%3C%26%22All&{style}")).await
    })
    .await;
    golden("no_action", &[], async |style| gateway.get(style).await).await;
    golden("prefetch", &[], async |style| {
        let query = gateway.query(&format!("callID=x&{style}"));
        let head = "HTTP/1.1\r\nHost: a\r\nPurpose: prefetch";
        gateway.ask(format!("GET /verba/api?{query} {head}\r\n\r\n")).await
    })
    .await;
}

#[tokio::test]
async fn who_is_not_recognised_reads_this() {
    let site = Site::new().await;
    let guarded = site.key(&["--requires-token"]).await;
    let gateway = Gateway::serve(site).await;
    golden("bad_key", &[], async |style| {
        gateway.get(&format!("action=DeleteCall&callID=x&{style}")).await
    })
    .await;
    golden("token_needed", &[], async |style| {
        gateway.get(&guarded.query(&format!("callID=x&{style}"))).await
    })
    .await;
    golden("token_expired", &[], async |style| {
        gateway.get(&guarded.query(&format!("callID=x&token=x&{style}"))).await
    })
    .await;
}

#[tokio::test]
async fn a_refusal_by_policy_reads_like_this_and_names_no_hold() {
    let gateway = Gateway::start().await;
    let call = gateway.calls(&[call("8856", json!({}))]).await.remove(0);
    gateway.change(&format!(
        "INSERT INTO holds (hold_id, tenant, kind, value, label, set_by, set_at) \
         VALUES ('h', 1, 'call', '{}', 'investigation', 'auditor', 1)",
        call.id
    ));
    golden("policy", &[(&call.id, "callID")], async |style| {
        gateway.delete(&format!("callID={}&{style}", call.id)).await
    })
    .await;
    assert_eq!((gateway.recorded(), gateway.graph.requests().await.len()), (0, 0));
}

#[tokio::test]
async fn a_store_that_cannot_be_asked_reads_like_this() {
    let gateway = Gateway::start().await;
    let call = gateway.call("8856").await;
    gateway.database().execute_batch("ALTER TABLE holds RENAME TO lost").unwrap();
    golden("unavailable", &[(&call.id, "callID")], async |style| {
        gateway.delete(&format!("callID={}&{style}", call.id)).await
    })
    .await;
    assert!(gateway.graph.requests().await.is_empty(), "it was not recorded, so it is not sent");
}

#[tokio::test]
async fn what_is_no_request_of_this_api_reads_like_this() {
    let gateway = Gateway::with("listen.header_timeout = \"300ms\"").await;
    let rest = "HTTP/1.1\r\nHost: a";
    golden("http_404", &[], async |style| {
        gateway.ask(format!("GET /verba/api2?action=DeleteCall&{style} {rest}\r\n\r\n")).await
    })
    .await;
    golden("http_405", &[], async |style| {
        let query = gateway.query(&format!("callID=x&{style}"));
        gateway.ask(format!("DELETE /verba/api?{query} {rest}\r\n\r\n")).await
    })
    .await;
    golden("http_408", &[], async |style| {
        let form = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 9";
        gateway.ask(format!("POST /verba/api?{style} {rest}\r\n{form}\r\n\r\ncallID=")).await
    })
    .await;
    golden("http_413", &[], async |style| gateway.post(style, &"a".repeat(70_000)).await).await;
    golden("http_414", &[], async |style| {
        gateway.get(&format!("{style}&reason={}", "a".repeat(9_000))).await
    })
    .await;
    golden("http_431", &[], async |style| {
        let long = "x".repeat(33_000);
        gateway.ask(format!("GET /verba/api?{style} {rest}\r\nX: {long}\r\n\r\n")).await
    })
    .await;
    assert_eq!((gateway.recorded(), gateway.graph.requests().await.len()), (0, 0));
}
