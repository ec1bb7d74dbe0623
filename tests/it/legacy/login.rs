//! `RequestToken`: how a login is sent, what it gives, and how it is refused.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use serde_json::json;

use super::formats::golden;
use crate::support::{Answer, Gateway, Key, Site};

pub(super) const LOGIN: &str = "jürgen";
pub(super) const PASSWORD: &str = "größe:€ 42";
/// The two of them as parameters, in UTF-8 and in Windows-1252.
const UTF_8: &str = "userName=j%C3%BCrgen&password=gr%C3%B6%C3%9Fe:%E2%82%AC+42";
const WINDOWS: &str = "userName=j%FCrgen&password=gr%F6%DFe:%80+42";
const NO_CALL: &str = "callID=57dab8b1-894c-409a-b240-bd8beae78896";

/// A site with somebody who may log in, and a key that needs it.
pub(super) async fn site() -> (Site, Key) {
    site_with("").await
}

async fn site_with(lines: &str) -> (Site, Key) {
    let site = Site::with(lines).await;
    site.user(LOGIN, PASSWORD).await;
    let key = site.key(&["--requires-token"]).await;
    (site, key)
}

/// The header for these bytes.
pub(super) fn basic(bytes: impl AsRef<[u8]>) -> String {
    format!("Authorization: Basic {}", BASE64_STANDARD.encode(bytes))
}

fn good() -> String {
    basic(format!("{LOGIN}:{PASSWORD}"))
}

/// The answer to a `RequestToken` by `GET` with these headers.
pub(super) async fn request(gateway: &Gateway, key: &Key, headers: &[&str], rest: &str) -> Answer {
    let query = key.ask("RequestToken", &format!("detail=1&{rest}"));
    let lines = [&["Host: a"], headers].concat().join("\r\n");
    gateway.ask(format!("GET /verba/api?{query} HTTP/1.1\r\n{lines}\r\n\r\n")).await
}

/// Whether a token lets its key act: code 2 says that the call was looked for.
async fn code_with(gateway: &Gateway, key: &Key, token: &str) -> i32 {
    gateway.get(&key.query(&format!("{NO_CALL}&token={token}"))).await.code()
}

#[tokio::test]
async fn a_login_is_taken_from_header_query_and_form_in_both_encodings() {
    let (site, key) = site().await;
    let gateway = Gateway::serve(site).await;
    let windows = basic(b"j\xfcrgen:gr\xf6\xdfe:\x80 42");
    let unpadded = BASE64_STANDARD_NO_PAD.encode(format!("{LOGIN}:{PASSWORD}"));
    let unpadded = format!("authorization: bASIC  {unpadded}");
    let other_case = basic(format!("JÜRGEN:{PASSWORD}").replace("JÜ", "Jü"));
    let mut tokens = Vec::new();
    for (headers, rest) in [
        (&[good().as_str()][..], ""),
        (&[&windows], ""),
        (&[&unpadded], ""),
        (&[&other_case], ""),
        (&[&good(), &good(), "Authorization: Bearer x"], "token=x"),
        (&[], UTF_8),
        (&[], WINDOWS),
        (&[&good()], WINDOWS),
        (&[&windows], "userName=j%C3%BCrgen"),
        (&["Cookie: JSESSIONID=x"], UTF_8),
    ] {
        let answer = request(&gateway, &key, headers, rest).await;
        assert_eq!((answer.status, answer.code()), (200, 0), "{headers:?} {rest}");
        tokens.push(answer.attribute("token").to_owned());
    }
    for form in [UTF_8, WINDOWS] {
        let answer = gateway.post(&key.ask("RequestToken", ""), form).await;
        tokens.push(answer.attribute("token").to_owned());
    }
    let answer = gateway.post("", &key.ask("requesttoken", UTF_8)).await;
    tokens.push(answer.attribute("token").to_owned());
    for token in &tokens {
        assert_eq!(code_with(&gateway, &key, token).await, 2, "{token}");
    }
    let made = tokens.len();
    tokens.sort();
    tokens.dedup();
    assert_eq!(tokens.len(), made, "no token is given twice");
    let hour = "SELECT count(*) FROM sessions WHERE expires_at = created_at + 3600000 AND user = 1";
    assert_eq!(usize::try_from(gateway.value::<i64>(hour)), Ok(made));
}

/// The answer without the one time that differs from run to run.
fn without_expiry(mut answer: Answer) -> Answer {
    if let Some(at) = answer.body.find("xpiresAt")
        && let Some(digit) = answer.body[at..].find(|c: char| c.is_ascii_digit())
    {
        let time = at + digit..at + digit + "2026-11-22T05:32:55.123Z".len();
        answer.body.replace_range(time, "[time]");
    }
    answer
}

#[tokio::test]
async fn a_token_reads_like_this() {
    let (site, key) = site().await;
    let gateway = Gateway::serve(site).await;
    golden("request_token", &[], async |style| {
        let query = key.ask("RequestToken", style);
        let head = format!("HTTP/1.1\r\nHost: a\r\n{}", good());
        without_expiry(gateway.ask(format!("GET /verba/api?{query} {head}\r\n\r\n")).await)
    })
    .await;
}

#[tokio::test]
async fn a_public_client_finds_what_it_reads() {
    let (site, key) = site().await;
    let gateway = Gateway::serve(site).await;
    let query = key.ask("RequestToken", UTF_8);
    let answer = gateway.get(&query).await;
    let token = answer.attribute("token");
    assert_eq!(uuid::Uuid::try_parse(token).unwrap().hyphenated().to_string(), token);
    let session = answer.element("SessionId");
    assert!(session.len() == 32 && session.bytes().all(|digit| digit.is_ascii_hexdigit()));
    assert_eq!(answer.element("SessionParameterName"), "jsessionid");
    assert_eq!(answer.element("SessionCookieName"), "JSESSIONID");
    assert_eq!(answer.element("Remote"), "false");
    // The session id authenticates nothing, neither as token nor as cookie.
    assert_eq!(code_with(&gateway, &key, session).await, -43);
    let request = format!("GET /verba/api?{} HTTP/1.1\r\n", key.query(NO_CALL));
    let cookie = format!("{request}Host: a\r\nCookie: JSESSIONID={session}\r\n\r\n");
    assert_eq!(gateway.ask(cookie).await.code(), -42);
    // A client that sends cookie and bearer beside the parameter is served.
    let token = format!("{NO_CALL}&token={token}");
    let request = format!("GET /verba/api?{} HTTP/1.1\r\n", key.query(&token));
    let both =
        format!("Host: a\r\nCookie: JSESSIONID={session}\r\nAuthorization: Bearer x\r\n\r\n");
    assert_eq!(gateway.ask(format!("{request}{both}")).await.code(), 2);
}

#[tokio::test]
async fn whoever_sends_no_login_is_asked_for_it() {
    let (site, key) = site().await;
    let gateway = Gateway::serve(site).await;
    golden("login_needed", &[], async |style| gateway.get(&key.ask("RequestToken", style)).await)
        .await;
    for headers in [&["Authorization: Bearer x"][..], &["Authorization: Basic"], &["Cookie: a=b"]] {
        let answer = request(&gateway, &key, headers, "userName=&password=").await;
        assert_eq!((answer.status, answer.code(), answer.word()), (401, -40, "bad_login"));
        let challenge = "Basic realm=\"callgate\", charset=\"UTF-8\"";
        assert_eq!(answer.header("www-authenticate"), Some(challenge));
    }
}

#[tokio::test]
async fn the_challenge_can_be_switched_off() {
    let (site, key) = site_with("legacy.basic_challenge = false").await;
    let gateway = Gateway::serve(site).await;
    let answer = request(&gateway, &key, &[], "").await;
    assert_eq!((answer.status, answer.code(), answer.word()), (200, -40, "bad_login"));
    assert_eq!(answer.header("www-authenticate"), None);
}

#[tokio::test]
async fn every_login_that_is_not_accepted_gets_one_answer() {
    let (site, key) = site().await;
    site.user("gone", PASSWORD).await;
    site.run(&["users", "disable", "gone"]).await;
    let gateway = Gateway::serve(site).await;
    let long = basic("x".repeat(20_000));
    let mut bodies = Vec::new();
    for headers in [
        &[basic(format!("{LOGIN}:wrong")).as_str()][..],
        &[&basic(format!("nobody:{PASSWORD}"))],
        &[&basic(format!("gone:{PASSWORD}"))],
        &[&basic(":")],
        &[&basic("jane")],
        &["Authorization: Basic %%%"],
        &["Authorization: Basic \u{fc}"],
        &[&long],
        &[&good(), &basic("x:y")],
    ] {
        let answer = request(&gateway, &key, headers, "").await;
        let found = (answer.status, answer.code(), answer.word());
        assert_eq!(found, (200, -40, "bad_login"), "{headers:?}");
        bodies.push(answer.body);
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    let huge = format!("Authorization: Basic {}", "x".repeat(64 * 1024));
    assert_eq!(request(&gateway, &key, &[&huge], "").await.status, 431);
    assert_eq!(gateway.value::<i64>("SELECT count(*) FROM sessions"), 0);
    golden("bad_login", &[], async |style| {
        gateway.get(&key.ask("RequestToken", &format!("userName=x&password=y&{style}"))).await
    })
    .await;
}

#[tokio::test]
async fn half_a_login_and_two_that_differ_are_parameter_errors() {
    let (site, key) = site().await;
    let gateway = Gateway::serve(site).await;
    let basic = good();
    let long = format!("userName=j%FCrgen&password={}", "x".repeat(1025));
    for (headers, rest, text) in [
        (&[][..], "userName=zzz", "Parameter password is missing beside userName."),
        (&[], "password=zzz", "Parameter userName is missing beside password."),
        (
            &[basic.as_str()],
            "userName=zzz&password=zzz",
            "Parameter userName differs from Authorization: Basic: send one of them.",
        ),
        (
            &[&basic],
            "password=zzz",
            "Parameter password differs from Authorization: Basic: send one of them.",
        ),
        (&[], "user_name=zzz", "A parameter is spelt almost like userName: write userName."),
        (&[], &long, "Parameter password is too long: at most 1024 bytes are read."),
    ] {
        let answer = request(&gateway, &key, headers, rest).await;
        let found = (answer.code(), answer.element("ErrorMessage"));
        assert_eq!(found, (-20, text), "{rest}");
    }
    let answer = gateway.post(&key.ask("RequestToken", UTF_8), "password=zzz").await;
    assert_eq!(answer.code(), -20);
    assert_eq!(gateway.value::<i64>("SELECT count(*) FROM sessions"), 0);
}

#[tokio::test]
async fn a_key_can_forbid_passwords_in_the_query_and_else_they_are_counted() {
    let (site, key) = site().await;
    let strict = site.key(&["--requires-token", "--no-query-passwords"]).await;
    let gateway = Gateway::serve(site).await;
    let password = UTF_8.split_once('&').unwrap().1;
    for (headers, rest) in
        [(&[][..], UTF_8), (&[good().as_str()], UTF_8), (&[&good()], password), (&[], "password=x")]
    {
        let answer = request(&gateway, &strict, headers, rest).await;
        let expected = if rest == "password=x" { "bad_parameter" } else { "not_permitted" };
        assert_eq!(answer.word(), expected, "{rest}");
    }
    let answer = request(&gateway, &strict, &[], UTF_8).await;
    let text = "This API key does not permit a password in the query string.";
    assert_eq!(answer.element("ErrorMessage"), text);
    assert_eq!(request(&gateway, &strict, &[&good()], "userName=j%FCrgen").await.code(), 0);
    assert_eq!(
        gateway.post(&strict.ask("RequestToken", "userName=j%FCrgen"), password).await.code(),
        0
    );

    for _ in 0..3 {
        assert_eq!(request(&gateway, &key, &[], UTF_8).await.code(), 0);
    }
    assert_eq!(request(&gateway, &key, &[&good()], "").await.code(), 0);
    let site = gateway.stop().await;
    let uses = |key: &Key| {
        let id = &key.id;
        site.value::<i64>(&format!("SELECT query_password_uses FROM keys WHERE key_id = '{id}'"))
    };
    assert_eq!((uses(&key), uses(&strict)), (3, 0));
}

#[tokio::test]
async fn the_right_to_log_in_comes_with_a_key_that_needs_it_or_by_name() {
    let (site, _) = site().await;
    let plain = site.key(&[]).await;
    let named = site.key(&["--right", "RequestToken"]).await;
    let poster = site.key(&["--right", "RequestToken", "--post-only"]).await;
    let gateway = Gateway::serve(site).await;
    for (key, text) in [(&plain, "RequestToken"), (&poster, "GET")] {
        let answer = request(&gateway, key, &[&good()], "user_name=x").await;
        let text = format!("This API key does not permit {text}.");
        let found = (answer.code(), answer.element("ErrorMessage"));
        assert_eq!(found, (2, text.as_str()));
    }
    assert_eq!(request(&gateway, &named, &[&good()], "").await.code(), 0);
    assert_eq!(gateway.post("", &poster.ask("RequestToken", UTF_8)).await.code(), 0);
}

#[tokio::test]
async fn a_token_ends_with_its_hour_its_user_its_password_and_its_key() {
    let (site, key) = site().await;
    let gateway = Gateway::serve(site).await;
    let token = async || {
        let answer = request(&gateway, &key, &[&good()], "").await;
        answer.attribute("token").to_owned()
    };
    let expired = token().await;
    assert_eq!(code_with(&gateway, &key, &expired).await, 2);
    gateway.change("UPDATE sessions SET expires_at = 1");
    assert_eq!(code_with(&gateway, &key, &expired).await, -43);

    let disabled = token().await;
    assert_eq!(code_with(&gateway, &key, &disabled).await, 2);
    gateway.run(&["users", "disable", LOGIN]).await;
    assert_eq!(code_with(&gateway, &key, &disabled).await, -43);
    assert_eq!(request(&gateway, &key, &[&good()], "").await.code(), -40);
    gateway.run(&["users", "enable", LOGIN]).await;
    assert_eq!(code_with(&gateway, &key, &disabled).await, -43, "it ended for good");

    let last = token().await;
    assert_eq!(code_with(&gateway, &key, &last).await, 2);
    gateway.run(&["keys", "revoke", &key.id]).await;
    assert_eq!(code_with(&gateway, &key, &last).await, -41);
    assert_eq!(request(&gateway, &key, &[&good()], "").await.code(), -41);
}

#[tokio::test]
async fn a_login_that_failed_too_often_is_braked_and_no_valid_key_is() {
    let (site, key) = site().await;
    let gateway = Gateway::serve(site).await;
    let wrong = basic(format!("{LOGIN}:wrong"));
    let mut answer = request(&gateway, &key, &[&wrong], "").await;
    for _ in 0..200 {
        if answer.status == 503 {
            break;
        }
        assert_eq!((answer.status, answer.code()), (200, -40));
        answer = request(&gateway, &key, &[&wrong], "").await;
    }
    assert_eq!((answer.status, answer.code(), answer.word()), (503, -1, "unavailable"));
    let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=3600).contains(&seconds), "{seconds}");
    assert_eq!(gateway.delete(NO_CALL).await.code(), 2);
    let braked = |entry: &serde_json::Value| entry["cause"] == "braked";
    let entry = gateway.audited("a braked login is recorded", braked).await;
    assert_eq!((&entry["decision"], &entry["result"]), (&json!("refused"), &json!("unavailable")));
    assert_eq!(entry["key_id"], key.id.as_str());
}

/// The client of the facts: Basic first, on -40 once more with the login in the query; on -43 it logs
/// in again, once, and repeats.
struct PublicClient<'a> {
    gateway: &'a Gateway,
    key: &'a Key,
    header: String,
    token: String,
    logins: usize,
}

impl PublicClient<'_> {
    async fn log_in(&mut self) {
        self.logins += 1;
        let mut answer = request(self.gateway, self.key, &[&self.header], "").await;
        assert_eq!(answer.status, 200, "it raises on everything else");
        if answer.code() == -40 {
            answer = self.gateway.get(&self.key.ask("RequestToken", UTF_8)).await;
        }
        assert_eq!(answer.code(), 0);
        answer.attribute("token").clone_into(&mut self.token);
    }

    async fn delete(&mut self, call: &str) -> i32 {
        let code = self.delete_once(call).await;
        if code != -43 {
            return code;
        }
        self.log_in().await;
        self.delete_once(call).await
    }

    async fn delete_once(&self, call: &str) -> i32 {
        let query = self.key.query(&format!("callID={call}&token={}", self.token));
        self.gateway.get(&query).await.code()
    }
}

#[tokio::test]
async fn a_public_client_deletes_logs_in_again_after_an_hour_and_repeats() {
    let (site, key) = site().await;
    let gateway = Gateway::serve(site).await;
    let calls = [gateway.call("8856").await, gateway.call("8857").await];
    // Its Basic header is refused: it asks another time with the login in the query.
    for header in [good(), basic("j?rgen:gr??e")] {
        let token = "57dab8b1-894c-409a-b240-bd8beae78896".to_owned();
        let mut client = PublicClient { gateway: &gateway, key: &key, header, token, logins: 0 };
        client.log_in().await;
        assert_eq!(client.delete(&calls[0].id).await, 0);
        assert_eq!(client.logins, 1);
        gateway.change("UPDATE sessions SET expires_at = 1");
        assert_eq!(client.delete(&calls[1].id).await, 0);
        assert_eq!(client.logins, 2);
    }
    assert_eq!(gateway.graph.deletes().await.len(), calls.len());
    let by_user = "SELECT count(*) FROM deletions WHERE user = 1";
    assert_eq!(gateway.value::<i64>(by_user), 2, "who deleted is on record");
}
