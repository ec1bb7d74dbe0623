//! Requests to the byte, and answers of every kind.

use std::time::Duration;

use super::*;
use crate::clock::{Clock, Timestamp};
use crate::graph::error::LoginError;
use crate::graph::responder::{Reaction, Responder, answer, client, config, grant, tenant};
use crate::graph::{ClientError, http_client};
use crate::model::call::CallState;

const CALL: &str = "57dab8b1-894c-409a-b240-bd8beae78896";
const GONE: &str = r#"{"error":{"code":"8522","message":"Call not found."}}"#;

fn clock() -> Clock {
    Clock::manual(Timestamp(1_790_000_000_000))
}

/// Hangs up after one grant of a token; gives the answer and the requests, the login's first.
async fn hang_up(id: &str, reactions: Vec<Reaction>) -> (Answer, Vec<String>) {
    let mut all = vec![grant("FAKE.ACCESS.TOKEN", 3599)];
    all.extend(reactions);
    let there = Responder::start(all);
    let client = client(&there.url, &there.url, &clock());
    let answer = client.hang_up(&tenant(), &GraphCallId(id.to_owned())).await;
    (answer, there.requests())
}

fn no_content() -> Reaction {
    Reaction::Answer("HTTP/1.1 204 No Content\r\n\r\n".to_owned())
}

#[tokio::test]
async fn both_requests_are_right_to_the_byte() {
    let there = Responder::start([grant("FAKE.ACCESS.TOKEN", 3599), no_content()]);
    let client = client(&there.url, &there.url, &clock());
    let answer = client.hang_up(&tenant(), &GraphCallId(CALL.to_owned())).await;
    answer.result.unwrap();
    let host = there.url.strip_prefix("http://").unwrap();
    let version = env!("CARGO_PKG_VERSION");
    let scope_host = host.replace(':', "%3A");
    let form = format!(
        "client_id=2891555a-92ff-42e6-80fa-6e1300c6b5c6&client_secret=s%7Ecr%26t%2F1\
         &grant_type=client_credentials&scope=http%3A%2F%2F{scope_host}%2F.default"
    );
    let login = format!(
        "POST /72f988bf-86f1-41af-91ab-2d7cd011db47/oauth2/v2.0/token HTTP/1.1\r\n\
         content-type: application/x-www-form-urlencoded\r\n\
         accept: application/json\r\n\
         user-agent: callgate/{version}\r\n\
         host: {host}\r\n\
         content-length: {}\r\n\r\n{form}",
        form.len()
    );
    let id = answer.client_request_id.unwrap();
    let hang_up = format!(
        "DELETE /v1.0/communications/calls/{CALL} HTTP/1.1\r\n\
         accept: application/json\r\n\
         authorization: Bearer FAKE.ACCESS.TOKEN\r\n\
         client-request-id: {id}\r\n\
         user-agent: callgate/{version}\r\n\
         host: {host}\r\n\r\n"
    );
    assert_eq!(there.requests(), [login, hang_up]);
    assert_eq!(crate::id::canonical_guid(&id), Some(id));
}

#[tokio::test]
async fn an_id_is_one_segment_of_the_path_whatever_is_in_it() {
    for (id, segment) in [
        ("id with/odd?chars", "id%20with%2Fodd%3Fchars"),
        ("AbC", "AbC"),
        ("...", "..."),
        ("%2e%2E", "%252e%252E"),
        ("../../x", "..%2F..%2Fx"),
        ("a\\..\\b#c\t\r\n", "a%5C..%5Cb%23c%09%0D%0A"),
        ("ü", "%C3%BC"),
    ] {
        let (answer, requests) = hang_up(id, vec![no_content()]).await;
        answer.result.unwrap();
        let line = requests[1].lines().next().unwrap();
        assert_eq!(line, format!("DELETE /v1.0/communications/calls/{segment} HTTP/1.1"));
    }
}

#[tokio::test]
async fn an_id_that_would_change_the_path_is_not_sent() {
    let long = "x".repeat(1025);
    for id in ["", ".", "..", &long] {
        let (answer, requests) = hang_up(id, vec![no_content()]).await;
        assert!(matches!(answer.result, Err(GraphError::UnusableId)), "{id:?} {answer:?}");
        assert_eq!((requests.len(), answer.client_request_id), (0, None));
    }
}

#[tokio::test]
async fn what_graph_says_about_an_answer_is_kept_without_the_token() {
    let headers = "request-id: 0e0e\r\nclient-request-id: other\r\n\
                   Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
                   x-ms-ags-diagnostic: {\"saw\":\"FAKE.ACCESS.TOKEN\"}\r\n";
    let body = r#"{"error":{"code":"BadRequest","message":"FAKE.ACCESS.TOKEN\nsecond"}}"#;
    let (answer, _) = hang_up(CALL, vec![answer("400 Bad Request", headers, body)]).await;
    assert_eq!(answer.status, Some(400));
    assert_eq!(answer.request_id.as_deref(), Some("0e0e"));
    assert_eq!(answer.client_request_id.as_deref(), Some("other"));
    assert_eq!(answer.date.as_deref(), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
    assert_eq!(answer.diagnostic.as_deref(), Some(r#"{"saw":"(hidden)"}"#));
    assert_eq!(
        answer.result.unwrap_err().explanation(),
        "Graph refused the request with status 400: BadRequest: (hidden) second"
    );
}

#[tokio::test]
async fn a_call_that_graph_does_not_know_is_told_from_a_404_of_somebody_else() {
    let (known, _) = hang_up(CALL, vec![answer("404 Not Found", "", GONE)]).await;
    assert!(matches!(known.result, Err(GraphError::NotFound)), "{known:?}");
    for body in ["<html>", r#"{"error":{"code":"ResourceNotFound"}}"#] {
        let (foreign, _) = hang_up(CALL, vec![answer("404 Not Found", "", body)]).await;
        let is_foreign = matches!(foreign.result, Err(GraphError::ForeignNotFound { .. }));
        assert!(is_foreign, "{foreign:?}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_keeps_its_status() {
    for status in [403, 404] {
        let torn =
            format!("HTTP/1.1 {status} No\r\nContent-Length: 50\r\n\r\n{{\"error\":{{\"code\"");
        let (torn, _) = hang_up(CALL, vec![Reaction::BreakOff(torn)]).await;
        assert_eq!(torn.status, Some(status));
        let error = torn.result.unwrap_err();
        assert!(
            matches!(error, GraphError::Torn { status: kept, .. } if kept == status),
            "{error:?}"
        );
        assert!(!error.explanation().contains("http://"), "{}", error.explanation());
    }
}

#[tokio::test]
async fn the_longest_retry_after_counts_and_a_date_is_seen_from_graphs_clock() {
    let month = Duration::from_hours(720);
    for (headers, expected) in [
        ("Retry-After: 2.128\r\n", Some(Duration::from_millis(2_128))),
        ("Retry-After: 1\r\nRetry-After: 7\r\n", Some(Duration::from_secs(7))),
        (
            "Retry-After: Sun, 06 Nov 1994 08:49:47 GMT\r\n\
             Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
            Some(Duration::from_secs(10)),
        ),
        ("Retry-After: Sun, 06 Nov 2033 08:49:47 GMT\r\n", Some(month)),
        ("Retry-After: soon\r\n", None),
        ("", None),
    ] {
        let (answer, _) = hang_up(CALL, vec![answer("429 Slow", headers, "")]).await;
        match answer.result {
            Err(GraphError::Throttled { retry_after }) => assert_eq!(retry_after, expected),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = answer("307 Temporary Redirect", "Location: /elsewhere\r\n", "");
    let (answer, requests) = hang_up(CALL, vec![elsewhere, no_content()]).await;
    assert!(matches!(answer.result, Err(GraphError::Redirected { status: 307 })));
    assert_eq!(requests.len(), 2);
}

#[tokio::test]
async fn a_body_without_end_is_cut() {
    let head = "HTTP/1.1 500 Oops\r\nContent-Length: 10000000\r\n\r\n";
    let body = "x".repeat(100_000);
    let (answer, _) = hang_up(CALL, vec![Reaction::Answer(format!("{head}{body}"))]).await;
    assert!(
        matches!(answer.result, Err(GraphError::ServerError { status: 500, code: None })),
        "{answer:?}"
    );
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_lost_and_not_sent_for_again() {
    for reaction in [
        Reaction::BreakOff(String::new()),
        Reaction::BreakOff("HTTP/1.1 20".to_owned()),
        Reaction::BreakOff("what?\r\n\r\n".to_owned()),
        Reaction::Silence,
    ] {
        let (answer, requests) = hang_up(CALL, vec![reaction, no_content()]).await;
        assert!(matches!(answer.result, Err(GraphError::Lost(_))), "{answer:?}");
        assert_eq!((requests.len(), answer.status), (2, None));
        assert!(answer.client_request_id.is_some());
        let text = answer.result.unwrap_err().explanation();
        assert!(!text.contains("http://") && !text.contains("TOKEN"), "{text}");
    }
}

#[tokio::test]
async fn a_graph_that_does_not_listen_is_told_from_a_lost_answer() {
    let login = Responder::start([grant("t", 3599)]);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let client = client(&nobody, &login.url, &clock());
    let answer = client.hang_up(&tenant(), &GraphCallId(CALL.to_owned())).await;
    assert!(matches!(answer.result, Err(GraphError::Connect(_))), "{answer:?}");
}

#[tokio::test]
async fn a_failed_handshake_is_told_from_a_lost_answer() {
    // The answer to a TLS greeting is no TLS, or nothing.
    for bytes in ["HTTP/1.1 400 Bad Request\r\n\r\n", ""] {
        let plain = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let secure = format!("https://{}", plain.local_addr().unwrap());
        std::thread::spawn(move || {
            use std::io::{Read, Write};
            let (mut stream, _) = plain.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]);
            stream.write_all(bytes.as_bytes()).unwrap();
        });
        let login = Responder::start([grant("t", 3599)]);
        let config = config(&secure, &login.url);
        let client =
            GraphClient::with(http_client(&config, false).unwrap(), &config, clock()).unwrap();
        let answer = client.hang_up(&tenant(), &GraphCallId(CALL.to_owned())).await;
        assert!(matches!(answer.result, Err(GraphError::Tls(_))), "{answer:?}");
    }
}

#[tokio::test]
async fn after_a_401_the_request_is_repeated_once_with_a_new_token() {
    let challenge = "WWW-Authenticate: Bearer error=\"insufficient_claims\", \
                     claims=\"eyJhIjoxfQ==\"\r\n";
    let there = Responder::start([
        grant("first", 3599),
        answer("401 Unauthorized", challenge, ""),
        grant("second", 3599),
        no_content(),
        no_content(),
    ]);
    let client = client(&there.url, &there.url, &clock());
    let call = GraphCallId(CALL.to_owned());
    client.hang_up(&tenant(), &call).await.result.unwrap();
    client.hang_up(&tenant(), &call).await.result.unwrap();
    let requests = there.requests();
    assert_eq!(requests.len(), 5);
    assert!(!requests[0].contains("claims"), "{}", requests[0]);
    assert!(requests[1].contains("authorization: Bearer first\r\n"), "{}", requests[1]);
    assert!(requests[2].ends_with("&claims=%7B%22a%22%3A1%7D"), "{}", requests[2]);
    assert!(requests[3].contains("authorization: Bearer second\r\n"), "{}", requests[3]);
    assert!(requests[4].contains("authorization: Bearer second\r\n"), "{}", requests[4]);
    let ids = [1, 3].map(|n: usize| {
        requests[n].lines().find(|line| line.starts_with("client-request-id")).unwrap()
    });
    assert_ne!(ids[0], ids[1]);
}

#[tokio::test]
async fn a_second_401_is_not_repeated() {
    let refused = || answer("401 Unauthorized", "", "");
    let reactions = vec![refused(), grant("second", 3599), refused(), no_content()];
    let (answer, requests) = hang_up(CALL, reactions).await;
    assert!(matches!(answer.result, Err(GraphError::Unauthorized)), "{answer:?}");
    assert_eq!((requests.len(), answer.status), (4, Some(401)));
}

#[tokio::test]
async fn without_a_token_nothing_is_sent() {
    let refusal = r#"{"error":"invalid_client","error_codes":[7000215]}"#;
    let there = Responder::start([answer("401 Unauthorized", "", refusal)]);
    let client = client(&there.url, &there.url, &clock());
    let call = GraphCallId(CALL.to_owned());
    let answer = client.hang_up(&tenant(), &call).await;
    assert!(
        matches!(answer.result, Err(GraphError::Login(LoginError::Refused { .. }))),
        "{answer:?}"
    );
    assert_eq!((there.requests().len(), answer.client_request_id), (1, None));
    let other = client.hang_up(&TenantId::new("other.example"), &call).await;
    assert!(matches!(other.result, Err(GraphError::Login(LoginError::NotConfigured))));
}

#[test]
fn a_client_is_refused_when_its_urls_are_none() {
    let refused = |config| GraphClient::new(&config, clock()).unwrap_err();
    assert!(matches!(refused(config("graph", "http://x")), ClientError::BaseUrl { .. }));
    assert!(matches!(refused(config("http://x", "")), ClientError::LoginUrl { .. }));
    let mut dots = config("http://x", "http://x");
    dots.tenant.as_mut().unwrap().id = TenantId::new("..");
    assert!(matches!(refused(dots), ClientError::Tenant));
}

/// Reads the call after one grant of a token; gives the answer and the requests, the login's first.
async fn read_call(reactions: Vec<Reaction>) -> (Answer<CallChange>, Vec<String>) {
    let mut all = vec![grant("FAKE.ACCESS.TOKEN", 3599)];
    all.extend(reactions);
    let there = Responder::start(all);
    let client = client(&there.url, &there.url, &clock());
    let answer = client.read_call(&tenant(), &GraphCallId(CALL.to_owned())).await;
    (answer, there.requests())
}

#[tokio::test]
async fn a_call_is_read_by_a_get_without_a_body() {
    let body = format!(r#"{{"id":"{CALL}","state":"hold","source":null}}"#);
    let (answer, requests) = read_call(vec![answer("200 OK", "request-id: 0e0e\r\n", &body)]).await;
    assert_eq!((answer.status, answer.request_id.as_deref()), (Some(200), Some("0e0e")));
    assert_eq!(answer.result.unwrap().state, Some(CallState::Hold));
    let line = format!("GET /v1.0/communications/calls/{CALL} HTTP/1.1\r\n");
    assert!(requests[1].starts_with(&line), "{}", requests[1]);
    assert!(requests[1].contains("authorization: Bearer FAKE.ACCESS.TOKEN\r\n"));
    assert!(requests[1].ends_with("\r\n\r\n") && !requests[1].contains("content-"));
}

#[tokio::test]
async fn a_success_that_is_not_the_call_says_nothing_about_it() {
    let call = |more: &str| format!(r#"{{"id":"{CALL}","state":"established"{more}}}"#);
    let long = call(&format!(r#","subject":"{}""#, "x".repeat(LONGEST_CALL)));
    let other = r#"{"id":"other","state":"established"}"#;
    for body in ["", "<html>welcome</html>", other, "[]", &call("")[..20], &long] {
        let (answer, _) = read_call(vec![answer("200 OK", "", body)]).await;
        let error = answer.result.unwrap_err();
        assert!(matches!(error, GraphError::Unreadable { status: 200 }), "{error:?}");
        assert!(error.hint().is_some());
    }
    let long = call(&format!(r#","subject":"{}""#, "x".repeat(500_000)));
    let (answer, _) = read_call(vec![answer("200 OK", "", &long)]).await;
    assert!(answer.result.is_ok(), "half a megabyte is whole");
}

#[tokio::test]
async fn a_call_that_breaks_off_is_a_lost_answer() {
    let torn = "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"id\":\"".to_owned();
    let (answer, _) = read_call(vec![Reaction::BreakOff(torn)]).await;
    assert_eq!(answer.status, Some(200));
    let error = answer.result.unwrap_err();
    assert!(matches!(error, GraphError::Lost(_)), "{error:?}");
    assert!(!error.explanation().contains("http://"), "{}", error.explanation());
}

#[tokio::test]
async fn refusals_of_a_read_mean_what_they_mean_for_a_hang_up() {
    let (gone, _) = read_call(vec![answer("404 Not Found", "", GONE)]).await;
    assert!(matches!(gone.result, Err(GraphError::NotFound)), "{gone:?}");
    let (foreign, _) = read_call(vec![answer("404 Not Found", "", "<html>")]).await;
    assert!(matches!(foreign.result, Err(GraphError::ForeignNotFound { .. })), "{foreign:?}");
    let reactions = vec![
        answer("401 Unauthorized", "", ""),
        grant("second", 3599),
        answer("404 Not Found", "", GONE),
    ];
    let (renewed, requests) = read_call(reactions).await;
    assert!(matches!(renewed.result, Err(GraphError::NotFound)), "{renewed:?}");
    assert!(requests[3].contains("authorization: Bearer second\r\n"), "{}", requests[3]);
}
