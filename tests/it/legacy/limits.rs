//! Sizes: what is read, what is refused with a body, and what stays usable afterwards.

use tokio::net::TcpStream;

use crate::support::{Client, Gateway, Process, Site};

#[tokio::test]
async fn more_clients_than_files_leave_the_admin_listener_reachable() {
    let site = Site::with("graph.concurrency = 8").await;
    let process = Process::start_with_files(&site, 168, &[]).await;
    let mut connections = Vec::new();
    for _ in 0..150 {
        connections.push(TcpStream::connect(process.legacy).await.unwrap());
    }
    // Connections are accepted in the order they were made: an answer to the last that fits shows
    // that all before it are open.
    let last = connections.swap_remove(23);
    let mut last = Client::new(last, site.answers.clone());
    let request =
        format!("GET /verba/api?{} HTTP/1.1\r\nHost: a\r\n\r\n", site.key.query("callID=x"));
    assert_eq!(last.ask(request).await.code(), 2);
    let health = process.admin("GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(health.starts_with("ready"), "{health}");
    let log = std::fs::read_to_string(&process.log).unwrap();
    let warning = "listen.max_connections is 10000, but this process may have 168 files open: at \
                   most 24 connections are taken";
    assert!(log.contains(warning), "{log}");
    let warning = "notifications.max_connections is 2000, but this process may have 168 files open: \
                   at most 8 connections are taken";
    assert!(log.contains(warning), "{log}");
}

#[tokio::test]
async fn a_request_line_has_8_kib() {
    let gateway = Gateway::start().await;
    let query = gateway.query("callID=x&_=");
    let fixed = "GET /verba/api? HTTP/1.1".len() + query.len();
    let mut client = gateway.connect().await;
    for (length, status) in [(8192, 200), (8193, 414), (60_000, 414), (8192, 200)] {
        let line = format!("GET /verba/api?{query}{} HTTP/1.1", "a".repeat(length - fixed));
        assert_eq!(line.len(), length);
        let answer = client.ask(format!("{line}\r\nHost: a\r\n\r\n")).await;
        assert_eq!(answer.status, status, "{length}");
        assert_eq!(answer.code(), if status == 200 { 2 } else { -20 });
    }
}

#[tokio::test]
async fn headers_have_32_kib_and_a_body_64() {
    let gateway = Gateway::start().await;
    let query = gateway.query("callID=x");
    for (length, status) in [(32_000, 200), (33_000, 431)] {
        let long = "x".repeat(length);
        let head = format!("GET /verba/api?{query} HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n");
        assert_eq!(gateway.ask(head).await.status, status, "{length}");
    }
    let mut client = gateway.connect().await;
    let filler = "_=".to_owned() + &"a".repeat(65_534);
    assert_eq!(client.ask(crate::support::post(&query, &filler)).await.code(), 2);
    let answer = client.ask(crate::support::post(&query, &(filler + "a"))).await;
    assert_eq!((answer.status, answer.code()), (413, -20));
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_body_in_pieces_is_read_to_the_same_limit() {
    let gateway = Gateway::start().await;
    let form = gateway.query("callID=x");
    let chunked = |body: &str| {
        format!(
            "POST /verba/api HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
            body.len()
        )
    };
    assert_eq!(gateway.ask(chunked(&form)).await.code(), 2);
    let answer = gateway.ask(chunked(&format!("{form}&_={}", "a".repeat(65_536)))).await;
    assert_eq!((answer.status, answer.code()), (413, -20));
}

#[tokio::test]
async fn a_megabyte_of_anything_is_refused_and_reaches_nobody() {
    let gateway = Gateway::start().await;
    let query = gateway.query("");
    let million = "7".repeat(1 << 20);
    let answer = gateway.post(&query, &format!("extension={million}&status=last")).await;
    assert_eq!((answer.status, answer.code()), (413, -20));
    // hyper refuses a URI of this size itself, without a body.
    let answer = gateway.get(&format!("{query}callID={million}")).await;
    assert!(matches!(answer.status, 414 | 431), "{}", answer.status);
    assert!(gateway.graph.requests().await.is_empty());
    assert_eq!(gateway.delete("callID=x").await.code(), 2);
}

#[tokio::test]
async fn a_value_has_1024_bytes_after_decoding() {
    let gateway = Gateway::start().await;
    for (value, code) in [
        ("a".repeat(1024), 2),
        ("%61".repeat(1024), 2),
        ("%C3%BC".repeat(512), 2),
        ("a".repeat(1025), -20),
        ("%C3%BC".repeat(513), -20),
    ] {
        let answer = gateway.delete(&format!("nativeID={value}&detail=1")).await;
        assert_eq!(answer.code(), code, "{}", value.len());
        if code == -20 {
            let text = "Parameter nativeID is too long: at most 1024 bytes are read.";
            assert_eq!(answer.element("ErrorMessage"), text);
        }
    }
    // One that nobody reads may be as long as the request.
    let long = "a".repeat(4000);
    assert_eq!(gateway.delete(&format!("callID=x&foo={long}")).await.code(), 2);
}

#[tokio::test]
async fn limits_are_configurable() {
    let lines = "limits.request_line = \"256\"\nlimits.headers = \"1KiB\"\nlimits.body = \"128\"\n\
                 limits.value = \"64\"";
    let gateway = Gateway::with(lines).await;
    assert_eq!(gateway.delete(&format!("callID={}", "a".repeat(64))).await.code(), 2);
    assert_eq!(gateway.delete(&format!("callID={}", "a".repeat(65))).await.code(), -20);
    assert_eq!(gateway.delete(&format!("callID={}", "a".repeat(256))).await.status, 414);
    assert_eq!(gateway.post("", &"a".repeat(129)).await.status, 413);
}

#[tokio::test]
async fn what_is_no_http_is_refused_without_a_body_and_the_gateway_lives_on() {
    let gateway = Gateway::start().await;
    let many = "X: y\r\n".repeat(101);
    for request in [
        "GET /verba/api?callID=a b HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "nonsense\r\n\r\n".to_owned(),
        "GET /verba/api HTTP/1.1\r\nBad Header: x\r\n\r\n".to_owned(),
        "POST /verba/api HTTP/1.1\r\nContent-Length: x\r\n\r\n".to_owned(),
        format!("GET /verba/api HTTP/1.1\r\n{many}\r\n"),
    ] {
        let answer = gateway.ask(&request).await;
        assert!(matches!(answer.status, 400 | 431) && answer.body.is_empty(), "{request}");
    }
    assert_eq!(gateway.delete("callID=x").await.code(), 2);
}

#[tokio::test]
async fn more_connections_than_allowed_wait_their_turn() {
    let gateway = Gateway::with("listen.max_connections = 1").await;
    let request =
        format!("GET /verba/api?{} HTTP/1.1\r\nHost: a\r\n\r\n", gateway.query("callID=x"));
    let mut first = gateway.connect().await;
    assert_eq!(first.ask(&request).await.code(), 2);
    let mut second = gateway.connect().await;
    second.send(&request).await;
    assert_eq!(first.ask(&request).await.code(), 2, "the second one is not served yet");
    drop(first);
    assert_eq!(second.answer().await.code(), 2);
}

#[tokio::test]
async fn an_idle_connection_and_a_slow_head_are_closed_in_time() {
    let lines = "listen.header_timeout = \"500ms\"\nlisten.idle_timeout = \"1s\"";
    let gateway = Gateway::with(lines).await;
    let mut silent = gateway.connect().await;
    let mut slow = gateway.connect().await;
    slow.send("GET /verba/api HTTP/1.1\r\nHost").await;
    let mut idle = gateway.connect().await;
    let query = gateway.query("callID=x");
    let answer = idle.ask(format!("GET /verba/api?{query} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
    assert_eq!(answer.code(), 2);
    assert!(silent.is_closed().await && slow.is_closed().await && idle.is_closed().await);
}
