//! The command line as people and scripts meet it: the real program, real files.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a helper that panics fails its test")]

mod database;
mod deletions;
mod import;
mod key_import;
mod keys;
mod rotation;
mod tokens;
mod users;

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// The heading of the flags that every command has.
const EVERY_COMMAND: &str = "Options of every command:";

/// What the commands say that have none.
const NO_CONFIGURATION: &str =
    "callgate: `demo` and `simulate` take no configuration: leave out --config and --set\n";

/// What the commands say that ask for a password.
const NO_PASSWORD: &str = "callgate: a password is never an argument: it is asked for, or read from \
                           standard input\n";

/// A working directory of its own, whose database is `callgate.db`.
struct Place {
    folder: TempDir,
}

/// What a command left behind.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    out: String,
    talk: String,
}

impl Place {
    /// An empty one.
    fn empty() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// One with a tenant and no database.
    fn configured() -> Self {
        let place = Self::empty();
        place.write("secret", "hush");
        let private = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(place.path("secret"), private).unwrap();
        place.write(
            "callgate.toml",
            "[graph]\ntenant_id = \"72f988bf-86f1-41af-91ab-2d7cd011db47\"\nclient_id = \"app\"\n\
             client_secret_file = \"secret\"\n",
        );
        place
    }

    /// One with a tenant and a database.
    fn ready() -> Self {
        let place = Self::configured();
        place.run(&["migrate"]).expect(0);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// The names of all files, sorted.
    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn sqlite(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.path("callgate.db")).unwrap()
    }

    /// The program, with nothing of our environment, and the configuration of this place.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_callgate"));
        command.current_dir(self.folder.path()).env_clear();
        for name in ["PATH", "HOME"] {
            #[expect(clippy::disallowed_methods, reason = "passed on to the program under test")]
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        if self.path("callgate.toml").exists() {
            command.env("CALLGATE_CONFIG", "callgate.toml");
        }
        command.args(args);
        command
    }

    fn run(&self, args: &[&str]) -> Ended {
        self.run_with(args, "")
    }

    /// As [`Place::run`], with standard output closed.
    fn run_unread(&self, args: &[&str]) -> Ended {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = self.command(args);
        command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        // The command has the other end of the pipe.
        drop(command);
        ended(child.wait_with_output().unwrap())
    }

    /// Makes a key with these flags; gives its id.
    fn key(&self, flags: &[&str]) -> String {
        let args = [&["keys", "create", "--name", "phones", "--json"], flags].concat();
        self.run(&args).expect(0).json()["id"].as_str().unwrap().to_owned()
    }

    /// The keys as they are listed.
    fn keys(&self) -> serde_json::Value {
        self.run(&["keys", "list", "--json"]).expect(0).json()
    }

    /// Each record of the audit chain: what was decided, and what of it is personal.
    fn audit(&self) -> Vec<(serde_json::Value, serde_json::Value)> {
        let sqlite = self.sqlite();
        let mut records =
            sqlite.prepare("SELECT canonical, personal FROM audit ORDER BY position").unwrap();
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let rows = records.query_map((), read).unwrap();
        rows.map(|row| {
            let (canonical, personal): (Vec<u8>, String) = row.unwrap();
            let event = serde_json::from_slice(&canonical).unwrap();
            (event, serde_json::from_str(&personal).unwrap())
        })
        .collect()
    }

    fn run_with(&self, args: &[&str], input: impl AsRef<[u8]>) -> Ended {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A program that does not read it may be over before it is written.
        let _ = child.stdin.take().unwrap().write_all(input.as_ref());
        ended(child.wait_with_output().unwrap())
    }
}

fn ended(output: std::process::Output) -> Ended {
    Ended {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        talk: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Ended {
    #[track_caller]
    fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }

    /// Failed, with this text and without data.
    #[track_caller]
    fn expect_failure(self, code: i32, talk: &str) {
        assert_eq!(self.talk, talk);
        assert_eq!(self.out, "");
        self.expect(code);
    }

    #[track_caller]
    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

#[test]
fn every_command_says_what_it_does() {
    let place = Place::empty();
    let commands = [
        "",
        "serve",
        "demo",
        "simulate",
        "check",
        "migrate",
        "backup",
        "backup verify",
        "pause",
        "resume",
        "keys",
        "keys create",
        "keys list",
        "keys show",
        "keys revoke",
        "keys rotate",
        "keys import",
        "users",
        "users create",
        "users list",
        "users disable",
        "users enable",
        "users passwd",
        "tokens",
        "tokens create",
        "tokens list",
        "tokens revoke",
        "calls",
        "calls import",
        "calls list",
        "calls show",
        "deletions",
        "deletions list",
        "deletions show",
        "deletions retry",
        "deletions cancel",
        "deletions export",
        "completions",
    ];
    let mut all = String::new();
    for command in commands {
        let args: Vec<_> = command.split_whitespace().chain(["--help"]).collect();
        let ended = place.run(&args).expect(0);
        assert_eq!(ended.talk, "", "{command}");
        // The flags that every command has are printed once.
        let (own, _) = ended.out.split_once(EVERY_COMMAND).expect("every command has them");
        let shown = if command.is_empty() { &ended.out } else { own };
        let after = ["\n\nFields of", "\n\nColumns of"];
        let after = after.iter().find_map(|start| Some(ended.out.split_once(start)?.1));
        let after = after.unwrap_or_default();
        let shown = shown.trim_end();
        writeln!(all, "$ callgate {command} --help\n{shown}\n{after}").unwrap();
    }
    insta::assert_snapshot!("help", all);
}

#[test]
fn the_version_is_data() {
    let ended = Place::empty().run(&["--version"]).expect(0);
    assert_eq!(ended.out, format!("callgate {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn wrong_usage_is_64() {
    let place = Place::ready();
    for (args, talk) in [
        (&[][..], "Usage: callgate [OPTIONS] <COMMAND>"),
        (&["keys"][..], "Usage: callgate keys [OPTIONS] <COMMAND>"),
        (&["prune"][..], "unrecognized subcommand 'prune'"),
        (&["keys", "list", "--foo"][..], "unexpected argument '--foo'"),
        (&["--log", "xml", "check"][..], "[possible values: text, json]"),
        (&["-q", "-v", "check"][..], "cannot be used with"),
        (&["calls", "list", "--limit", "0"][..], "0 is not in 1..=100000"),
        (&["deletions", "list", "--state", "done"][..], "expected one of armed, open, sent,"),
        (&["deletions", "show", "1"][..], "expected an id as `deletions list` shows it"),
        (&["tokens", "create"][..], "--key <ID>"),
        (&["tokens", "revoke", "1"][..], "expected an id as `tokens list` shows it"),
        (&["tokens", "create", "--key", "1"][..], "expected an id as `keys list` shows it"),
        (&["keys", "show"][..], "<ID>"),
        (&["keys", "rotate", "x"][..], "expected an id as `keys list` shows it"),
        (&["keys", "import", "nowhere.csv"][..], "callgate: nowhere.csv: cannot be opened: "),
        (&["keys", "import", "."][..], "callgate: .: is a directory, not a file"),
        (&["users", "create", "a:b"][..], "a login has no colon"),
        (&["users", "create", "jane", "--role", "root"][..], "expected one of caller, auditor"),
        (&["users", "create", "jane", "secret"][..], "unexpected argument 'secret'"),
        (&["users", "create", "jane", "--password", "x"][..], NO_PASSWORD),
        (&["users", "passwd", "jane", "--password=x"][..], NO_PASSWORD),
        (&["demo", "--once", "--set", "log.level=info"][..], NO_CONFIGURATION),
        (&["--config", "callgate.toml", "simulate"][..], NO_CONFIGURATION),
        (&["calls", "import", "nowhere.csv"][..], "callgate: nowhere.csv: cannot be opened: "),
        (&["calls", "import", "."][..], "callgate: .: is a directory, not a file"),
    ] {
        let ended = place.run(args).expect(64);
        assert!(ended.talk.contains(talk), "{args:?}: {}", ended.talk);
        assert_eq!(ended.out, "", "{args:?}");
    }
}

#[test]
fn a_wrong_configuration_is_78_and_every_fault_a_line() {
    let ended = Place::empty().run(&["keys", "list", "--set", "foo=1", "--set", "legacy.wait=x"]);
    ended.expect_failure(
        78,
        "callgate: `foo`: unknown key; remove it or correct its name (--set)\n\
         callgate: `legacy.wait`: expected a duration such as 250ms, 10s, 5m or 1h, from 1ms to \
         10m, found \"x\" (--set)\n",
    );
}

#[test]
fn a_completion_script_names_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let ended = Place::empty().run(&["completions", shell]).expect(0);
        assert!(ended.out.contains("deletions"), "{shell}");
        assert_eq!(ended.talk, "");
    }
}

#[test]
fn a_reader_who_goes_away_ends_it_quietly() {
    let ended = Place::ready().run_unread(&["completions", "bash"]).expect(0);
    assert_eq!(ended.talk, "");
}
