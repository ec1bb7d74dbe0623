//! The demo's calls: made in the simulator over its control API, and known to the gateway because
//! Graph announces them.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{CLIENT, TENANT, exchange, get};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(10);

/// One call of the demo.
#[derive(Clone, Debug)]
pub(super) struct DemoCall {
    /// Graph's id, which is also its `nativeID`.
    pub(super) graph_id: String,
    pub(super) extension: &'static str,
    /// Its `platformCallID`.
    pub(super) chain_id: String,
    /// Its `meetingID`.
    pub(super) thread_id: String,
}

/// A request that the simulator received.
#[derive(Debug, Deserialize)]
pub(super) struct Received {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) status: Option<u16>,
}

/// A notification that the simulator sent.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Sent {
    pub(super) change_type: String,
    pub(super) call_id: String,
    pub(super) state: Option<String>,
    pub(super) reason: Option<Reason>,
    pub(super) status: Option<u16>,
}

/// Why the call ended, as Graph said it.
#[derive(Debug, Deserialize)]
pub(super) struct Reason {
    pub(super) code: i64,
    pub(super) subcode: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Made {
    id: String,
    call_chain_id: String,
    thread_id: String,
}

/// The extension of the story's call, and of one call for each line to paste, two of one extension.
pub(super) const STORY: &str = "8856";
pub(super) const OTHERS: [&str; 12] = [
    "8857", "8858", "8859", "8860", "8861", "8862", "8863", "8864", "8865", "8866", "8899", "8899",
];

/// The extensions of the call that is to ring, and of the one with several people in it.
pub(super) const RINGING: &str = "8867";
const GROUP: &str = "8868";
/// Somebody in the call of several, by Graph's id, and a user who is not.
pub(super) const ANN: &str = "ann";
pub(super) const BOB: &str = "278405a3-f568-4b3e-b684-009193463064";

/// Has Graph announce its calls to the gateway.
pub(super) async fn announce(simulator: SocketAddr, gateway: SocketAddr) -> anyhow::Result<()> {
    let url = format!("http://{gateway}/api/calls");
    control(simulator, "/sim/callback", &json!({"url": url, "audience": CLIENT})).await?;
    Ok(())
}

/// Somebody calls `extension`, and it rings, or somebody has picked up.
pub(super) async fn make(
    simulator: SocketAddr,
    number: usize,
    extension: &'static str,
    state: &str,
) -> anyhow::Result<DemoCall> {
    make_with(simulator, number, extension, json!({"state": state})).await
}

/// A call that runs with our app, Ann and somebody else in it.
pub(super) async fn make_group(simulator: SocketAddr) -> anyhow::Result<DemoCall> {
    let person = |id: &str, number: &str| json!({"id": id, "identity": number});
    let us = json!({"id": "us", "identity": {"application": {"id": CLIENT}}});
    let people = [us, person(ANN, "+4930555001"), person("cleo", "+4930555002")];
    let more = json!({"participants": people, "myParticipantId": "us"});
    make_with(simulator, OTHERS.len() + 1, GROUP, more).await
}

async fn make_with(
    simulator: SocketAddr,
    number: usize,
    extension: &'static str,
    more: Value,
) -> anyhow::Result<DemoCall> {
    let mut body = json!({
        "source": format!("+49301234{:03}", 100 + number),
        "targets": [extension],
        "threadId": format!("19:meeting_demo{number:02}@thread.v2"),
        "tenantId": TENANT,
    });
    for (name, value) in more.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    let made: Made = serde_json::from_value(control(simulator, "/sim/calls", &body).await?)?;
    let Made { id, call_chain_id, thread_id } = made;
    Ok(DemoCall { graph_id: id, extension, chain_id: call_chain_id, thread_id })
}

/// Somebody picks up.
pub(super) async fn pick_up(simulator: SocketAddr, call: &DemoCall) -> anyhow::Result<()> {
    control(simulator, &format!("/sim/calls/{}/answer", call.graph_id), &json!({})).await?;
    Ok(())
}

/// What Graph and the login were asked.
pub(super) async fn received(simulator: SocketAddr) -> anyhow::Result<Vec<Received>> {
    let answer = get(simulator, "/sim/requests").await?;
    Ok(serde_json::from_str(body_of(&answer)?)?)
}

/// What Graph has told about a call, in the order in which it was answered, once its end was.
pub(super) async fn told(simulator: SocketAddr, call: &DemoCall) -> anyhow::Result<Vec<Sent>> {
    until(simulator, "/sim/notifications", |all| {
        let mut sent: Vec<Sent> = serde_json::from_value(all.clone()).ok()?;
        sent.retain(|one| one.call_id == call.graph_id);
        sent.iter().any(|one| one.change_type == "deleted").then_some(sent)
    })
    .await
}

/// Asks for `target` until `found` finds what it wants in a JSON answer.
pub(super) async fn until<T>(
    address: SocketAddr,
    target: &str,
    found: impl Fn(&Value) -> Option<T>,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = get(address, target).await?;
        let json: Value = serde_json::from_str(body_of(&answer)?)?;
        if let Some(found) = found(&json) {
            return Ok(found);
        }
        if Instant::now() > deadline {
            bail!("it never came to this; the last answer was {json}");
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn control(simulator: SocketAddr, path: &str, body: &Value) -> anyhow::Result<Value> {
    let body = body.to_string();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {simulator}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = exchange(simulator, &request).await?;
    ensure!(answer.starts_with("HTTP/1.1 2"), "the simulator refused {path}: {answer}");
    Ok(serde_json::from_str(body_of(&answer)?)?)
}

fn body_of(answer: &str) -> anyhow::Result<&str> {
    let (_, body) = answer.split_once("\r\n\r\n").context("an answer without a body")?;
    Ok(body)
}
