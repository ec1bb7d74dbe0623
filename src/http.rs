//! One HTTP request to the legacy API: its limits, its id, its line in the access log.
//!
//! The request's URI is a secret from the first line on. What the request asks for is read by
//! `legacy`; here it is neither understood nor answered, only carried.

mod body;
mod fold;
mod head;
pub(crate) mod health;
mod log;
pub(crate) mod metrics;
mod peer;
mod respond;
mod route;
pub(crate) mod rules;
pub(crate) mod webhook;

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response};
use tokio::time::Instant;

use crate::app::App;
use crate::http::head::Head;
use crate::http::log::{AccessLine, Unlogged};
use crate::http::route::Route;
use crate::http::rules::RequestRules;
use crate::id::RequestId;
use crate::legacy::error::GatewayError;
use crate::legacy::{self, Answered, LegacyRequest};
use crate::secret::SafeUri;
use crate::telemetry::metrics::count::Requests;

/// The legacy API as the server's handler.
pub(crate) struct LegacyHttp {
    app: Arc<App>,
    rules: RequestRules,
    unlogged: Unlogged,
}

impl LegacyHttp {
    /// Answers for `app` by `rules`.
    pub(crate) fn new(app: Arc<App>, rules: RequestRules) -> Self {
        Self { app, rules, unlogged: Unlogged::default() }
    }

    /// Answers one request and writes its line in the access log.
    pub(crate) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: IpAddr,
    ) -> Response<Full<Bytes>> {
        let handle = async |request| {
            let answered = legacy::handle(&self.app, request).await;
            if answered.log.is_braked {
                self.unlogged.note(Instant::now());
            }
            answered
        };
        let refuse = |request: &_, error| legacy::refuse(&self.app, request, error);
        one_request(&self.rules, &self.app.requests, request, peer, handle, refuse).await
    }
}

/// Carries one request to the feature: to `handle` when it may be read, else to `refuse`, which
/// answers in the caller's format.
async fn one_request<F: Future<Output = Answered>>(
    rules: &RequestRules,
    requests: &Requests,
    request: Request<Incoming>,
    peer: IpAddr,
    handle: impl FnOnce(LegacyRequest) -> F,
    refuse: impl FnOnce(&LegacyRequest, GatewayError) -> Answered,
) -> Response<Full<Bytes>> {
    let (Parts { method, uri, headers, .. }, body) = request.into_parts();
    let uri = SafeUri::new(uri);
    let id = RequestId::random();
    let route = route::route(&method, uri.expose().path(), &rules.paths);
    let line = AccessLine::begin(requests, id, route, &method);
    let head = Head::read(&headers);
    let peer = peer::client(peer, &rules.trusted_proxies, &headers);
    let checked = rules.check(route, &method, uri.expose(), head.bytes);

    let mut request = LegacyRequest {
        id,
        peer,
        at_our_path: route != Route::NotFound,
        post: method == Method::POST,
        uri,
        form: None,
        api_key_header: head.api_key,
        bearer: head.bearer,
        basic: head.basic,
        prefetch: head.prefetch,
    };
    let mut unread = !body.is_end_stream();
    let checked = match checked {
        Ok(()) if unread => rules.take_body(body, head.form, &mut request).await,
        other => other.map(|()| unread),
    };
    let answered = match checked {
        Ok(left) => {
            unread = left;
            handle(request).await
        }
        Err(error) => refuse(&request, error),
    };

    let Answered { mut reply, log } = answered;
    line.finish(&log, reply.status);
    if route == Route::MethodNotAllowed && reply.status == 405 {
        reply = reply.with_header("allow", Route::ALLOW);
    }
    respond::response(reply, id, headers, unread)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::watch;

    use super::*;
    use crate::config::limits::LimitsConfig;
    use crate::legacy::AccessFacts;
    use crate::reply::{ContentType, Reply};
    use crate::server::{self, ServeSettings};

    const LONG: Duration = Duration::from_mins(1);

    fn rules() -> RequestRules {
        RequestRules {
            paths: vec!["/verba/api".to_owned()],
            limits: LimitsConfig { request_line: 8192, headers: 32_768, body: 65_536, value: 1024 },
            body_timeout: LONG,
            trusted_proxies: Vec::new(),
        }
    }

    fn answered(status: u16, body: String, outcome: &'static str) -> Answered {
        Answered {
            reply: Reply::new(status, ContentType::Text, body),
            log: AccessFacts {
                action: "DeleteCall",
                key: None,
                outcome,
                code: 0,
                parameters: vec!["action", "callID"],
                unknown_parameters: 1,
                is_braked: false,
            },
        }
    }

    /// Says what arrived, one word each, so that a test can compare it.
    fn echo(request: &LegacyRequest) -> Answered {
        let query = request.uri.expose().query().unwrap_or("-");
        let form = request.form.as_ref().map_or("-".into(), |form| {
            String::from_utf8_lossy(form.expose()).chars().take(20).collect::<String>()
        });
        let key = request.api_key_header.as_ref().map_or("-", |key| key.expose());
        let LegacyRequest { post, prefetch, .. } = request;
        let body = format!("query={query} form={form} post={post} key={key} prefetch={prefetch}.");
        answered(200, body, "sent")
    }

    fn refused(error: &GatewayError) -> Answered {
        let status = match error {
            GatewayError::UnknownPath => 404,
            GatewayError::Method => 405,
            GatewayError::BodyIncomplete => 408,
            GatewayError::BodyTooLarge => 413,
            GatewayError::RequestLineTooLong => 414,
            GatewayError::HeadersTooLarge => 431,
            _ => 500,
        };
        answered(status, format!("{error}."), "refused")
    }

    /// The real server around [`one_request`].
    struct Gateway {
        stream: TcpStream,
        _stop: watch::Sender<bool>,
    }

    impl Gateway {
        async fn start(rules: RequestRules) -> Self {
            let settings = ServeSettings {
                name: "test",
                max_connections: 10,
                makes_room: false,
                header_timeout: LONG,
                idle_timeout: LONG,
                drain: LONG,
                head_bytes: rules::head_bytes(&rules.limits),
            };
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (stop, shutdown) = watch::channel(false);
            let rules = Arc::new(rules);
            let handler = move |request, peer| {
                let rules = Arc::clone(&rules);
                async move {
                    let handle = |request| async move { echo(&request) };
                    let (requests, refuse) = (Requests::default(), |_: &_, error| refused(&error));
                    one_request(&rules, &requests, request, peer, handle, refuse).await
                }
            };
            #[expect(clippy::disallowed_methods, reason = "a test runs the server beside itself")]
            tokio::spawn(server::serve(listener, handler, settings, shutdown));
            Self { stream, _stop: stop }
        }

        async fn send(&mut self, bytes: &str) {
            self.stream.write_all(bytes.as_bytes()).await.unwrap();
        }

        /// The next answer: its head in lower case without the date, and its body.
        async fn answer(&mut self, has_body: bool) -> (String, String) {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(self.stream.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap().to_lowercase();
            assert!(!head.contains("transfer-encoding"), "{head}");
            let length = head.split("content-length: ").nth(1).unwrap();
            let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
            let mut body = vec![0; if has_body { length } else { 0 }];
            self.stream.read_exact(&mut body).await.unwrap();
            (head, String::from_utf8(body).unwrap())
        }

        async fn ask(&mut self, bytes: &str) -> String {
            self.send(bytes).await;
            let (head, body) = self.answer(true).await;
            format!("{} {body}", head.split(' ').nth(1).unwrap())
        }

        /// The connection is closed, and nothing came before.
        async fn closes(mut self) {
            let read = tokio::time::timeout(LONG, self.stream.read_u8()).await.unwrap();
            assert_eq!(read.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        }
    }

    fn get(target: &str) -> String {
        format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")
    }

    fn post(media_type: &str, body: &str) -> String {
        let length = body.len();
        format!(
            "POST /verba/api?a=b HTTP/1.1\r\nHost: a\r\nContent-Type: {media_type}\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        )
    }

    const FORM: &str = "application/x-www-form-urlencoded; charset=UTF-8";

    #[tokio::test]
    async fn a_request_reaches_the_legacy_api_with_what_it_brought() {
        let mut gateway = Gateway::start(rules()).await;
        for (request, expected) in [
            (get("/verba/api?a=b"), "200 query=a=b form=- post=false key=- prefetch=false."),
            (get("http://a/verba/api/?c"), "200 query=c form=- post=false key=- prefetch=false."),
            (post(FORM, "c=d"), "200 query=a=b form=c=d post=true key=- prefetch=false."),
            (post(FORM, ""), "200 query=a=b form=- post=true key=- prefetch=false."),
            (
                post(FORM, "c=d").replace("POST", "GET"),
                "200 query=a=b form=- post=false key=- prefetch=false.",
            ),
            (post("text/plain", "c=d"), "200 query=a=b form=- post=true key=- prefetch=false."),
            (
                "GET /verba/api HTTP/1.1\r\nX-API-KEY: k\r\nX-Moz: Prefetch\r\n\r\n".to_owned(),
                "200 query=- form=- post=false key=k prefetch=true.",
            ),
            (
                "POST /verba/api HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Type: \
                 application/x-www-form-urlencoded\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
                    .to_owned(),
                "200 query=- form=abc post=true key=- prefetch=false.",
            ),
        ] {
            assert_eq!(gateway.ask(&request).await, expected, "{request}");
        }
    }

    #[tokio::test]
    async fn an_answer_carries_an_id_and_the_headers_of_every_answer() {
        let mut gateway = Gateway::start(rules()).await;
        gateway.send(&get("/verba/api")).await;
        let (head, _) = gateway.answer(true).await;
        for line in ["cache-control: no-store", "content-length: 47", "x-request-id: "] {
            assert!(head.contains(&format!("\r\n{line}")), "{line} in {head}");
        }
        assert!(!head.contains("\r\nconnection: "), "{head}");
    }

    #[tokio::test]
    async fn what_is_not_get_or_post_is_refused_and_told_what_would_be_allowed() {
        let mut gateway = Gateway::start(rules()).await;
        for method in ["HEAD", "OPTIONS", "DELETE", "PURGE"] {
            gateway.send(&get("/verba/api").replace("GET", method)).await;
            let (head, body) = gateway.answer(method != "HEAD").await;
            assert!(head.starts_with("http/1.1 405 ") && head.contains("\r\nallow: get, post\r\n"));
            assert_eq!(body.is_empty(), method == "HEAD", "{method}");
        }
        assert_eq!(gateway.ask(&get("/other")).await, "404 no such path.");
        assert_eq!(gateway.ask(&get("a:1").replace("GET", "CONNECT")).await, "404 no such path.");
    }

    #[tokio::test]
    async fn a_request_line_may_have_8_kib_and_no_more() {
        let mut gateway = Gateway::start(rules()).await;
        let line = |length: usize| {
            format!("/verba/api?{}", "a".repeat(length - "GET /verba/api? HTTP/1.1".len()))
        };
        assert!(gateway.ask(&get(&line(8192))).await.starts_with("200 "));
        assert_eq!(gateway.ask(&get(&line(8193))).await, "414 request line too long.");
        assert_eq!(gateway.ask(&get(&line(60_000))).await, "414 request line too long.");
        assert!(gateway.ask(&get("/verba/api")).await.starts_with("200 "));
    }

    #[tokio::test]
    async fn headers_beyond_their_limit_are_refused_with_a_body() {
        let mut gateway = Gateway::start(rules()).await;
        let with = |length| format!("GET /verba/api HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(length));
        assert!(gateway.ask(&with(32_000)).await.starts_with("200 "));
        assert_eq!(gateway.ask(&with(33_000)).await, "431 headers too large.");
    }

    #[tokio::test]
    async fn a_body_of_64_kib_is_read_and_a_larger_one_is_refused_unread() {
        let mut gateway = Gateway::start(rules()).await;
        assert!(gateway.ask(&post(FORM, &"a".repeat(65_536))).await.starts_with("200 "));
        assert_eq!(gateway.ask(&post(FORM, &"a".repeat(65_537))).await, "413 body too large.");
        gateway.closes().await;
    }

    #[tokio::test]
    async fn a_large_body_that_nobody_wants_does_not_keep_the_request_from_its_answer() {
        let mut gateway = Gateway::start(rules()).await;
        let answer = gateway.ask(&post("image/png", &"a".repeat(1_000_000))).await;
        assert!(answer.starts_with("200 query=a=b form=- "), "{answer}");
        gateway.closes().await;
    }

    #[tokio::test]
    async fn a_body_that_does_not_arrive_is_missed() {
        let short = RequestRules { body_timeout: Duration::from_millis(20), ..rules() };
        for media_type in [FORM, "text/plain"] {
            let mut gateway = Gateway::start(short.clone()).await;
            let request = post(media_type, "abcdefgh");
            let answer = gateway.ask(&request[..request.len() - 1]).await;
            assert_eq!(answer, "408 body incomplete.");
        }
    }

    #[tokio::test]
    async fn a_client_that_asks_first_is_told_to_send_only_what_will_be_read() {
        let expecting = |request: String| request.replace("Host", "Expect: 100-continue\r\nHost");
        let mut gateway = Gateway::start(rules()).await;
        let request = expecting(post(FORM, "abc"));
        let (head, body) = request.split_at(request.len() - 3);
        gateway.send(head).await;
        let mut interim = [0; 25];
        gateway.stream.read_exact(&mut interim).await.unwrap();
        assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
        assert!(gateway.ask(body).await.contains(" form=abc "));

        let request = expecting(post(FORM, &"a".repeat(70_000)));
        let head = &request[..request.len() - 70_000];
        assert_eq!(gateway.ask(head).await, "413 body too large.");
    }
}
