//! A listener for tests that takes requests off the wire as they are, to the byte, and answers with
//! canned bytes. It understands no HTTP beyond where a request ends.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use super::GraphClient;
use crate::clock::Clock;
use crate::config::graph::{GraphConfig, Outbound, TenantConfig};
use crate::id::TenantId;

/// The app of [`config`].
pub(crate) const CLIENT_ID: &str = "2891555a-92ff-42e6-80fa-6e1300c6b5c6";

/// What is done with one request after it was read.
pub(crate) enum Reaction {
    /// These bytes are the answer, and the connection stays open.
    Answer(String),
    /// The answer breaks off after these bytes.
    BreakOff(String),
    /// Nothing is answered until the client gives up.
    Silence,
}

/// The listener.
pub(crate) struct Responder {
    pub(crate) url: String,
    requests: mpsc::Receiver<String>,
}

impl Responder {
    /// Reacts to the first request with the first of `reactions`, and so on, whichever connection
    /// each arrives on. After the last one, every connection is closed without an answer.
    pub(crate) fn start(reactions: impl IntoIterator<Item = Reaction>) -> Self {
        Self::start_with(|_url| reactions)
    }

    /// The same for answers in which its own URL stands.
    pub(crate) fn start_with<R: IntoIterator<Item = Reaction>>(
        reactions: impl FnOnce(&str) -> R,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, requests) = mpsc::channel();
        let reactions = reactions(&url).into_iter().collect::<VecDeque<_>>();
        let reactions = Arc::new(Mutex::new(reactions));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (sender, reactions) = (sender.clone(), Arc::clone(&reactions));
                thread::spawn(move || serve(stream.unwrap(), &sender, &reactions));
            }
        });
        Self { url, requests }
    }

    /// All requests that have arrived and were not looked at yet.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.try_iter().collect()
    }
}

fn serve(
    mut stream: TcpStream,
    requests: &mpsc::Sender<String>,
    reactions: &Mutex<VecDeque<Reaction>>,
) -> Option<()> {
    loop {
        requests.send(read_request(&mut stream)?).ok()?;
        // In a statement of its own: the lock must not be held while a client is waited for.
        let reaction = reactions.lock().unwrap().pop_front()?;
        match reaction {
            Reaction::Answer(bytes) => stream.write_all(bytes.as_bytes()).ok()?,
            Reaction::BreakOff(bytes) => {
                stream.write_all(bytes.as_bytes()).ok()?;
                return None;
            }
            Reaction::Silence => stream.read(&mut [0]).map(|_| ()).ok()?,
        }
    }
}

/// An answer with a body.
pub(crate) fn answer(status: &str, headers: &str, body: &str) -> Reaction {
    let length = body.len();
    Reaction::Answer(format!(
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    ))
}

/// A grant of `token`.
pub(crate) fn grant(token: &str, lifetime: u32) -> Reaction {
    let body =
        format!(r#"{{"token_type":"Bearer","expires_in":{lifetime},"access_token":"{token}"}}"#);
    answer("200 OK", "Content-Type: application/json\r\n", &body)
}

fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut read = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&read);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return Some(text.into_owned());
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(count) => read.extend_from_slice(&buffer[..count]),
        }
    }
}

/// A client for Graph and a login at these URLs, with one second for everything.
pub(crate) fn client(graph: &str, login: &str, clock: &Clock) -> GraphClient {
    GraphClient::new(&config(graph, login), clock.clone()).unwrap()
}

/// The configuration of [`client`].
pub(crate) fn config(graph: &str, login: &str) -> GraphConfig {
    GraphConfig {
        tenant: Some(TenantConfig {
            login_url: login.to_owned(),
            ..TenantConfig::at(graph, tenant(), CLIENT_ID, "s~cr&t/1")
        }),
        further: Vec::new(),
        outbound: Outbound::default(),
        rate: None,
        concurrency: 4,
        request_timeout: Duration::from_secs(1),
        deadline: Duration::from_mins(1),
        other_host: true,
    }
}

pub(crate) fn tenant() -> TenantId {
    TenantId::new("72f988bf-86f1-41af-91ab-2d7cd011db47")
}
