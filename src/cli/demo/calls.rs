//! The demo's calls: made in the simulator over its control API, and told to the gateway as an
//! import would.

use std::net::SocketAddr;

use anyhow::{Context, ensure};
use serde::Deserialize;
use serde_json::json;

use super::exchange;
use crate::clock::{Clock, Timestamp};
use crate::id::{CallId, GraphCallId};
use crate::model::call::CallState;
use crate::model::number::{Number, NumberError};
use crate::store::records::{Direction, ImportedCall, Party};

/// One call of the demo.
#[derive(Clone, Debug)]
pub(super) struct DemoCall {
    pub(super) call_id: CallId,
    pub(super) graph_id: String,
    pub(super) extension: &'static str,
    pub(super) caller: String,
    pub(super) platform_call_id: String,
    pub(super) native_id: String,
    pub(super) meeting_id: String,
    pub(super) started_at: Timestamp,
}

/// A request that the simulator received.
#[derive(Debug, Deserialize)]
pub(super) struct Received {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) status: Option<u16>,
}

#[derive(Deserialize)]
struct Made {
    id: String,
}

/// One for the round trip, one for each line to paste, and two of one extension.
const EXTENSIONS: [&str; 13] = [
    "8856", "8857", "8858", "8859", "8860", "8861", "8862", "8863", "8864", "8865", "8866", "8899",
    "8899",
];

/// Makes the calls in the simulator.
pub(super) async fn make(simulator: SocketAddr) -> anyhow::Result<Vec<DemoCall>> {
    let mut calls = Vec::new();
    for (number, extension) in EXTENSIONS.into_iter().enumerate() {
        let caller = format!("+49301234{:03}", 100 + number);
        let body = json!({ "source": caller, "targets": [extension] }).to_string();
        let request = format!(
            "POST /sim/calls HTTP/1.1\r\nHost: {simulator}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = exchange(simulator, &request).await?;
        ensure!(answer.starts_with("HTTP/1.1 201 "), "the simulator made no call: {answer}");
        let made: Made = serde_json::from_str(body_of(&answer)?)?;
        calls.push(DemoCall {
            call_id: CallId::sortable(),
            graph_id: made.id,
            extension,
            caller,
            platform_call_id: format!("7162738{number:02}"),
            native_id: format!("TRS261401{number:02}"),
            meeting_id: format!("WHBFM6{number:02}"),
            started_at: Clock::System.now(),
        });
    }
    Ok(calls)
}

/// What Graph and the login were asked.
pub(super) async fn received(simulator: SocketAddr) -> anyhow::Result<Vec<Received>> {
    let answer = super::get(simulator, "/sim/requests").await?;
    Ok(serde_json::from_str(body_of(&answer)?)?)
}

fn body_of(answer: &str) -> anyhow::Result<&str> {
    let (_, body) = answer.split_once("\r\n\r\n").context("an answer without a body")?;
    Ok(body)
}

impl DemoCall {
    /// The call as an import describes it.
    pub(super) fn imported(&self, tenant_row: i64) -> Result<ImportedCall, NumberError> {
        let party = |role, raw: &str| {
            let normalised = Number::parse(raw)?.normalised;
            Ok(Party { role, kind: "number", raw: raw.to_owned(), normalised })
        };
        Ok(ImportedCall {
            tenant_row,
            call_id: Some(self.call_id.clone()),
            graph_id: GraphCallId(self.graph_id.clone()),
            platform_call_id: Some(self.platform_call_id.clone()),
            native_id: Some(self.native_id.clone()),
            meeting_id: Some(self.meeting_id.clone()),
            direction: Some(Direction::Incoming),
            state: CallState::Established,
            parties: vec![party("source", &self.caller)?, party("target", self.extension)?],
            started_at: Some(self.started_at),
            ended_at: None,
            subject: None,
        })
    }
}
