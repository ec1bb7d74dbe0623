//! From where a request is: the connection's other end, or what a trusted proxy says.

use crate::support::{Answer, Gateway, Key, Site};

const NO_CALL: &str = "callID=57dab8b1-894c-409a-b240-bd8beae78896";
/// The tests connect from 127.0.0.1.
const BEHIND_A_PROXY: &str = "listen.trusted_proxies = [\"127.0.0.1\", \"10.0.0.0/8\"]";

/// Asks for a call that does not exist: code 2 says that the caller was accepted.
async fn ask(gateway: &Gateway, key: &Key, headers: &[&str]) -> Answer {
    let mut request = format!("GET /verba/api?{} HTTP/1.1\r\nHost: a\r\n", key.query(NO_CALL));
    for header in headers {
        request.push_str(header);
        request.push_str("\r\n");
    }
    gateway.ask(request + "\r\n").await
}

#[tokio::test]
async fn a_trusted_proxy_is_believed_whom_a_request_is_from() {
    let site = Site::with(BEHIND_A_PROXY).await;
    let key = site.key(&["--allow", "192.0.2.0/24", "--allow", "2001:db8::/32"]).await;
    let gateway = Gateway::serve(site).await;
    for (headers, code) in [
        (&["X-Forwarded-For: 192.0.2.7"][..], 2),
        (&["x-forwarded-for: 198.51.100.1, 192.0.2.7"], 2),
        (&["X-Forwarded-For: 198.51.100.1, 192.0.2.7:4711, 10.1.2.3"], 2),
        (&["X-Forwarded-For: 198.51.100.1", "X-Forwarded-For: ::ffff:192.0.2.7"], 2),
        (&["X-Forwarded-For: [2001:db8::7]:4711"], 2),
        (&[], -41),
        (&["X-Forwarded-For: 198.51.100.1"], -41),
        (&["X-Forwarded-For: 192.0.2.7, 198.51.100.1"], -41),
        (&["X-Forwarded-For: 192.0.2.7", "X-Forwarded-For: 198.51.100.1"], -41),
        (&["X-Forwarded-For: 192.0.2.7, unknown"], -41),
        (&["X-Forwarded-For: 192.0.2.7", "X-Forwarded-For:"], -41),
        (&["Forwarded: for=192.0.2.7", "X-Real-IP: 192.0.2.7"], -41),
    ] {
        assert_eq!(ask(&gateway, &key, headers).await.code(), code, "{headers:?}");
    }
}

#[tokio::test]
async fn nobody_else_is_believed() {
    let site = Site::with("listen.trusted_proxies = [\"10.0.0.0/8\"]").await;
    let key = site.key(&["--allow", "192.0.2.0/24"]).await;
    let gateway = Gateway::serve(site).await;
    for header in ["X-Forwarded-For: 192.0.2.7", "X-Forwarded-For: 192.0.2.7, 10.1.2.3"] {
        assert_eq!(ask(&gateway, &key, &[header]).await.code(), -41, "{header}");
    }
}

#[tokio::test]
async fn the_notifications_are_from_where_the_proxy_says_too() {
    let site = Site::with(BEHIND_A_PROXY).await;
    let bot = site.key(&["--right", "Notify", "--allow", "192.0.2.7"]).await;
    let gateway = Gateway::serve(site).await;
    for (address, status) in [("192.0.2.7", 400), ("192.0.2.8", 401), ("", 401)] {
        let headers = [("X-Api-Key", bot.secret.as_str()), ("X-Forwarded-For", address)];
        assert_eq!(gateway.notify(&headers, "no JSON").await.status, status, "{address}");
    }
}

#[tokio::test]
async fn a_key_is_accepted_from_the_addresses_of_its_names_and_503_says_that_nobody_knows_them() {
    let site = Site::with(BEHIND_A_PROXY).await;
    let (named, lost) = (site.key(&[]).await, site.key(&[]).await);
    for (key, peers) in [(&named, "localhost"), (&lost, "192.0.2.7 callgate.invalid")] {
        let id = &key.id;
        site.change(&format!("UPDATE keys SET peers = '{peers}' WHERE key_id = '{id}'"));
    }
    let gateway = Gateway::serve(site).await;
    assert_eq!(ask(&gateway, &named, &[]).await.code(), 2);
    assert_eq!(ask(&gateway, &named, &["X-Forwarded-For: 192.0.2.7"]).await.code(), -41);

    assert_eq!(ask(&gateway, &lost, &["X-Forwarded-For: 192.0.2.7"]).await.code(), 2);
    let answer = ask(&gateway, &lost, &[]).await;
    assert_eq!((answer.status, answer.code()), (503, -1));
    assert_eq!(answer.header("retry-after"), Some("1"));
}
