//! The order of checks: of two faults the earlier one is told, and nothing else happens.

use super::login;
use crate::support::{Gateway, Key, Site};

/// Faults in the order in which they are found, each as what it does to a good request, with the
/// code it is answered with.
const FAULTS: [(Fault, i32, &str); 9] = [
    (Fault::Format, -20, "bad_parameter"),
    (Fault::Action, -30, "unknown_action"),
    (Fault::Prefetch, 2, "prefetch"),
    (Fault::Key, -41, "bad_key"),
    (Fault::Token, -43, "token_expired"),
    (Fault::Method, 2, "not_permitted"),
    (Fault::Parameter, -20, "bad_parameter"),
    (Fault::Scope, 2, "not_permitted"),
    (Fault::Call, 2, "not_found"),
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Format,
    Action,
    Prefetch,
    Key,
    Token,
    Method,
    Parameter,
    Scope,
    Call,
}

/// The request of a key that needs a token and `POST`, with these faults.
fn request(key: &Key, token: &str, call: &str, faults: &[Fault]) -> String {
    let has = |fault| faults.contains(&fault);
    let one = |fault, bad: &str, good: &str| if has(fault) { bad } else { good }.to_owned();
    let parameters = [
        one(Fault::Format, "responseType=YAML", "responseType=XML"),
        one(Fault::Action, "action=DeleteCalls", "action=DeleteCall"),
        one(Fault::Key, "apiKey=x", &format!("apiKey={}", key.secret)),
        one(Fault::Token, "token=x", &format!("token={token}")),
        one(Fault::Parameter, "status=recorded", "status=ongoing"),
        one(Fault::Scope, "scope=all", "scope=leg"),
        one(Fault::Call, "callID=x", &format!("callID={call}")),
        "detail=1".to_owned(),
    ];
    let method = one(Fault::Method, "GET", "POST");
    let header = one(Fault::Prefetch, "Purpose: prefetch", "Purpose: user");
    let query = parameters.join("&");
    format!("{method} /verba/api?{query} HTTP/1.1\r\nHost: a\r\n{header}\r\n\r\n")
}

#[tokio::test]
async fn of_two_faults_the_earlier_one_is_told() {
    let site = Site::new().await;
    let key = site.key(&["--requires-token", "--post-only"]).await;
    let token = site.token(&key).await;
    let gateway = Gateway::serve(site).await;
    let call = gateway.call("8856").await;
    for (earlier, (fault, code, word)) in FAULTS.iter().enumerate() {
        for (other, _, _) in &FAULTS[earlier..] {
            let answer = gateway.ask(request(&key, &token, &call.id, &[*other, *fault])).await;
            let found = (answer.code(), answer.word());
            assert_eq!(found, (*code, *word), "{fault:?} before {other:?}");
        }
    }
    assert_eq!((gateway.recorded(), gateway.graph.requests().await.len()), (0, 0));
    assert_eq!(gateway.ask(request(&key, &token, &call.id, &[])).await.word(), "sent");
}

#[tokio::test]
async fn all_faults_at_once_are_answered_by_the_first() {
    let site = Site::new().await;
    let key = site.key(&["--requires-token", "--post-only"]).await;
    let gateway = Gateway::serve(site).await;
    let mut faults: Vec<Fault> = FAULTS.iter().map(|(fault, ..)| *fault).collect();
    for (_, code, word) in FAULTS {
        let answer = gateway.ask(request(&key, "x", "x", &faults)).await;
        // Without its own fault the token of this test is a bad one all the same.
        let found = (answer.code(), answer.word());
        let expected = match faults.first() {
            Some(Fault::Method | Fault::Parameter | Fault::Scope | Fault::Call) => {
                (-43, "token_expired")
            }
            _ => (code, word),
        };
        assert_eq!(found, expected, "{faults:?}");
        faults.remove(0);
    }
}

#[tokio::test]
async fn a_login_is_looked_at_after_everything_else() {
    let (site, key) = login::site().await;
    let bare = site.key(&["--right", "GetCallID"]).await;
    let gateway = Gateway::serve(site).await;
    let wrong = login::basic("nobody:wrong");
    let ask = async |key: &str, rest: &str, header: &str| {
        let query = format!("action=RequestToken&detail=1&apiKey={key}&{rest}");
        let head = format!("HTTP/1.1\r\nHost: a\r\n{header}");
        gateway.ask(format!("GET /verba/api?{query} {head}\r\n\r\n")).await
    };
    // Each has all the faults of those below it. A token is not looked at.
    for (key, rest, code, word) in [
        ("x", "responseType=YAML&userName=x&token=x", -20, "bad_parameter"),
        ("x", "userName=x&token=x", -41, "bad_key"),
        (bare.secret.as_str(), "userName=x&token=x", 2, "not_permitted"),
        (&key.secret, "userName=x&token=x", -20, "bad_parameter"),
        (&key.secret, "token=x", -40, "bad_login"),
    ] {
        let answer = ask(key, rest, &wrong).await;
        assert_eq!((answer.code(), answer.word()), (code, word), "{rest}");
    }
    let purpose = format!("{wrong}\r\nPurpose: prefetch");
    assert_eq!(ask("x", "", &purpose).await.word(), "prefetch");
    assert_eq!(gateway.value::<i64>("SELECT count(*) FROM sessions"), 0);
}

#[tokio::test]
async fn sizes_come_before_the_path_and_the_path_before_the_method() {
    let gateway = Gateway::start().await;
    let long = "a".repeat(9_000);
    let header = format!("X: {}", "x".repeat(33_000));
    for (line, header, status) in [
        (format!("PUT /other?{long}"), header.as_str(), 414),
        ("PUT /other".to_owned(), header.as_str(), 431),
        ("PUT /other".to_owned(), "X: y", 404),
        ("PUT /verba/api".to_owned(), "X: y", 405),
    ] {
        let answer = gateway.ask(format!("{line} HTTP/1.1\r\nHost: a\r\n{header}\r\n\r\n")).await;
        assert_eq!(answer.status, status, "{line:.20}");
    }
}

#[tokio::test]
async fn a_broken_detail_or_format_is_told_in_its_turn_and_in_a_readable_form() {
    let gateway = Gateway::start().await;
    // The format is the first step: it hides everything, and the answer is XML.
    let answer = gateway.get("responseType=YAML&detail=1").await;
    assert_eq!((answer.code(), answer.word()), (-20, "bad_parameter"));
    // A broken detail waits for the step that reads it.
    assert_eq!(gateway.get("detail=x").await.code(), -30);
    assert_eq!(gateway.get("action=DeleteCall&detail=x").await.code(), -41);
    let answer = gateway.delete("callID=x&detail=x&responseType=json").await;
    assert_eq!(answer.code(), -20);
    assert_eq!(answer.header("content-type"), Some("application/json; charset=UTF-8"));
}
