//! Paths, methods, prefetch, HTTP versions: what old clients and browsers do to a URL.

use crate::support::{Gateway, until};

/// A request line and a head with these lines.
fn request(line: &str, headers: &[&str]) -> String {
    [&[line], headers].concat().join("\r\n") + "\r\n\r\n"
}

#[tokio::test]
async fn the_path_is_found_in_every_equivalent_form_and_in_no_other() {
    let gateway = Gateway::start().await;
    let query = gateway.query("callID=x");
    for (path, status) in [
        ("/verba/api", 200),
        ("/verba/api/", 200),
        ("/verba/api;jsessionid=0123ABCD", 200),
        ("/verba/api/;jsessionid=0123ABCD", 200),
        ("/%76erba/a%70i", 200),
        ("http://gateway.example:8080/verba/api", 200),
        ("HTTP://gateway/verba/api/", 200),
        ("/verba/api//", 404),
        ("//verba/api", 404),
        ("/Verba/api", 404),
        ("/verba/API", 404),
        ("/verba%2Fapi", 404),
        ("/verba/./api", 404),
        ("/verba/api/x", 404),
        ("/verba/ap", 404),
        ("/", 404),
        ("/livez", 404),
        ("http://gateway/other", 404),
    ] {
        let line = format!("GET {path}?{query} HTTP/1.1");
        let answer = gateway.ask(request(&line, &["Host: a"])).await;
        assert_eq!(answer.status, status, "{path}");
        let code = if status == 200 { 2 } else { -30 };
        assert_eq!(answer.code(), code, "{path}");
        assert!(status == 200 || answer.body.contains("type=\"\""), "{path} is echoed");
    }
}

#[tokio::test]
async fn more_paths_can_be_configured() {
    let gateway = Gateway::with("legacy.paths = [\"/verba/api\", \"/recorder/v1\"]").await;
    let query = gateway.query("callID=x");
    for (path, status) in
        [("/verba/api", 200), ("/recorder/v1/", 200), ("/recorder", 404), ("/recorder/v1/x", 404)]
    {
        let line = format!("GET {path}?{query} HTTP/1.1");
        assert_eq!(gateway.ask(request(&line, &["Host: a"])).await.status, status, "{path}");
    }
}

#[tokio::test]
async fn every_method_but_get_and_post_is_refused_and_has_no_effect() {
    let gateway = Gateway::start().await;
    let call = gateway.call("8856").await;
    let query = gateway.query(&format!("callID={}", call.id));
    for method in ["DELETE", "PUT", "PATCH", "OPTIONS", "TRACE", "get", "PURGE"] {
        let line = format!("{method} /verba/api?{query} HTTP/1.1");
        let answer = gateway.ask(request(&line, &["Host: a"])).await;
        assert_eq!((answer.status, answer.code()), (405, -20), "{method}");
        assert_eq!(answer.header("allow"), Some("GET, POST"));
    }
    let mut client = gateway.connect().await;
    client.send(request(&format!("HEAD /verba/api?{query} HTTP/1.1"), &["Host: a"])).await;
    let answer = client.answer_without_body().await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, POST")));
    assert_ne!(answer.header("content-length"), Some("0"));
    assert_eq!((gateway.recorded(), gateway.graph.requests().await.len()), (0, 0));
}

#[tokio::test]
async fn what_a_browser_or_scanner_sends_ahead_of_its_user_has_no_effect() {
    let gateway = Gateway::start().await;
    let call = gateway.call("8856").await;
    let query = gateway.query(&format!("callID={}&detail=1", call.id));
    let line = format!("GET /verba/api?{query} HTTP/1.1");
    let mut asked = 0;
    for name in ["Sec-Purpose", "Purpose", "X-Purpose", "X-Moz"] {
        for value in ["prefetch", "prerender", "preview", "instant", "Prefetch;anonymous-client-ip"]
        {
            let header = format!("{name}: {value}");
            let answer = gateway.ask(request(&line, &["Host: a", &header])).await;
            let found = (answer.status, answer.code(), answer.word());
            assert_eq!(found, (200, 2, "prefetch"), "{header}");
            asked += 1;
        }
    }
    // In a POST just as well.
    let post = request(&line.replace("GET", "POST"), &["Host: a", "x-moz: prefetch"]);
    assert_eq!(gateway.ask(post).await.word(), "prefetch");
    asked += 1;
    assert_eq!((gateway.recorded(), gateway.graph.requests().await.len()), (0, 0));
    let query = "SELECT coalesce(sum(count), 0) FROM audit \
                 WHERE CAST(canonical AS TEXT) LIKE '%prefetch%'";
    let audited = async || (gateway.value::<i64>(query) == asked).then_some(());
    until("each of them is in the audit record", audited).await;

    let harmless = ["Host: a", "Purpose: user", "Sec-Fetch-Mode: navigate", "X-Other: prefetch"];
    assert_eq!(gateway.ask(request(&line, &harmless)).await.word(), "sent");
}

#[tokio::test]
async fn http_1_0_without_a_host_is_answered() {
    let gateway = Gateway::start().await;
    let line = format!("GET /verba/api?{} HTTP/1.0", gateway.query("callID=x"));
    let mut client = gateway.connect().await;
    let answer = client.ask(request(&line, &[])).await;
    assert_eq!((answer.status, answer.code()), (200, 2));
    assert!(client.is_closed().await);
    let mut client = gateway.connect().await;
    let answer = client.ask(request(&line, &["Connection: keep-alive"])).await;
    assert_eq!(answer.header("connection"), Some("keep-alive"));
    assert_eq!(client.ask(request(&line, &[])).await.code(), 2);
}

#[tokio::test]
async fn a_connection_serves_many_requests_also_pipelined_and_closes_when_asked() {
    let gateway = Gateway::start().await;
    let line = format!("GET /verba/api?{} HTTP/1.1", gateway.query("callID=x"));
    let mut client = gateway.connect().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let answer = client.ask(request(&line, &["Host: a"])).await;
        ids.push(answer.header("x-request-id").unwrap().to_owned());
    }
    client.send(request(&line, &["Host: a"]).repeat(2)).await;
    for _ in 0..2 {
        ids.push(client.answer().await.header("x-request-id").unwrap().to_owned());
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 5, "every request has an id of its own");
    let answer = client.ask(request(&line, &["Host: a", "Connection: close"])).await;
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_client_that_asks_before_it_sends_its_body_is_told_to_go_on() {
    let gateway = Gateway::start().await;
    let form = gateway.query("callID=x");
    let head = format!(
        "POST /verba/api HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\n",
        form.len()
    );
    let mut client = gateway.connect().await;
    client.send(head).await;
    assert_eq!(client.interim().await, 100);
    assert_eq!(client.ask(form).await.code(), 2);
}
