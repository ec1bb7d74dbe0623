//! What the load goes to: the real program, and a bare hyper server as the limit.

use std::convert::Infallible;
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use callgate::Simulator;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinSet;

/// The argument with which this program is the limit.
pub(crate) const LIMIT: &str = "--be-the-limit";
const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
const CLIENT: &str = "2891555a-92ff-42e6-80fa-6e1300c6b5c6";
const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A bare hyper server, which is this program again; it ends when it is dropped.
pub(crate) struct Limit {
    pub(crate) address: SocketAddr,
    _process: Child,
}

impl Limit {
    pub(crate) async fn start() -> Result<Self, Box<dyn Error>> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut process = command.arg(LIMIT).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let (address, _) = address(&mut process, "").await?;
        Ok(Self { address, _process: process })
    }
}

/// Serves as the limit until it is killed.
pub(crate) fn limit() -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(ANY).await?;
        std::io::Write::write_all(
            &mut std::io::stdout(),
            format!("{}\n", listener.local_addr()?).as_bytes(),
        )?;
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let service = service_fn(async |request: Request<Incoming>| {
                // A body that breaks off ends its connection.
                let _body = request.into_body().collect().await;
                let mut response = Response::new(Full::new(Bytes::new()));
                *response.status_mut() = hyper::StatusCode::ACCEPTED;
                Ok::<_, Infallible>(response)
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            connections.spawn(async move {
                let _ended = connection.await;
            });
            while connections.try_join_next().is_some() {}
        }
    })
}

/// `callgate serve` with a database of its own; it ends when it is dropped.
pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
    folder: TempDir,
    simulator: Simulator,
    process: Child,
    /// Held, because the program may still be writing to it.
    _output: Output,
}

impl Gateway {
    pub(crate) async fn start() -> Result<Self, Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        let simulator = Simulator::start(ANY).await?;
        let url = simulator.url();
        let configuration = folder.path().join("callgate.toml");
        std::fs::write(
            &configuration,
            format!(
                "listen.address = \"127.0.0.1:0\"\nadmin.address = \"127.0.0.1:0\"\n\
                 notifications.address = \"127.0.0.1:0\"\n\
                 notifications.openid_urls = [\"{url}/v1/.well-known/OpenIdConfiguration\"]\n\
                 store.url = \"sqlite:{}\"\ngraph.base_url = \"{url}\"\n\
                 graph.login_url = \"{url}\"\ngraph.allow_other_host = true\n\
                 graph.tenant_id = \"{TENANT}\"\ngraph.client_id = \"{CLIENT}\"\n\
                 graph.client_secret = \"any\"\n",
                folder.path().join("callgate.db").display()
            ),
        )?;
        let mut process = Command::new(env!("CARGO_BIN_EXE_callgate"))
            .args(["serve", "-q", "--config"])
            .arg(&configuration)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let (address, output) = address(&mut process, "notifications http://").await?;
        Ok(Self { address, folder, simulator, process, _output: output })
    }

    /// A token of the simulator's, taken from a notification that it sends us.
    pub(crate) async fn token(&self) -> Result<String, Box<dyn Error>> {
        let listener = TcpListener::bind(ANY).await?;
        let url = format!("http://{}/", listener.local_addr()?);
        let script = format!(
            "/sim/callback {{\"url\": \"{url}\", \"audience\": \"{CLIENT}\"}}\n\
             /sim/calls {{\"source\": \"1\", \"targets\": [\"2\"], \"tenantId\": \"{TENANT}\"}}\n"
        );
        self.simulator.run_script(&script)?;
        let (mut stream, _) = listener.accept().await?;
        let mut head = Vec::new();
        while !head.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
            if stream.read_buf(&mut head).await? == 0 {
                break;
            }
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let proof = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("authorization").then_some(value)
        });
        let token = proof.and_then(|proof| proof.strip_prefix("Bearer "));
        Ok(token.ok_or("the simulator sent no token")?.to_owned())
    }

    /// The memory that the program holds.
    pub(crate) fn memory_kib(&self) -> Result<u64, Box<dyn Error>> {
        let id = self.process.id().ok_or("the gateway has ended")?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let line = status.lines().find(|line| line.starts_with("VmHWM:"));
        let size = line.and_then(|line| line.split_whitespace().nth(1));
        Ok(size.ok_or("no memory figure")?.parse()?)
    }

    /// Kills the program, and counts the calls that are in its database.
    pub(crate) async fn stop_and_count(mut self) -> Result<u64, Box<dyn Error>> {
        self.process.kill().await?;
        let database = rusqlite::Connection::open(self.folder.path().join("callgate.db"))?;
        let calls: i64 = database.query_row("SELECT count(*) FROM calls", (), |row| row.get(0))?;
        Ok(u64::try_from(calls)?)
    }
}

type Output = Lines<BufReader<ChildStdout>>;

/// The address in the first line of a program's output that begins with `prefix`, and the rest of
/// its output.
async fn address(
    process: &mut Child,
    prefix: &str,
) -> Result<(SocketAddr, Output), Box<dyn Error>> {
    let out = process.stdout.take().ok_or("its output is piped")?;
    let mut lines = BufReader::new(out).lines();
    let found = async {
        while let Some(line) = lines.next_line().await? {
            if let Some(address) = line.strip_prefix(prefix) {
                return Ok(address.parse()?);
            }
        }
        Err::<SocketAddr, Box<dyn Error>>("it ended before it listened".into())
    };
    let address = tokio::time::timeout(Duration::from_secs(30), found).await??;
    Ok((address, lines))
}
