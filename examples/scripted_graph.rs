//! The simulator with a fault: Graph throttles a deletion, and the second attempt succeeds.
//!
//! ```sh
//! cargo run --example scripted_graph
//! ```
//!
//! For the tests of anything that speaks to Graph's calls API: only its base URL is changed.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use callgate::Simulator;
use reqwest::Client;
use reqwest::header::RETRY_AFTER;
use serde_json::Value;

/// One request of the control API a line; `callgate simulate --script FILE` takes the same.
const SCRIPT: &str = r#"
# A call, and one answer of 429 to its first DELETE.
/sim/calls {"id": "call-1", "source": "+4930123456", "targets": ["8856"]}
/sim/faults {"method": "DELETE", "status": 429, "retryAfter": 1, "times": 1}
"#;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let graph = Simulator::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
    graph.run_script(SCRIPT)?;
    let client = Client::builder().no_proxy().build()?;

    // What is under test: a client that heeds Retry-After. callgate does so between the attempts
    // of a deletion, only that its wait is a row in the journal.
    let url = format!("{}/v1.0/communications/calls/call-1", graph.url());
    let status = loop {
        let answer = client.delete(&url).bearer_auth("any token will do").send().await?;
        println!("DELETE {url}  ->  {}", answer.status());
        let Some(wait) = answer.headers().get(RETRY_AFTER) else { break answer.status() };
        tokio::time::sleep(Duration::from_secs(wait.to_str()?.parse()?)).await;
    };

    // What Graph saw is part of the script's result.
    let received = client.get(format!("{}/sim/requests", graph.url())).send().await?;
    let received = received.json::<Vec<Value>>().await?.len();
    println!("Graph received {received} requests");
    graph.stop().await;
    if status == 204 && received == 2 { Ok(()) } else { Err("not what the script says".into()) }
}
