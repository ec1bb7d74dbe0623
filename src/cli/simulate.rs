//! `callgate simulate`: the simulator as a program, until it is stopped.
//!
//! Its base URL is all that stands on stdout, so that a script can read it there.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::simulator::Simulator;

/// Serves at `listen` until Ctrl-C or SIGTERM, from the state that `script` makes; with `tls` over
/// https, too.
///
/// # Errors
///
/// When it cannot listen there, or a line of the script is refused.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a command talks to its user")]
pub(crate) async fn run(
    listen: SocketAddr,
    tls: bool,
    script: Option<&Path>,
) -> anyhow::Result<()> {
    // Before the URL is printed: whoever has read it may stop us at once.
    let mut terminated = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let simulator =
        if tls { Simulator::start_tls(listen).await } else { Simulator::start(listen).await };
    let simulator =
        simulator.with_context(|| format!("the simulator cannot listen on {listen}"))?;
    if let Some(path) = script {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("the script {} cannot be read", path.display()))?;
        simulator.run_script(&text).with_context(|| format!("the script {}", path.display()))?;
    }
    let url = simulator.url();
    println!("{url}");
    eprint!("{}", help(&url, simulator.ca_file()));
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted.context("cannot wait for Ctrl-C")?,
        _ = terminated.recv() => {}
    }
    simulator.stop().await;
    Ok(())
}

fn help(url: &str, ca_file: Option<&Path>) -> String {
    // What the gateway, and then curl, is told of the authority.
    let (ca_setting, curl) = match ca_file.map(Path::display) {
        Some(file) => (format!("\n  ca_file = \"{file}\""), format!("curl --cacert {file}")),
        None => (String::new(), "curl".to_owned()),
    };
    format!(
        r#"The simulator plays Microsoft Graph and login. In the gateway's configuration:

  [graph]
  base_url = "{url}"
  login_url = "{url}"{ca_setting}
  allow_other_host = true
  tenant_id = "72f988bf-86f1-41af-91ab-2d7cd011db47"
  client_id = "2891555a-92ff-42e6-80fa-6e1300c6b5c6"
  client_secret = "any"

  [notifications]
  openid_urls = ["{url}/v1/.well-known/OpenIdConfiguration"]

Any other tenant, client id and secret will do as well: once the gateway has logged in, calls are
of its tenant and notifications for its app. Make a call, and see what was asked of Graph:

  {curl} {url}/sim/calls -d '{{"source": "+4930123456", "targets": ["8856"]}}'
  {curl} {url}/sim/requests

Say who is told of calls before you make them (docs/SIMULATOR.md has the rest):

  {curl} {url}/sim/callback -d '{{"url": "http://127.0.0.1:8082/api/calls"}}'

Ctrl-C stops it.
"#
    )
}
