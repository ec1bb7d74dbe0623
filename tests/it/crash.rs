//! `kill -9` at the worst moments: what was promised is done, and done once.

use serde_json::json;

use crate::support::{Call, Client, Process, Site, until};

/// Asks a process to delete a call, and does not wait for the answer.
async fn ask(site: &Site, process: &Process, call: &Call) -> Client {
    let mut client = process.connect(site).await;
    let query = site.key.query(&format!("callID={}&detail=1", call.id));
    client.send(format!("GET /verba/api?{query} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
    client
}

/// Waits until the one deletion is on disk in this state.
async fn is_recorded(site: &Site, state: &str) {
    let count = format!("SELECT count(*) FROM deletions WHERE state = '{state}'");
    let probe = async || (site.value::<i64>(&count) == 1).then_some(());
    until(&format!("the deletion is {state}"), probe).await;
}

#[tokio::test]
async fn a_crash_between_the_commit_and_the_send_loses_nothing_and_doubles_nothing() {
    let site = Site::new().await;
    let call = site.call("8856").await;
    // The login does not answer: the deletion is recorded, its attempt has begun, and nothing can
    // have been sent.
    site.graph.fault(json!({"path": "/72f988bf", "delayMs": 600_000, "times": 1})).await;
    let process = Process::start(&site, &[]).await;
    let _waiting = ask(&site, &process, &call).await;
    is_recorded(&site, "open").await;
    let logins = async || (!site.graph.requests().await.is_empty()).then_some(());
    until("the login is asked", logins).await;
    process.kill().await;
    assert!(site.graph.deletes().await.is_empty());

    let process = Process::start(&site, &[]).await;
    is_recorded(&site, "sent").await;
    assert_eq!(site.graph.deletes().await, [call.graph_id.as_str()]);
    assert_eq!(site.graph.state(&call.graph_id).await, "terminated");
    // The client whom the crash cut off asks again and gets the same deletion.
    let answer = ask(&site, &process, &call).await.answer().await;
    assert_eq!(answer.code(), 0);
    assert_eq!(answer.element("CallID"), call.id);
    assert_eq!(site.graph.deletes().await.len(), 1);
    assert_eq!(site.deletions().await.len(), 1);
}

#[tokio::test]
async fn a_crash_between_the_send_and_its_record_ends_as_gone() {
    let site = Site::new().await;
    let call = site.call("8856").await;
    // Graph has ended the call, and its answer never comes.
    site.graph.fault(json!({"method": "DELETE", "delayMs": 600_000, "times": 1})).await;
    let process = Process::start(&site, &[]).await;
    let _waiting = ask(&site, &process, &call).await;
    site.graph.has_deletes(1).await;
    process.kill().await;
    is_recorded(&site, "open").await;

    let process = Process::start(&site, &[]).await;
    is_recorded(&site, "gone").await;
    assert_eq!(site.graph.deletes().await, [call.graph_id.as_str(), call.graph_id.as_str()]);
    let answer = ask(&site, &process, &call).await.answer().await;
    assert_eq!(answer.code(), 0);
    assert_eq!(site.graph.deletes().await.len(), 2);
    assert_eq!(site.deletions().await.len(), 1);
}

#[tokio::test]
async fn a_crash_while_a_retry_is_due_later_keeps_the_retry() {
    let site = Site::with("legacy.wait = \"50ms\"").await;
    let call = site.call("8856").await;
    site.graph.fault(json!({"method": "DELETE", "status": 503, "times": 1})).await;
    let process = Process::start(&site, &[]).await;
    let answer = ask(&site, &process, &call).await.answer().await;
    assert_eq!((answer.code(), answer.word()), (0, "accepted"));
    process.kill().await;
    let _process = Process::start(&site, &[]).await;
    is_recorded(&site, "sent").await;
    assert_eq!(site.graph.deletes().await.len(), 2);
}

#[tokio::test]
async fn what_was_answered_is_on_disk_however_the_process_ends() {
    let site = Site::with("legacy.wait = \"1ms\"").await;
    site.graph.fault(json!({"method": "DELETE", "delayMs": 600_000})).await;
    let made: Vec<_> =
        (0..20).map(|number| crate::support::call(&format!("{number}00"), json!({}))).collect();
    let calls = site.calls(&made).await;
    let process = Process::start(&site, &[]).await;
    let mut promised = Vec::new();
    for call in &calls {
        let answer = ask(&site, &process, call).await.answer().await;
        assert_eq!(answer.word(), "accepted");
        promised.push(answer.element("DeletionID").to_owned());
    }
    process.kill().await;
    let mut recorded: Vec<_> = site
        .deletions()
        .await
        .iter()
        .map(|deletion| deletion["id"].as_str().unwrap().to_owned())
        .collect();
    recorded.sort();
    promised.sort();
    assert_eq!(recorded, promised);
}

#[tokio::test]
async fn a_second_process_on_the_same_database_is_refused() {
    let site = Site::new().await;
    let _process = Process::start(&site, &[]).await;
    let output = site.command(&["serve"]).output().await.unwrap();
    let talk = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(69), "{talk}");
}
