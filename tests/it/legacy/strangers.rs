//! Whose going away counts: the last caller of a deletion by its own key and selector, and nobody
//! who has had an answer.

use serde_json::json;

use crate::support::{Gateway, call};

fn get(query: &str) -> String {
    format!("GET /verba/api?{query} HTTP/1.1\r\nHost: a\r\n\r\n")
}

#[tokio::test]
async fn a_stranger_who_joins_and_hangs_up_leaves_the_callers_next_call_to_him() {
    let gateway = Gateway::start().await;
    let stranger = gateway.new_key(&[]).await;
    let first = gateway.call("7201").await;
    gateway.graph.fault(json!({"method": "DELETE", "delayMs": 1_500, "times": 1})).await;
    let request = get(&gateway.query("extension=7201&status=ongoing&detail=1"));
    let mut caller = gateway.connect().await;
    caller.send(&request).await;
    gateway.graph.has_deletes(1).await;
    let mut joined = gateway.connect().await;
    joined.send(get(&stranger.query(&format!("callID={}", first.id)))).await;
    let joins = "SELECT count(*) FROM audit WHERE canonical LIKE '%joined%'";
    let decided = async || (gateway.value::<i64>(joins) == 1).then_some(());
    crate::support::until("the stranger has joined", decided).await;
    drop(joined);
    assert_eq!(caller.answer().await.word(), "sent");

    let next = gateway.calls(&[call("7201", json!({}))]).await.remove(0);
    let answer = gateway.ask(&request).await;
    assert_eq!((answer.word(), answer.element("CallID")), ("sent", next.id.as_str()));
}

#[tokio::test]
async fn a_caller_who_was_told_accepted_before_a_restart_means_the_next_call_after_it() {
    let gateway = Gateway::with("legacy.wait = \"200ms\"").await;
    gateway.call("7202").await;
    let fault = json!({"method": "DELETE", "status": 429, "retryAfter": 1, "times": 1});
    gateway.graph.fault(fault).await;
    let selector = "extension=7202&status=ongoing&detail=1";
    let accepted = gateway.delete(selector).await;
    assert_eq!((accepted.code(), accepted.word()), (0, "accepted"));
    let deletion = accepted.element("DeletionID").to_owned();

    let gateway = Gateway::serve(gateway.stop().await).await;
    gateway.settles(&deletion, "sent").await;
    let next = gateway.calls(&[call("7202", json!({}))]).await.remove(0);
    let answer = gateway.delete(selector).await;
    assert_eq!((answer.word(), answer.element("CallID")), ("sent", next.id.as_str()));
}
