//! The gateway as the real binary, which can be killed.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::gateway::readiness;
use super::http::{Answer, Client, send};
use super::schema::Answers;
use super::site::Site;
use super::{soon, until};

/// A running `callgate serve`; it is killed with the test.
pub(crate) struct Process {
    child: Child,
    pub(crate) legacy: SocketAddr,
    notifications: SocketAddr,
    admin: SocketAddr,
    /// Where its log goes.
    pub(crate) log: PathBuf,
}

impl Process {
    /// Starts `callgate serve` for `site`, with these arguments besides, and waits until it listens.
    pub(crate) async fn start(site: &Site, arguments: &[&str]) -> Self {
        Self::spawn(site, site.command(&[&["serve"], arguments].concat())).await
    }

    /// As [`Process::start`], with a hard limit of so many open files.
    pub(crate) async fn start_with_files(site: &Site, files: usize, arguments: &[&str]) -> Self {
        let gateway = site.command(&[&["serve"], arguments].concat());
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -n {files}; exec \"$0\" \"$@\"")]);
        command.arg(gateway.as_std().get_program()).args(gateway.as_std().get_args());
        command.env_clear().kill_on_drop(true);
        Self::spawn(site, command).await
    }

    /// As [`Process::start`], by this command.
    pub(crate) async fn spawn(site: &Site, mut command: Command) -> Self {
        let log = site.folder().join("serve.log");
        let file = std::fs::File::options().create(true).append(true).open(&log);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(file.expect("a file can be made"));
        let mut child = command.spawn().expect("the binary was built");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let mut address = async |name: &str| {
            let line = soon("an address", lines.next_line()).await.expect("text");
            let line = line.unwrap_or_else(|| panic!("{}", read(&log)));
            let address = line.strip_prefix(&format!("{name} http://"));
            address.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{line}"))
        };
        let legacy = address("legacy").await;
        let notifications = address("notifications").await;
        let admin = address("admin").await;
        Self { child, legacy, notifications, admin, log }
    }

    /// Posts a notification with these headers.
    pub(crate) async fn notify(&self, headers: &[(&str, &str)], body: &str) -> Answer {
        let url = format!("http://{}/api/calls", self.notifications);
        send(reqwest::Method::POST, &url, headers, body).await
    }

    /// A connection to the legacy API.
    pub(crate) async fn connect(&self, site: &Site) -> Client {
        let stream = TcpStream::connect(self.legacy).await.expect("the gateway listens");
        Client::new(stream, site.answers.clone())
    }

    /// The answer to a `GET` with this query.
    pub(crate) async fn get(&self, site: &Site, query: &str) -> Answer {
        let request = format!("GET /verba/api?{query} HTTP/1.1\r\nHost: a\r\n\r\n");
        self.connect(site).await.ask(request).await
    }

    /// The answer of the admin listener to this request.
    pub(crate) async fn admin(&self, request: &str) -> String {
        let stream = TcpStream::connect(self.admin).await.expect("the gateway listens");
        Client::new(stream, Answers::default()).ask(request).await.body
    }

    /// What `/readyz` says, once it is ready.
    pub(crate) async fn readiness(&self) -> String {
        let ready = async || {
            let (is_ready, text) = readiness(self.admin).await;
            is_ready.then_some(text)
        };
        until("the process is ready", ready).await
    }

    /// What `/readyz` says, ready or not.
    pub(crate) async fn health(&self) -> String {
        readiness(self.admin).await.1
    }

    /// `kill -9`, and the end of it.
    pub(crate) async fn kill(mut self) {
        soon("the end of a killed process", self.child.kill()).await.expect("it runs");
    }

    /// Sends a signal, such as `TERM`.
    pub(crate) async fn signal(&self, name: &str) {
        let id = self.child.id().expect("it runs").to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status().await;
        assert!(sent.expect("kill is there").success(), "{name}");
    }

    /// How the process ends.
    pub(crate) async fn end(mut self) -> ExitStatus {
        soon("the end of the process", self.child.wait()).await.expect("it can be waited for")
    }
}

/// Shows the log of a gateway whose test has failed.
impl Drop for Process {
    #[expect(clippy::print_stderr, reason = "the test harness shows it with the failure")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let ended = self.child.try_wait();
            eprintln!("the gateway ({ended:?}) wrote:\n{}", read(&self.log));
        }
    }
}

fn read(log: &PathBuf) -> String {
    std::fs::read_to_string(log).expect("a log is text")
}
