//! An installation: a folder with configuration and database, a Graph, and the command line.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use uuid::Uuid;

use super::graph::Graph;
use super::schema::Answers;
use super::{soon, until};

/// The tenant that every site can log in to.
pub(crate) const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
/// The app of every site.
pub(crate) const CLIENT_ID: &str = "2891555a-92ff-42e6-80fa-6e1300c6b5c6";
/// The client secret of every site's app.
pub(crate) const CLIENT_SECRET: &str = "planted-client-secret-5f0c";

/// An installation.
#[derive(Debug)]
pub(crate) struct Site {
    folder: TempDir,
    pub(crate) graph: Graph,
    /// A key with the rights of every new one.
    pub(crate) key: Key,
    pub(crate) answers: Answers,
    /// What the environment of every command has; nothing unless a test puts it here.
    pub(crate) environment: Vec<(&'static str, PathBuf)>,
}

/// An API key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Key {
    pub(crate) id: String,
    pub(crate) secret: String,
}

impl Key {
    /// The query of a `DeleteCall` with this key; `selector` is the rest of it.
    pub(crate) fn query(&self, selector: &str) -> String {
        self.ask("DeleteCall", selector)
    }

    /// The query of an action with this key; `rest` is the rest of it.
    pub(crate) fn ask(&self, action: &str, rest: &str) -> String {
        format!("action={action}&apiKey={}&{rest}", self.secret)
    }
}

/// A call that Graph and the registry know.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// Ours.
    pub(crate) id: String,
    pub(crate) graph_id: String,
}

/// A running call of `extension`, as an import describes it; `more` wins over what is here.
pub(crate) fn call(extension: &str, more: Value) -> Value {
    let mut call = json!({
        "callID": Uuid::new_v4().to_string(),
        "graphCallID": Uuid::new_v4().to_string(),
        "state": "established",
        "source": "+4930123456",
        "targets": [extension],
        "startedAt": "2026-11-22T05:32:55.123Z",
    });
    if let (Some(call), Value::Object(more)) = (call.as_object_mut(), more) {
        call.extend(more);
        if call.contains_key("endedAt") {
            call.insert("state".to_owned(), json!("terminated"));
        }
    }
    call
}

impl Site {
    /// An installation with the defaults.
    pub(crate) async fn new() -> Self {
        Self::with("").await
    }

    /// An installation whose configuration has these lines besides, such as `legacy.wait = "1s"`.
    pub(crate) async fn with(lines: &str) -> Self {
        let secret = format!("graph.client_secret = \"{CLIENT_SECRET}\"");
        Self::proving(lines, |_folder, _graph| secret).await
    }

    /// The same with an app that proves itself with what `credential` writes into the configuration.
    pub(crate) async fn proving(
        lines: &str,
        credential: impl FnOnce(&Path, &Graph) -> String,
    ) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let graph = Graph::start().await;
        let credential = credential(folder.path(), &graph);
        let url = graph.url();
        let database = folder.path().join("callgate.db");
        let text = format!(
            "listen.address = \"127.0.0.1:0\"\nadmin.address = \"127.0.0.1:0\"\n\
             notifications.address = \"127.0.0.1:0\"\n\
             notifications.openid_urls = [\"{url}/v1/.well-known/OpenIdConfiguration\"]\n\
             store.url = \"sqlite:{}\"\ngraph.base_url = \"{url}\"\ngraph.login_url = \"{url}\"\n\
             graph.allow_other_host = true\ngraph.tenant_id = \"{TENANT}\"\n\
             graph.client_id = \"{CLIENT_ID}\"\n{credential}\n{lines}\n",
            database.display()
        );
        std::fs::write(folder.path().join("callgate.toml"), text).expect("a file can be written");
        let answers = Answers::default();
        let key = Key::default();
        let mut site = Self { folder, graph, key, answers, environment: Vec::new() };
        site.run(&["migrate"]).await;
        site.key = site.key(&[]).await;
        site
    }

    /// The configuration file.
    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("callgate.toml")
    }

    /// Where everything is.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The database, to look into it or to change what nothing else can change yet.
    pub(crate) fn database(&self) -> Connection {
        let database = Connection::open(self.folder.path().join("callgate.db"));
        database.expect("the database exists")
    }

    /// One value out of the database.
    pub(crate) fn value<T: rusqlite::types::FromSql>(&self, query: &str) -> T {
        let value = self.database().query_row(query, (), |row| row.get(0));
        value.unwrap_or_else(|error| panic!("{query}: {error}"))
    }

    /// The audit record as soon as it has something that `decides`: each entry as JSON, with its
    /// count and what of it is personal.
    pub(crate) async fn audited(&self, what: &str, decides: impl Fn(&Value) -> bool) -> Value {
        until(what, async || self.audit().into_iter().find(|entry| decides(entry))).await
    }

    /// The audit record as it is, the oldest entry first.
    pub(crate) fn audit(&self) -> Vec<Value> {
        let database = self.database();
        let query = "SELECT canonical, personal FROM audit ORDER BY position";
        let mut entries = database.prepare(query).expect("the table exists");
        let entries = entries.query_map((), |row| Ok((row.get(0)?, row.get(1)?)));
        let entries = entries.expect("the query is valid").map(|entry| {
            let (canonical, personal): (Vec<u8>, String) = entry.expect("bytes and text");
            let mut entry: Value = serde_json::from_slice(&canonical).expect("JSON");
            entry["personal"] = serde_json::from_str(&personal).expect("JSON");
            entry
        });
        entries.collect()
    }

    /// Changes the database by hand.
    pub(crate) fn change(&self, statement: &str) {
        let changed = self.database().execute(statement, ());
        assert_ne!(changed.expect("the statement is valid"), 0, "{statement}");
    }

    /// The real binary with a command line of this site, and with nothing in its environment but
    /// [`Site::environment`].
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_callgate"));
        command.env_clear().envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.kill_on_drop(true).args(arguments).arg("--config").arg(self.config());
        command
    }

    /// Runs a command that must succeed; gives its standard output.
    pub(crate) async fn run(&self, arguments: &[&str]) -> String {
        self.run_with_input(arguments, "").await
    }

    /// Makes a key with these flags.
    pub(crate) async fn key(&self, flags: &[&str]) -> Key {
        let mut arguments = vec!["keys", "create", "--json", "--name", "phones"];
        arguments.extend(flags);
        let made: Value = serde_json::from_str(&self.run(&arguments).await).expect("JSON");
        let text = |member: &str| made[member].as_str().expect("a text").to_owned();
        Key { id: text("id"), secret: text("secret") }
    }

    /// Makes somebody who may log in.
    pub(crate) async fn user(&self, login: &str, password: &str) {
        self.run_with_input(&["users", "create", login], &format!("{password}\n")).await;
    }

    /// Makes a token for a key.
    pub(crate) async fn token(&self, key: &Key) -> String {
        self.run(&["tokens", "create", "--key", &key.id]).await.trim().to_owned()
    }

    /// Makes calls, as [`call`] describes them, in Graph as far as they run, and in the registry.
    pub(crate) async fn calls(&self, calls: &[Value]) -> Vec<Call> {
        let mut lines = String::new();
        let mut made = Vec::new();
        for call in calls {
            let id = &call["graphCallID"];
            if call["endedAt"].is_null() {
                let (source, targets) = (&call["source"], &call["targets"]);
                let made = json!({"id": id, "source": source, "targets": targets});
                self.graph.make(&made).await;
            }
            lines.push_str(&call.to_string());
            lines.push('\n');
            let text = |member: &str| call[member].as_str().expect("a text").to_owned();
            made.push(Call { id: text("callID"), graph_id: text("graphCallID") });
        }
        self.import(&lines).await;
        made
    }

    /// Imports calls, one JSON object a line.
    pub(crate) async fn import(&self, lines: &str) {
        self.run_with_input(&["calls", "import", "-"], lines).await;
    }

    /// Makes a running call of `extension`.
    pub(crate) async fn call(&self, extension: &str) -> Call {
        self.calls(&[call(extension, json!({}))]).await.remove(0)
    }

    /// Every deletion that was recorded, the newest first.
    pub(crate) async fn deletions(&self) -> Vec<Value> {
        let list = self.run(&["deletions", "list", "--json"]).await;
        serde_json::from_str(&list).expect("JSON")
    }

    /// As [`Site::run`], with this on standard input.
    pub(crate) async fn run_with_input(&self, arguments: &[&str], input: &str) -> String {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary was built");
        let mut stdin = child.stdin.take().expect("it is piped");
        // A command that does not read its input is no failure of it.
        let _unread = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        let output = soon("a command", child.wait_with_output()).await.expect("it ends");
        let talk = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {} {talk}", output.status);
        String::from_utf8(output.stdout).expect("text")
    }
}
