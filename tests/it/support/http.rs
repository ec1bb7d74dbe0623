//! A small HTTP client over a bare socket: bytes in, the whole answer out.
//!
//! It sends what it is told to the byte, malformed or not, and holds every answer against what all
//! of them must have in common.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use uuid::Uuid;

use super::schema::Answers;
use super::{LONG, soon};

/// One connection to the gateway.
pub(crate) struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
    answers: Answers,
}

/// One answer, whole.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// As they were spelt, in the order they came.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Client {
    pub(crate) fn new(stream: TcpStream, answers: Answers) -> Self {
        Self { stream, unread: Vec::new(), answers }
    }

    /// Sends bytes as they are. A gateway that has closed already is no error: its answer is read.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _closed = soon("sending", self.stream.write_all(bytes.as_ref())).await;
    }

    /// Sends a request and gives its answer.
    pub(crate) async fn ask(&mut self, request: impl AsRef<[u8]>) -> Answer {
        self.send(request).await;
        self.answer().await
    }

    /// The next answer with its body.
    pub(crate) async fn answer(&mut self) -> Answer {
        self.next_answer(true).await
    }

    /// The next answer, to a `HEAD`.
    pub(crate) async fn answer_without_body(&mut self) -> Answer {
        self.next_answer(false).await
    }

    /// The status of the next head, which is no answer yet.
    pub(crate) async fn interim(&mut self) -> u16 {
        self.head().await.status
    }

    /// Whether the gateway has closed the connection, with nothing left to read.
    pub(crate) async fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        let read = soon("the end of the connection", self.stream.read(&mut byte)).await;
        self.unread.is_empty() && matches!(read, Ok(0) | Err(_))
    }

    async fn next_answer(&mut self, has_body: bool) -> Answer {
        let mut answer = self.head().await;
        while answer.status < 200 {
            answer = self.head().await;
        }
        let length = answer.header("content-length").expect("every answer says its length");
        let length: usize = length.parse().expect("a length is a number");
        if has_body {
            while self.unread.len() < length {
                self.read().await;
            }
            let body = self.unread.drain(..length).collect();
            answer.body = String::from_utf8(body).expect("every body is UTF-8");
        }
        check(&answer);
        self.answers.keep(&answer.body);
        answer
    }

    async fn head(&mut self) -> Answer {
        let end = loop {
            let found = self.unread.windows(4).position(|bytes| bytes == b"\r\n\r\n");
            match found {
                Some(at) => break at + 4,
                None => self.read().await,
            }
        };
        let head: Vec<u8> = self.unread.drain(..end).collect();
        let head = String::from_utf8(head).expect("a head is text");
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status line");
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(':').expect("a header has a colon");
            (name.to_owned(), value.trim().to_owned())
        });
        Answer {
            status: status.parse().expect("a status is a number"),
            headers: headers.collect(),
            body: String::new(),
        }
    }

    async fn read(&mut self) {
        let read = soon("an answer", self.stream.read_buf(&mut self.unread)).await;
        let read = read.expect("the connection is whole");
        assert_ne!(read, 0, "closed in the middle: {:?}", String::from_utf8_lossy(&self.unread));
    }
}

impl Answer {
    /// The value of a header, its name in any case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The legacy code, of whatever format.
    #[track_caller]
    pub(crate) fn code(&self) -> i32 {
        let body = &self.body;
        let code = match body.split_once("<Response code=\"").or(body.split_once("{\"code\":")) {
            Some((_, rest)) => rest.split(['"', ',', '}']).next(),
            None if body.starts_with("OK") => Some("0"),
            None if body.starts_with("ERROR:") => body.split(':').nth(1),
            None => body.split("Code</th>\n<td>").nth(1).and_then(|rest| rest.split('<').next()),
        };
        code.and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("no code in {body:?}"))
    }

    /// The text of an XML element, such as `Outcome`; empty when there is none.
    pub(crate) fn element(&self, name: &str) -> &str {
        let (start, end) = (format!("<{name}>"), format!("</{name}>"));
        let text = self.body.split_once(&start).and_then(|(_, rest)| rest.split_once(&end));
        text.map_or("", |(text, _)| text)
    }

    /// The value of an attribute of `Response`, such as `token`; empty when there is none.
    pub(crate) fn attribute(&self, name: &str) -> &str {
        let response =
            self.body.split_once("<Response ").and_then(|(_, rest)| rest.split_once('>'));
        let found =
            response.and_then(|(attributes, _)| attributes.split_once(&format!("{name}=\"")));
        found.and_then(|(_, rest)| rest.split_once('"')).map_or("", |(value, _)| value)
    }

    /// The outcome, or the reason, of an answer in XML with detail.
    pub(crate) fn word(&self) -> &str {
        let outcome = self.element("Outcome");
        if outcome.is_empty() { self.element("Reason") } else { outcome }
    }
}

/// Sends a request to whatever listens at `url`, and gives the answer as it is.
pub(crate) async fn send(
    method: reqwest::Method,
    url: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let redirects = reqwest::redirect::Policy::none();
    let client = reqwest::Client::builder().no_proxy().redirect(redirects).timeout(LONG).build();
    let mut request = client.expect("a client can be built").request(method, url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.body(body.to_owned()).send().await.expect("it is served");
    let text = |value: &reqwest::header::HeaderValue| value.to_str().expect("text").to_owned();
    let headers = answer.headers().iter();
    let headers = headers.map(|(name, value)| (name.to_string(), text(value))).collect();
    let status = answer.status().as_u16();
    Answer { status, headers, body: answer.text().await.expect("it is text") }
}

/// What all answers have in common: these headers, each once, and no others.
#[track_caller]
fn check(answer: &Answer) {
    let value = |name| answer.header(name).unwrap_or_default();
    let mut names: Vec<_> = answer.headers.iter().map(|(name, _)| name.to_lowercase()).collect();
    names.sort_unstable();
    if answer.body.is_empty() && names == ["connection", "content-length", "date"] {
        assert!(matches!(answer.status, 400 | 414 | 431), "only hyper's refusals have no body");
        return;
    }
    // What a status or the end of the connection calls for, each checked where it is expected.
    let called_for = ["allow", "retry-after", "www-authenticate", "connection"];
    names.retain(|name| !called_for.contains(&name.as_str()));
    assert_eq!(
        names,
        [
            "cache-control",
            "content-length",
            "content-type",
            "date",
            "referrer-policy",
            "x-content-type-options",
            "x-request-id"
        ]
    );
    assert_eq!(value("cache-control"), "no-store");
    assert_eq!(value("referrer-policy"), "no-referrer");
    assert_eq!(value("x-content-type-options"), "nosniff");
    let id = value("x-request-id");
    assert_eq!(Uuid::try_parse(id).map(|id| id.to_string()).as_deref(), Ok(id));
    let beginning = match value("content-type") {
        "text/xml; charset=UTF-8" => "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<VerbaApi>\n",
        "application/json; charset=UTF-8" => "{\"code\":",
        "text/html; charset=UTF-8" => "<!DOCTYPE html>\n",
        "text/plain; charset=UTF-8" => "",
        "application/openmetrics-text; version=1.0.0; charset=utf-8" => "# HELP ",
        other => panic!("content type {other}"),
    };
    let head_only = answer.body.is_empty() && answer.status == 405;
    assert!(head_only || answer.body.starts_with(beginning), "{}", answer.body);
    assert_eq!(answer.header("allow").is_some(), answer.status == 405);
    assert_eq!(answer.header("retry-after").is_some(), answer.status == 503);
    assert!(answer.header("www-authenticate").is_none() || answer.status == 401);
}
