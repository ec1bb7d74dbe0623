//! Stopping: who waits is answered at once, who is idle is let go, and nothing recorded is lost.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::support::{Gateway, Process, Site, all_of, call};

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

/// What became of a request while the process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Answered,
    /// Nobody listened any more, or the connection had been closed while it was idle.
    NotTaken,
    /// The connection was taken, and no answer came.
    Failed,
}

/// Sends one request; gives back the connection when it can be used again.
async fn try_once(
    process: &Process,
    kept: Option<TcpStream>,
    request: &str,
) -> (Fate, Option<TcpStream>) {
    let was_idle = kept.is_some();
    let connected = match kept {
        Some(stream) => Ok(stream),
        None => TcpStream::connect(process.legacy).await,
    };
    let Ok(mut stream) = connected else { return (Fate::NotTaken, None) };
    let sent = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    while sent.is_ok() && !answer.ends_with(b"</VerbaApi>\n") {
        match stream.read_buf(&mut answer).await {
            Ok(1..) => {}
            _ => break,
        }
    }
    let text = String::from_utf8_lossy(&answer);
    if text.contains("<Response code=\"0\"") && text.ends_with("</VerbaApi>\n") {
        let closes = text.to_lowercase().contains("connection: close");
        (Fate::Answered, (!closes).then_some(stream))
    } else if was_idle && answer.is_empty() {
        (Fate::NotTaken, None)
    } else {
        (Fate::Failed, None)
    }
}

#[tokio::test]
async fn the_end_under_load_fails_no_request_whoever_is_idle_or_stuck() {
    const CLIENTS: usize = 8;
    let site = Site::with("legacy.wait = \"5s\"").await;
    let made: Vec<_> = (0..1_000).map(|_| call("8856", json!({}))).collect();
    let calls = site.calls(&made).await;
    let process = Process::start(&site, &["-q"]).await;
    let mut idle = process.connect(&site).await;
    assert_eq!(idle.ask(get(&site.key.query("callID=x"))).await.code(), 2);
    let mut stuck = process.connect(&site).await;
    stuck.send("GET /verba/api?action=Del").await;
    let (running, site) = (&process, &site);
    // Half of the clients use a connection for each request.
    let clients =
        calls.chunks(calls.len() / CLIENTS).enumerate().map(|(number, calls)| async move {
            let mut fates = Vec::new();
            let mut kept = None;
            for call in calls {
                let request = get(&site.key.query(&format!("callID={}", call.id)));
                let (fate, stream) = try_once(running, kept.take(), &request).await;
                kept = stream.filter(|_| number % 2 == 0);
                fates.push((fate, call.graph_id.clone()));
                if fate != Fate::Answered {
                    break;
                }
            }
            fates
        });
    let stop = async {
        site.graph.has_deletes(100).await;
        // The time for its body has just begun.
        let mut half = running.connect(site).await;
        half.send("POST /verba/api HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\na").await;
        running.signal("TERM").await;
        (Instant::now(), half)
    };
    let (fates, (began, _half)) = tokio::join!(all_of(clients), stop);
    let fates: Vec<_> = fates.into_iter().flatten().collect();
    assert!(fates.iter().all(|(fate, _)| *fate != Fate::Failed), "{fates:?}");
    assert!(fates.iter().any(|(fate, _)| *fate == Fate::NotTaken), "it ended under load");
    assert!(process.end().await.success());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    // What was not taken left no trace.
    for (_, call) in fates.iter().filter(|(fate, _)| *fate == Fate::NotTaken) {
        let of_it = format!(
            "SELECT count(*) FROM deletions JOIN calls USING (call) WHERE graph_id = '{call}'"
        );
        assert_eq!(site.value::<i64>(&of_it), 0, "{call}");
    }
}
