//! What the flood goes to: the real program with a database, a key and a call of its own.

use std::error::Error;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use callgate::Simulator;
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// Who is on the phone in the one call that there is.
pub(crate) const EXTENSION: &str = "8856";
const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// How long what was refused may take until all of it is in the audit chain.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running `callgate serve`; it ends when it is dropped.
pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    /// The key of the good client.
    pub(crate) key: String,
    folder: TempDir,
    process: Child,
    _graph: Simulator,
    /// Held, because the program may still be writing to it.
    _output: Lines<BufReader<ChildStdout>>,
}

impl Site {
    pub(crate) async fn start() -> Result<Self, Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        let graph = Simulator::start(ANY).await?;
        let url = graph.url();
        let configuration = folder.path().join("callgate.toml");
        std::fs::write(
            &configuration,
            format!(
                "listen.address = \"127.0.0.1:0\"\nadmin.address = \"127.0.0.1:0\"\n\
                 notifications.address = \"127.0.0.1:0\"\n\
                 notifications.openid_urls = [\"{url}/v1/.well-known/OpenIdConfiguration\"]\n\
                 store.url = \"sqlite:{}\"\ngraph.base_url = \"{url}\"\n\
                 graph.login_url = \"{url}\"\ngraph.allow_other_host = true\n\
                 graph.tenant_id = \"{TENANT}\"\ngraph.client_id = \"any\"\n\
                 graph.client_secret = \"any\"\n",
                folder.path().join("callgate.db").display()
            ),
        )?;
        run(&configuration, &["migrate"], "").await?;
        let key = run(&configuration, &["keys", "create", "--name", "good client"], "").await?;
        let call = format!(
            "{{\"graphCallID\": \"one\", \"state\": \"established\", \"source\": \"+4930123456\", \
             \"targets\": [\"{EXTENSION}\"], \"startedAt\": \"2026-11-22T05:32:55.123Z\"}}\n"
        );
        run(&configuration, &["calls", "import", "-"], &call).await?;
        let log = File::create(folder.path().join("serve.log"))?;
        let mut process =
            command(&configuration, &["serve"]).stdout(Stdio::piped()).stderr(log).spawn()?;
        let out = process.stdout.take().ok_or("its output is piped")?;
        let mut output = BufReader::new(out).lines();
        let first = output.next_line().await?;
        let address = first.as_deref().and_then(|line| line.strip_prefix("legacy http://"));
        let address = address.ok_or("it ended before it listened")?.parse()?;
        let key = key.trim().to_owned();
        Ok(Self { address, key, folder, process, _graph: graph, _output: output })
    }

    /// A figure of the program's memory, such as `VmRSS`.
    pub(crate) fn memory_kib(&self, name: &str) -> Result<u64, Box<dyn Error>> {
        let id = self.process.id().ok_or("the gateway has ended")?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let line = status.lines().find(|line| line.starts_with(name));
        let size = line.and_then(|line| line.split_whitespace().nth(1));
        Ok(size.ok_or("no memory figure")?.parse()?)
    }

    /// How many bad keys the audit chain counts: as soon as it is `expected`, or in the end.
    pub(crate) async fn bad_keys_recorded(&self, expected: u32) -> Result<i64, Box<dyn Error>> {
        let database = Connection::open(self.folder.path().join("callgate.db"))?;
        let count = "SELECT coalesce(sum(count), 0) FROM audit \
                     WHERE CAST(canonical AS TEXT) LIKE '%\"bad_key\"%'";
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let counted = database.query_row(count, (), |row| row.get(0))?;
            if counted >= i64::from(expected) || tokio::time::Instant::now() >= deadline {
                return Ok(counted);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// How long the log has become.
    pub(crate) fn log_lines(&self) -> Result<usize, Box<dyn Error>> {
        let log = std::fs::read(self.folder.path().join("serve.log"))?;
        Ok(log.split(|byte| *byte == b'\n').count() - 1)
    }
}

fn command(configuration: &PathBuf, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_callgate"));
    command.args(arguments).arg("--config").arg(configuration).kill_on_drop(true);
    command
}

/// Runs a command that must succeed, and gives what it prints.
async fn run(
    configuration: &PathBuf,
    arguments: &[&str],
    input: &str,
) -> Result<String, Box<dyn Error>> {
    let mut command = command(configuration, arguments);
    let mut child = command.arg("-q").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut stdin = child.stdin.take().ok_or("its input is piped")?;
    // A command that does not read its input is no failure of it.
    let _unread = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = child.wait_with_output().await?;
    if !output.status.success() {
        return Err(format!("{arguments:?}: {}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}
