//! What an operator does beside a gateway that runs.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Call, Process, Site, until};

#[tokio::test]
async fn a_running_gateway_sends_what_an_operator_tries_again_and_not_what_he_cancels() {
    let site = Site::with("legacy.wait = \"1s\"").await;
    let process = Process::start(&site, &[]).await;
    let call = site.call("8856").await;
    site.graph.fault(json!({"method": "DELETE", "status": 400, "times": 1})).await;
    let query = site.key.query(&format!("callID={}", call.id));
    assert_ne!(process.get(&site, &query).await.code(), 0);
    let failed = site.deletions().await.remove(0);
    assert_eq!(failed["state"], "failed");
    let id = failed["id"].as_str().expect("a text");

    site.run(&["deletions", "retry", id]).await;
    let sent = async || (site.deletions().await[0]["state"] == "sent").then_some(());
    until("the deletion is sent", sent).await;
    assert_eq!(site.graph.deletes().await, [call.graph_id.as_str(), call.graph_id.as_str()]);
    let again = site.command(&["deletions", "retry", id]).output().await.expect("it runs");
    assert_eq!(again.status.code(), Some(65));
    assert!(String::from_utf8_lossy(&again.stderr).contains("Graph has taken it"), "{again:?}");

    // Throttled for longer than the test takes: it waits, and nothing of it has had an effect.
    let other = site.call("8857").await;
    site.graph
        .fault(json!({"method": "DELETE", "status": 429, "retryAfter": "600", "times": 1}))
        .await;
    process.get(&site, &site.key.query(&format!("callID={}", other.id))).await;
    site.graph.has_deletes(3).await;
    let answered = "SELECT count(*) FROM attempts WHERE status = 429";
    until("it was answered", async || (site.value::<i64>(answered) == 1).then_some(())).await;
    let waits = site.deletions().await.remove(0);
    site.run(&["deletions", "cancel", waits["id"].as_str().expect("a text")]).await;
    assert_eq!(site.deletions().await[0]["state"], "cancelled");
    let id = waits["id"].as_str().expect("a text");
    let retried = site.run(&["deletions", "retry", id]).await;
    assert!(retried.contains("retried, not before 20"), "{retried}");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(site.graph.deletes().await.len(), 3);
}

#[tokio::test]
async fn an_operator_is_told_why_a_deletion_waits_until_when_and_what_to_do() {
    let site = Site::with("legacy.wait = \"1ms\"").await;
    let (throttled, refused) = (site.call("8856").await, site.call("8857").await);
    let process = Process::start(&site, &[]).await;
    let shown = async |call: &Call, says: &[&str]| {
        let query = site.key.query(&format!("callID={}&detail=1", call.id));
        let id = process.get(&site, &query).await.element("DeletionID").to_owned();
        let told = async || {
            let text = site.run(&["deletions", "show", &id]).await;
            let line = text.lines().find(|line| line.starts_with("waits"))?.to_owned();
            says.iter().all(|part| line.contains(part)).then_some(line)
        };
        let line = until(&format!("it is said: {says:?}"), told).await;
        let listed = site.run(&["deletions", "list"]).await;
        let row = listed.lines().find(|row| row.contains(&id)).expect("it is listed");
        assert!(says.iter().all(|part| row.contains(part)), "{row}");
        line
    };
    let fault = json!({"method": "DELETE", "status": 429, "retryAfter": "600", "times": 1});
    site.graph.fault(fault).await;
    shown(&throttled, &["the next attempt is at 20", ": Graph throttled the request"]).await;
    let body = r#"{"error":{"code":"7503"}}"#;
    site.graph.fault(json!({"method": "DELETE", "status": 403, "body": body})).await;
    shown(&refused, &["refuses this app in this tenant", "enable calling on the Teams channel"])
        .await;
    site.run(&["pause", "--reason", "audit"]).await;
    shown(&throttled, &["paused by ", ": audit; `callgate resume` ends that"]).await;
    site.run(&["resume"]).await;
    process.kill().await;
    let list: Value = serde_json::from_str(&site.run(&["deletions", "list", "--json"]).await)
        .expect("it is JSON");
    for deletion in list.as_array().expect("an array") {
        assert_eq!(deletion["waits"], "no gateway runs: `callgate serve` sends it", "{deletion}");
    }
}
