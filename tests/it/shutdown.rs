//! Stopping: who waits is answered at once, who is idle is let go, and nothing recorded is lost.

use std::time::Duration;

use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::support::{Gateway, Process, Site, call};

fn get(query: &str) -> String {
    format!("GET /verba/api?{query} HTTP/1.1\r\nHost: a\r\n\r\n")
}

#[tokio::test]
async fn those_who_wait_are_answered_accepted_at_once_and_idle_connections_are_closed() {
    let mut gateway = Gateway::with("listen.drain = \"3s\"").await;
    let made = [call("8856", json!({})), call("8857", json!({}))];
    let calls = gateway.calls(&made).await;
    gateway.graph.fault(json!({"method": "DELETE", "delayMs": 600_000})).await;
    let mut idle = gateway.connect().await;
    assert_eq!(idle.ask(get(&gateway.query("callID=x"))).await.code(), 2);
    let mut half = gateway.connect().await;
    half.send("GET /verba/api?").await;
    let mut waiting = Vec::new();
    for call in &calls {
        let mut client = gateway.connect().await;
        client.send(get(&gateway.query(&format!("callID={}&detail=1", call.id)))).await;
        waiting.push(client);
    }
    gateway.graph.has_deletes(2).await;

    let began = Instant::now();
    gateway.order_stop();
    for client in &mut waiting {
        let answer = client.answer().await;
        assert_eq!((answer.code(), answer.word()), (0, "accepted"));
        assert!(client.is_closed().await);
    }
    assert!(idle.is_closed().await && half.is_closed().await);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let site = gateway.stop().await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());

    // What was promised is on disk, and the next start keeps the promise.
    let open: i64 = site.value("SELECT count(*) FROM deletions WHERE state = 'open'");
    assert_eq!(open, 2);
    site.graph.heal().await;
    let gateway = Gateway::serve(site).await;
    gateway.graph.has_deletes(4).await;
    for deletion in gateway.deletions().await {
        gateway.settles(deletion["id"].as_str().unwrap(), "gone").await;
    }
}

#[tokio::test]
async fn nothing_new_is_accepted_while_the_rest_is_drained() {
    let mut gateway = Gateway::with("listen.drain = \"3s\"").await;
    let call = gateway.call("8856").await;
    gateway.graph.fault(json!({"method": "DELETE", "delayMs": 1_000})).await;
    let mut client = gateway.connect().await;
    client.send(get(&gateway.query(&format!("callID={}&detail=1", call.id)))).await;
    gateway.graph.has_deletes(1).await;
    gateway.order_stop();
    assert_eq!(client.answer().await.word(), "accepted");
    assert!(TcpStream::connect(gateway.legacy).await.is_err(), "the port is closed");
    // The attempt under way still gets its answer within the drain time.
    let site = gateway.stop().await;
    let state: String = site.value("SELECT state FROM deletions");
    assert_eq!((state.as_str(), site.graph.deletes().await.len()), ("sent", 1));
}

#[tokio::test]
async fn a_gateway_without_work_stops_at_once() {
    let gateway = Gateway::start().await;
    assert_eq!(gateway.delete("callID=x").await.code(), 2);
    let began = Instant::now();
    let site = gateway.stop().await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    // Everything was given back: the same files can be served again.
    let gateway = Gateway::serve(site).await;
    assert_eq!(gateway.delete("callID=x").await.code(), 2);
}

#[tokio::test]
async fn a_refusal_is_in_the_audit_record_before_the_process_ends() {
    let gateway = Gateway::start().await;
    assert_eq!(gateway.get("action=DeleteCall&apiKey=x").await.code(), -41);
    let site = gateway.stop().await;
    let records: i64 =
        site.value("SELECT count(*) FROM audit WHERE CAST(canonical AS TEXT) LIKE '%bad_key%'");
    assert_eq!(records, 1);
}

#[tokio::test]
async fn both_signals_end_the_process_well_with_every_caller_answered() {
    for signal in ["TERM", "INT"] {
        let site = Site::with("listen.drain = \"2s\"").await;
        let call = site.call("8856").await;
        site.graph.fault(json!({"method": "DELETE", "delayMs": 600_000})).await;
        let process = Process::start(&site, &[]).await;
        let mut client = process.connect(&site).await;
        client.send(get(&site.key.query(&format!("callID={}&detail=1", call.id)))).await;
        site.graph.has_deletes(1).await;
        let began = Instant::now();
        process.signal(signal).await;
        assert_eq!(client.answer().await.word(), "accepted", "{signal}");
        assert!(began.elapsed() < Duration::from_secs(3), "{signal}: {:?}", began.elapsed());
        assert!(process.end().await.success(), "{signal}");
        assert!(began.elapsed() < Duration::from_secs(5), "{signal}: {:?}", began.elapsed());
    }
}
