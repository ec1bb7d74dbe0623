//! `callgate simulate`: the simulator as a program, until it is stopped.
//!
//! Its base URL is all that stands on stdout, so that a script can read it there.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::simulator::Simulator;

/// Serves at `listen` until Ctrl-C or SIGTERM, from the state that `script` makes.
///
/// # Errors
///
/// When it cannot listen there, or a line of the script is refused.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a command talks to its user")]
pub(crate) async fn run(listen: SocketAddr, script: Option<&Path>) -> anyhow::Result<()> {
    // Before the URL is printed: whoever has read it may stop us at once.
    let mut terminated = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let simulator = Simulator::start(listen)
        .await
        .with_context(|| format!("the simulator cannot listen on {listen}"))?;
    if let Some(path) = script {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("the script {} cannot be read", path.display()))?;
        simulator.run_script(&text).with_context(|| format!("the script {}", path.display()))?;
    }
    let url = simulator.url();
    println!("{url}");
    eprint!("{}", help(&url));
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted.context("cannot wait for Ctrl-C")?,
        _ = terminated.recv() => {}
    }
    simulator.stop().await;
    Ok(())
}

fn help(url: &str) -> String {
    format!(
        r#"The simulator plays Microsoft Graph and login. In the gateway's configuration:

  [graph]
  base_url = "{url}"
  login_url = "{url}"
  allow_other_host = true

Any tenant, client id and secret will do. Make a call, and see what was asked of Graph:

  curl {url}/sim/calls -d '{{"source": "+4930123456", "targets": ["8856"]}}'
  curl {url}/sim/requests

Ctrl-C stops it.
"#
    )
}
