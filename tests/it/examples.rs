//! What a newcomer tries: each line that `callgate demo` prints, and the clients to copy.
//!
//! The lines are run as they were printed, and each must give what its comment promises.

use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use crate::support::{Gateway, until};

/// Much longer than anything here takes, also on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

/// How long a token lasts.
const HOUR: Duration = Duration::from_hours(1);

const DONE: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<VerbaApi>\n\
    <Response code=\"0\" type=\"DeleteCall\"/>\n</VerbaApi>\n";

/// A running demo and the lines it printed to try.
struct Demo {
    lines: Vec<Line>,
    _stdout: Lines<BufReader<ChildStdout>>,
    /// Killed when dropped.
    _process: Child,
}

/// `# what` and the command below it.
#[derive(Debug)]
struct Line {
    what: String,
    command: String,
}

impl Demo {
    async fn start() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_callgate"))
            .args(["demo", "--listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("the demo starts");
        let stdout = process.stdout.take().expect("stdout is piped");
        let mut stdout = BufReader::new(stdout).lines();
        let mut lines = Vec::new();
        let mut what = None;
        loop {
            let line =
                timeout(PATIENCE, stdout.next_line()).await.expect("the demo is ready in time");
            let line = line.expect("stdout is text").expect("the demo serves until it is stopped");
            if let Some(comment) = line.strip_prefix("  # ") {
                what = Some(comment.to_owned());
            } else if let Some(what) = what.take() {
                lines.push(Line { what, command: line.trim().to_owned() });
            } else if line == "Serving until Ctrl-C." {
                return Self { lines, _stdout: stdout, _process: process };
            }
        }
    }

    /// The legacy API's URL, and the key.
    fn url_and_key(&self) -> (&str, &str) {
        let (_, url) = self.line("by callID").command.split_once('\'').expect("a quoted URL");
        let (url, query) = url.split_once('?').expect("a query");
        let (_, key) = query.split_once("apiKey=").expect("a key");
        (url, key.split('&').next().expect("a first piece"))
    }

    /// The parameters of a line behind the key, as the clients take them.
    fn selector(&self, what: &str) -> Vec<&str> {
        let (_, key) = self.url_and_key();
        let (_, selector) = self.line(what).command.split_once(key).expect("the key");
        selector.trim_matches(['&', '\'']).split('&').collect()
    }

    fn line(&self, what: &str) -> &Line {
        let mut lines = self.lines.iter();
        lines.find(|line| line.what.starts_with(what)).expect("the demo prints that line")
    }
}

#[tokio::test]
async fn every_line_of_the_demo_gives_what_its_comment_promises() {
    let demo = Demo::start().await;
    let mut deleted = 1; // the demo's own round trip
    for Line { what, command } in &demo.lines {
        let answer = run(Command::new("sh").args(["-c", command])).await;
        assert!(answer.status.success(), "{what}: {command}: {answer:?}");
        let text = String::from_utf8(answer.stdout).expect("the answer is text");
        let topic = what.split([':', ',', '?']).next().expect("a first piece");
        match topic {
            "by callID" | "by platformCallID" | "by nativeID" | "by meetingID" | "by extension"
            | "by POST" => assert_eq!(text, DONE, "{what}"),
            "XML with the detail" => {
                assert!(text.contains("<Response code=\"0\" type=\"DeleteCall\"/>\n"), "{text}");
                assert!(text.contains("<Outcome>sent</Outcome>\n"), "{text}");
                assert!(text.contains("<Operation>hang-up</Operation>\n"), "{text}");
            }
            "JSON" => {
                let json: Value = serde_json::from_str(&text).expect("JSON");
                assert_eq!(
                    (&json["code"], &json["outcome"]),
                    (&0.into(), &"sent".into()),
                    "{text}"
                );
                assert_eq!(json["operation"], "hang-up", "{text}");
            }
            "HTML" => {
                assert!(text.starts_with("<!DOCTYPE html>\n<html lang=\"en\">"), "{text}");
                assert!(text.contains("<h1>OK</h1>"), "{text}");
            }
            "TEXT" => assert_eq!(text, "OK\n"),
            "an ambiguous extension" => {
                assert!(text.contains("<Response code=\"2\" type=\"DeleteCall\">\n"), "{text}");
                assert!(text.contains("<Reason>ambiguous</Reason>\n"), "{text}");
                assert_eq!(text.matches("<Candidate ").count(), 2, "{text}");
            }
            "a dry run" => {
                assert!(text.contains("<Response code=\"0\" type=\"DeleteCall\"/>\n"), "{text}");
                assert!(text.contains("<Outcome>would_send</Outcome>\n"), "{text}");
            }
            "what is known of the first call" => {
                assert!(
                    text.contains("<Response code=\"0\" type=\"GetCallInformation\">"),
                    "{text}"
                );
                assert!(text.contains("ended_by_us"), "{text}");
            }
            "where its deletion stands" => {
                assert!(text.contains("confirmed") && text.contains("ended_by_us"), "{text}");
            }
            "what Graph told callgate of its calls" => {
                let told: Vec<Value> = serde_json::from_str(&text).expect("JSON");
                let ends = told.iter().filter(|one| one["changeType"] == "deleted").count();
                assert!(ends >= deleted - 1, "{text}");
            }
            "what Graph received" => check_received(&text, deleted),
            "is it ready" => assert!(text.starts_with("ready\n"), "{text}"),
            "a call rings and is rejected" => {
                assert!(text.contains("<Response code=\"0\" type=\"RejectCall\"/>\n"), "{text}");
            }
            "one of three is removed from a call" => {
                assert!(
                    text.contains("<Response code=\"0\" type=\"DeleteParticipant\"/>"),
                    "{text}"
                );
            }
            "a user is invited into it" => {
                assert!(
                    text.contains("<Response code=\"0\" type=\"InviteParticipant\"/>"),
                    "{text}"
                );
                assert!(text.contains("<OperationID>"), "{text}");
            }
            "everybody is removed from it" => {
                assert!(text.contains("<Response code=\"0\" type=\"DeleteCall\"/>\n"), "{text}");
                assert!(text.contains("<Removed>"), "{text}");
            }
            _ => assert_eq!(what, "", "a line that this test does not know: {command}"),
        }
        deleted += usize::from(!matches!(
            topic,
            "an ambiguous extension"
                | "a dry run"
                | "what is known of the first call"
                | "where its deletion stands"
        ));
    }
    assert_eq!(demo.lines.len(), 21, "{:?}", demo.lines);
}

/// One DELETE for each of `deleted` calls, all taken, and logins as many as it needs.
#[track_caller]
fn check_received(listing: &str, deleted: usize) {
    let listing: Vec<Value> = serde_json::from_str(listing).expect("JSON");
    let deletions: Vec<_> = listing.iter().filter(|one| one["method"] == "DELETE").collect();
    assert!(deletions.iter().all(|one| one["status"] == 204), "{deletions:?}");
    let mut calls: Vec<_> = deletions.iter().map(|one| one["path"].to_string()).collect();
    calls.sort();
    calls.dedup();
    assert_eq!((deletions.len(), calls.len()), (deleted, deleted), "{calls:?}");
}

#[tokio::test]
async fn the_clients_to_copy_delete_a_call_and_tell_a_refusal() {
    let demo = Demo::start().await;
    let clients = [
        (vec!["sh", "examples/clients/delete_call.sh"], "by callID", "OK\n", "ERROR:2:"),
        (vec!["python3", "examples/clients/delete_call.py"], "by nativeID", "code 0", "code 2 "),
        (
            vec![env!("CARGO"), "run", "--quiet", "--locked", "--example", "legacy_client", "--"],
            "by extension",
            DONE,
            "<Response code=\"2\"",
        ),
    ];
    for (client, call, done, refused) in clients {
        let answer = ask(&client, &demo, call).await;
        assert!(answer.0 && answer.1.contains(done), "{client:?}: {answer:?}");

        let answer = ask(&client, &demo, "an ambiguous extension").await;
        assert!(!answer.0 && answer.1.contains(refused), "{client:?}: {answer:?}");
    }
}

#[tokio::test]
async fn the_clients_escape_what_they_are_given() {
    let demo = Demo::start().await;
    let (url, key) = demo.url_and_key();
    for client in ["sh examples/clients/delete_call.sh", "python3 examples/clients/delete_call.py"]
    {
        // The demo's callers have the numbers +49301234100 and up; the last one is still there.
        let command = format!(
            "{client} {url} {key} extension=+49301234112 status=ongoing dryRun=1 'x=&dryRun=0 \"#'"
        );
        let answer = run(Command::new("sh").args(["-c", &command])).await;
        assert!(answer.status.success(), "{command}: {answer:?}");
    }
}

#[tokio::test]
async fn a_client_whose_token_has_expired_logs_in_again_and_repeats() {
    let gateway = Gateway::start().await;
    let key = gateway.new_key(&["--requires-token"]).await;
    gateway.run_with_input(&["users", "create", "night-shift"], "correct horse\n").await;
    let url = format!("http://{}/verba/api", gateway.legacy);
    let mut client = client(&[&url, &key.secret, "night-shift"]);
    let mut input = client.stdin.take().expect("stdin is piped");
    let mut said = BufReader::new(client.stdout.take().expect("stdout is piped")).lines();
    let mut send = async |line: &str| {
        input.write_all(format!("{line}\n").as_bytes()).await.expect("the client reads");
    };
    let mut says = async || {
        let line = timeout(PATIENCE, said.next_line()).await.expect("the client goes on");
        line.expect("it is text").unwrap_or_default()
    };
    let call = async |extension: &str| format!("callID={}", gateway.call(extension).await.id);

    send("correct horse").await;
    send(&call("8856").await).await;
    assert_eq!(says().await, "logged in with Basic");
    assert_eq!(says().await, "code 0");
    send(&call("8857").await).await;
    assert_eq!(says().await, "code 0", "the token is still good");

    gateway.clock.advance(HOUR);
    send(&call("8858").await).await;
    let expired = says().await;
    assert!(expired.starts_with("code -43 ") && expired.ends_with(": logging in again"));
    assert_eq!(says().await, "logged in with Basic");
    assert_eq!(says().await, "code 0");

    drop(input);
    assert_eq!(says().await, "token released");
    let ended = timeout(PATIENCE, client.wait()).await.expect("the client ends");
    assert!(ended.expect("it can be waited for").success());
    assert_eq!(gateway.recorded(), 3, "none was recorded twice");
    let sessions = "SELECT count(*) FROM sessions WHERE user IS NOT NULL";
    assert_eq!(gateway.value::<i64>(sessions), 2);
}

#[tokio::test]
async fn a_client_sends_a_password_in_the_query_only_after_basic_and_only_when_it_may() {
    let gateway = Gateway::start().await;
    let key = gateway.new_key(&["--requires-token"]).await;
    gateway.run_with_input(&["users", "create", "night-shift"], "correct horse\n").await;
    let uses = "SELECT max(query_password_uses) FROM keys";
    for (flags, steps, used) in [(&["--no-query-password"][..], 1, 0), (&[], 2, 1)] {
        let url = format!("http://{}/verba/api", gateway.legacy);
        let mut client = client(&[&[&*url, &key.secret, "night-shift"], flags].concat());
        let mut input = client.stdin.take().expect("stdin is piped");
        input.write_all(b"a wrong one\ncallID=1\n").await.expect("the client reads");
        drop(input);
        let ended = timeout(PATIENCE, client.wait_with_output()).await.expect("the client ends");
        let ended = ended.expect("it can be waited for");
        let said = String::from_utf8(ended.stdout).expect("text");
        assert!(!ended.status.success(), "{said}");
        assert_eq!(said.matches("code -40 ").count(), steps, "{said}");
        let probe = async || (gateway.value::<i64>(uses) == used).then_some(());
        until("the use of a query password is counted", probe).await;
    }
}

/// `session.py` with these arguments, its input and output piped.
fn client(arguments: &[&str]) -> Child {
    let mut client = Command::new("python3");
    client.arg("examples/clients/session.py").args(arguments);
    client.current_dir(env!("CARGO_MANIFEST_DIR")).env("NO_PROXY", "*").env("no_proxy", "*");
    client.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    client.spawn().expect("python3 is there: scripts/test installs it")
}

/// Runs a client with the parameters of one of the demo's lines: whether it reported success, and
/// what it said.
async fn ask(client: &[&str], demo: &Demo, what: &str) -> (bool, String) {
    let (url, key) = demo.url_and_key();
    let mut command = Command::new(client[0]);
    command.args(&client[1..]).args([url, key]).args(demo.selector(what));
    let Output { status, stdout, stderr } = run(&mut command).await;
    (status.success(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
}

/// Runs a command in the package's folder, past any proxy.
async fn run(command: &mut Command) -> Output {
    command.current_dir(env!("CARGO_MANIFEST_DIR")).env("NO_PROXY", "*").env("no_proxy", "*");
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = timeout(PATIENCE, output).await.expect("the command ends in time");
    output.expect("the command can be run: scripts/test installs what is missing")
}
