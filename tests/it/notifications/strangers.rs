//! Who proves nothing: he keeps nobody out, fills no disk, and leaves a trail where he tried a key.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;
use uuid::Uuid;

use super::{knows, ringing};
use crate::support::{Client, Gateway, Process, Site, soon, until};

const STRANGER: &str = "POST /api/calls HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}";

#[tokio::test]
async fn strangers_that_were_refused_once_keep_nobody_out() {
    let gateway = Gateway::announced("notifications.max_connections = 4").await;
    let (mut held, mut silent) = (Vec::new(), Vec::new());
    for _ in 0..8 {
        silent.push(TcpStream::connect(gateway.notifications).await.expect("it listens"));
        let mut stream = TcpStream::connect(gateway.notifications).await.expect("it listens");
        stream.write_all(STRANGER.as_bytes()).await.expect("it is not closed yet");
        held.push(stream);
    }
    let id = Uuid::new_v4().to_string();
    gateway.graph.make(&ringing(&id, "8856")).await;
    knows(&gateway, &id, "incoming").await;
    for mut stream in held {
        let mut answer = String::new();
        let read = soon("the end of a connection", stream.read_to_string(&mut answer)).await;
        read.expect("it is closed in order");
        let status = "HTTP/1.1 401 Unauthorized\r\n";
        assert!(answer.starts_with(status) && answer.contains("Connection: close\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn a_strangers_body_is_not_waited_for() {
    let gateway = Gateway::with("listen.header_timeout = \"1h\"").await;
    for body in ["Content-Length: 1000", "Transfer-Encoding: chunked"] {
        let stream = TcpStream::connect(gateway.notifications).await.expect("it listens");
        let mut stranger = Client::new(stream, gateway.answers.clone());
        stranger.send(format!("POST /api/calls HTTP/1.1\r\nHost: a\r\n{body}\r\n\r\n")).await;
        assert_eq!(stranger.interim().await, 401, "{body}");
    }
}

/// Of each reason how many requests were refused, as the log accounts for them, and in how many
/// lines.
fn accounted(log: &str) -> BTreeMap<String, (u64, u64)> {
    let mut reasons = BTreeMap::new();
    for line in log.lines().filter(|line| line.contains("refused")) {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let reason = line["reason"].as_str().expect("a word").to_owned();
        let (count, lines) = reasons.entry(reason).or_default();
        *count += line["folded"].as_u64().expect("a count") + u64::from(!line["status"].is_null());
        *lines += 1;
    }
    reasons
}

#[tokio::test]
async fn refusals_alike_are_one_line_a_second_with_a_count_and_none_is_lost() {
    const EACH: u64 = 60;
    let site = Site::new().await;
    let gateway = Process::start(&site, &["--log", "json"]).await;
    let began = Instant::now();
    for _ in 0..EACH {
        gateway.notify(&[], "{}").await;
        gateway.notify(&[("Authorization", "Bearer x")], "{}").await;
    }
    let all = until("every refusal is accounted for", async || {
        let all = accounted(&std::fs::read_to_string(&gateway.log).expect("a log is text"));
        (all.values().map(|(count, _)| count).sum::<u64>() == 2 * EACH).then_some(all)
    })
    .await;
    let seconds = began.elapsed().as_secs();
    for reason in ["no_token", "not_a_jwt"] {
        let (count, lines) = all[reason];
        assert_eq!(count, EACH, "{all:?}");
        assert!(lines <= seconds + 1, "{lines} lines in {seconds} s");
    }
}

#[tokio::test]
async fn a_key_that_is_refused_here_is_in_the_audit_chain() {
    let gateway = Gateway::start().await;
    let other = Uuid::new_v4().to_string();
    for key in [gateway.key.secret.as_str(), other.as_str(), "no key"] {
        assert_eq!(gateway.notify(&[("X-Api-Key", key)], "{}").await.status, 401);
    }
    assert_eq!(gateway.notify(&[], "{}").await.status, 401, "that was no key");
    let refused = |result: &str, key: &Value| {
        format!(
            "SELECT coalesce(sum(count), 0) FROM audit WHERE canonical LIKE \
             '%\"action\":\"Notify\",\"decision\":\"refused\",\"result\":\"{result}\"%' \
             AND canonical LIKE '%\"key_id\":{key}%' AND personal LIKE '%127.0.0.1%'"
        )
    };
    let own = json!(gateway.key.id);
    until("the refusals are recorded", async || {
        let known: i64 = gateway.value(&refused("not_permitted", &own));
        let unknown: i64 = gateway.value(&refused("bad_key", &Value::Null));
        ((known, unknown) == (1, 2)).then_some(())
    })
    .await;
    assert_eq!(
        gateway.value::<i64>("SELECT sum(count) FROM audit WHERE canonical LIKE '%Notify%'"),
        3
    );
}

#[tokio::test]
async fn a_key_that_is_revoked_while_the_body_is_on_its_way_notifies_nobody() {
    let gateway = Gateway::start().await;
    let bot = gateway.new_key(&["--right", "Notify"]).await;
    let body = json!({"value": [{
        "changeType": "created",
        "resourceUrl": "/communications/calls/a",
        "resourceData": {"state": "incoming"},
    }]})
    .to_string();
    let stream = TcpStream::connect(gateway.notifications).await.expect("it listens");
    let mut copy = Client::new(stream, gateway.answers.clone());
    let head = format!(
        "POST /api/calls HTTP/1.1\r\nHost: a\r\nX-Api-Key: {}\r\nContent-Length: {}\r\n\
         Expect: 100-continue\r\n\r\n",
        bot.secret,
        body.len()
    );
    copy.send(head).await;
    // It is asked for when the key was accepted.
    assert_eq!(copy.interim().await, 100);
    gateway.run(&["keys", "revoke", &bot.id]).await;
    let known = async || (gateway.get(&bot.query("")).await.code() == -41).then_some(());
    until("the gateway knows that the key was revoked", known).await;
    copy.send(&body).await;
    assert_eq!(copy.interim().await, 401);
    assert_eq!(gateway.value::<i64>("SELECT count(*) FROM calls"), 0);
}
