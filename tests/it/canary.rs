//! Canaries: planted secrets and numbers, searched for in everything that a run leaves behind.
//!
//! The real binary logs at its most talkative level while requests of all kinds succeed and fail.
//! Key, token, password and client secret must be in no log, no other answer and no byte of the
//! database; numbers and logins may be in the database, and in no log.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a helper that panics fails its test")]

use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::support::{CLIENT_SECRET, Key, Process, Site, call};

const PASSWORD: &str = "planted-password-77";
const WRONG_PASSWORD: &str = "planted-mistake-88";
const LOGIN: &str = "canary.login";
const NUMBER: &str = "+49301238856";
const CALLER: &str = "+4915199887766";

/// The spellings in which a secret or a number could turn up.
fn spellings(canary: &str) -> Vec<Vec<u8>> {
    let plain: String = canary.chars().filter(char::is_ascii_alphanumeric).collect();
    let mut forms = vec![canary.to_owned(), plain.clone(), canary.replace('+', "%2B")];
    forms.extend(forms.clone().iter().map(|form| form.to_uppercase()));
    let mut forms: Vec<Vec<u8>> = forms.into_iter().map(String::into_bytes).collect();
    // A GUID's sixteen bytes.
    if let Ok(uuid) = uuid::Uuid::try_parse(canary) {
        forms.push(uuid.as_bytes().to_vec());
    }
    forms
}

#[track_caller]
fn assert_absent(place: &str, bytes: &[u8], canary: &str) {
    for form in spellings(canary) {
        let found = bytes.windows(form.len()).position(|window| window == form);
        if let Some(at) = found {
            let around = &bytes[at.saturating_sub(120)..(at + 60).min(bytes.len())];
            panic!("{canary} is in {place}: {}", String::from_utf8_lossy(around));
        }
    }
}

/// Every file of the site but those that are meant to hold a secret.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_file() && name != "callgate.toml" {
            files.push((name, std::fs::read(path).unwrap()));
        }
    }
    files
}

/// Requests of all kinds, successes and failures; gives all answers.
async fn run(site: &Site, process: &Process, guarded: &Key, token: &str) -> String {
    let key = &site.key.secret;
    let number = NUMBER.replace('+', "%2B");
    let mut answers = String::new();
    let mut queries = Vec::new();
    for rest in [
        format!("extension={number}&status=ongoing&dryRun=1"),
        format!("extension={number}&status=ongoing,last&detail=1&reason=because+of+{number}"),
        format!("extension={number}&status=ongoing&detail=1"),
        format!("extension={number}&status=recorded&detail=1"),
        format!("extension={number}%&status=last"),
        format!("extension=tel:{number};x={key}&status=last&detail=1"),
        format!("callID={key}&nativeID={token}&detail=1"),
        format!("call_id={key}&{key}={token}&{token}"),
        format!("callID=x&dryRun={key}"),
        format!("callID=x&responseType={key}"),
        format!("callID=x&scope={number}"),
        format!("callID=x&token={token}"),
        "extension=8899&status=ongoing&detail=1".to_owned(),
    ] {
        queries.push(site.key.query(&rest));
        queries.push(guarded.query(&format!("{rest}&token={token}")));
        queries.push(format!("action=DeleteCall&apiKey={key}x&{rest}"));
    }
    queries.push(guarded.query(&format!("callID=x&token={token}x")));
    queries.push(guarded.query("callID=x"));
    for (login, password) in [
        (format!("userName={LOGIN}"), PASSWORD),
        (format!("userName={LOGIN}&x={PASSWORD}"), WRONG_PASSWORD),
        (format!("userName={WRONG_PASSWORD}"), WRONG_PASSWORD),
        (format!("userName={LOGIN}{WRONG_PASSWORD}&password=x"), WRONG_PASSWORD),
        (format!("user_name={LOGIN}"), PASSWORD),
        (format!("token={token}"), PASSWORD),
    ] {
        let rest = format!("{login}&password={password}");
        queries.push(guarded.ask("RequestToken", &rest));
        queries.push(site.key.ask("RequestToken", &rest));
        // A confused client sends what it logs in with wherever it can.
        queries.push(site.key.query(&format!("nativeID={password}&{rest}")));
    }
    for style in ["XML", "JSON", "HTML", "TEXT"] {
        for query in &queries {
            answers
                .push_str(&process.get(site, &format!("{query}&responseType={style}")).await.body);
        }
    }
    for request in [
        format!("GET /verba/{key}?apiKey={key} HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!("PUT /verba/api?apiKey={key}&extension={number} HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!("GET /verba/api?apiKey={key}&a={} HTTP/1.1\r\n\r\n", "x".repeat(9_000)),
        format!(
            "GET /verba/api?action=DeleteCall&callID=x HTTP/1.1\r\nX-Api-Key: {}\r\n\
             Authorization: Bearer {token}\r\nCookie: k={key}\r\nReferer: http://a/?k={key}\r\n\
             User-Agent: {key}\r\n\r\n",
            guarded.secret
        ),
        login(guarded, &BASE64_STANDARD.encode(format!("{LOGIN}:{PASSWORD}"))),
        login(guarded, &BASE64_STANDARD.encode(format!("{LOGIN}:{WRONG_PASSWORD}"))),
        login(guarded, &format!("{PASSWORD}:{WRONG_PASSWORD}")),
        format!("GET /verba/api?apiKey={key} {number} HTTP/1.1\r\n\r\n"),
        format!("{key} {token}\r\n\r\n"),
    ] {
        answers.push_str(&process.connect(site).await.ask(request).await.body);
    }
    answers
}

fn login(key: &Key, basic: &str) -> String {
    let query = key.ask("RequestToken", &format!("nativeID={basic}"));
    format!("GET /verba/api?{query} HTTP/1.1\r\nHost: a\r\nAuthorization: Basic {basic}\r\n\r\n")
}

/// The tokens that were handed out in XML and in JSON.
fn tokens(answers: &str) -> Vec<&str> {
    let handed_out = answers.split("token=\"").skip(1).chain(answers.split("\"token\":\"").skip(1));
    handed_out.filter_map(|rest| rest.split('"').next()).collect()
}

#[tokio::test]
async fn no_secret_and_no_number_is_where_it_does_not_belong() {
    let site = Site::with("legacy.wait = \"300ms\"\nlog.level = \"trace\"").await;
    let guarded = site.key(&["--requires-token"]).await;
    site.user(LOGIN, PASSWORD).await;
    let token = site.token(&guarded).await;
    let source = json!({"source": CALLER});
    let many = [NUMBER, NUMBER, "8899", "8899"].map(|target| call(target, source.clone()));
    let calls = site.calls(&many[1..]).await;
    let process = Process::start(&site, &["--log", "json"]).await;

    let mut answers = run(&site, &process, &guarded, &token).await;
    // Graph and its login fail in every way, and repeat what they were sent.
    for fault in [
        json!({"method": "DELETE", "status": 403, "times": 1,
            "body": {"error": {"code": "Forbidden", "message": format!("no {CALLER}")}}}),
        json!({"method": "DELETE", "status": 500, "times": 1, "body": format!("<p>{CALLER}")}),
        json!({"method": "DELETE", "reset": "before", "times": 1}),
        json!({"method": "DELETE", "status": 401, "times": 2}),
        json!({"path": "/72f988bf", "status": 401, "times": 2, "body": {
            "error": "invalid_client", "error_description": format!("AADSTS7000215: {CLIENT_SECRET}")}}),
    ] {
        site.graph.fault(fault).await;
    }
    for call in &calls[1..] {
        let query = site.key.query(&format!("callID={}&detail=1&reason={CALLER}", call.id));
        answers.push_str(&process.get(&site, &query).await.body);
    }
    let health = format!("GET /readyz?apiKey={token} HTTP/1.1\r\nHost: a\r\n\r\n");
    answers.push_str(&process.admin(&health).await);
    process.signal("TERM").await;
    let log = process.log.clone();
    assert!(process.end().await.success());
    let logged = std::fs::read_to_string(log).unwrap();

    assert!(logged.lines().count() > 100, "the log says what happened: {logged}");
    let lines: Vec<Value> =
        logged.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    // One line for each request says what a person needs, and nothing that was sent.
    let sent =
        lines.iter().find(|line| line["action"] == "DeleteCall" && line["outcome"] == "sent");
    let sent = sent.expect("a deletion that was sent has its line");
    assert!(uuid::Uuid::try_parse(sent["request.id"].as_str().unwrap()).is_ok());
    assert_eq!(sent["key.id"], site.key.id.as_str());
    assert_eq!((&sent["code"], &sent["status"]), (&json!(0), &json!(200)));
    assert!(sent["duration_ms"].as_f64().unwrap() > 0.0);
    let bearer = "eyJ";
    assert_absent("the log", logged.as_bytes(), bearer);
    for (name, bytes) in files(site.folder()) {
        for secret in [&site.key.secret, &guarded.secret, &token, CLIENT_SECRET] {
            assert_absent(&name, &bytes, secret);
        }
        let made = tokens(&answers);
        assert!(made.len() > 2, "somebody was logged in");
        let basic = BASE64_STANDARD.encode(format!("{LOGIN}:{PASSWORD}"));
        for secret in made.into_iter().chain([PASSWORD, WRONG_PASSWORD, &basic]) {
            assert_absent(&name, &bytes, secret);
        }
    }
    for number in [NUMBER, CALLER, "9887766", "01238856", LOGIN] {
        assert_absent("the log", logged.as_bytes(), number);
    }
    let secrets = [&site.key.secret, &guarded.secret, &token, CLIENT_SECRET, NUMBER, CALLER];
    for secret in secrets.into_iter().chain([PASSWORD, WRONG_PASSWORD, LOGIN]) {
        assert_absent("the answers", answers.as_bytes(), secret);
    }
    // The search finds what is there: the numbers in the database.
    let database = std::fs::read(site.folder().join("callgate.db")).unwrap();
    assert!(std::panic::catch_unwind(|| assert_absent("x", &database, CALLER)).is_err());
}

#[tokio::test]
async fn no_command_shows_a_secret_a_second_time() {
    let site = Site::new().await;
    let token = {
        let guarded = site.key(&["--requires-token"]).await;
        site.token(&guarded).await
    };
    for arguments in [
        &["keys", "list", "--json"][..],
        &["keys", "list"],
        &["deletions", "list", "--json"],
        &["calls", "list", "--json"],
        &["check"],
    ] {
        let output = site.command(arguments).arg("-vv").output().await.unwrap();
        for bytes in [&output.stdout, &output.stderr] {
            for secret in [&site.key.secret, &token, CLIENT_SECRET] {
                assert_absent(&arguments.join(" "), bytes, secret);
            }
        }
    }
}
