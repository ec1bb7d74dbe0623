//! The bot behind the gateway: a small HTTP server that keeps what it receives and answers as told.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::until;

/// A bot; it ends with the test.
pub(crate) struct Bot {
    pub(crate) address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    _accepting: JoinSet<()>,
}

/// A request as the bot received it.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    /// The request line, and the headers with their names in lower case, each on a line.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Received {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")))
    }
}

impl Bot {
    /// Answers every request with these bytes; with none it takes requests and never answers.
    pub(crate) async fn start(answer: Option<&'static str>) -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = TcpListener::bind(any).await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let received: Arc<Mutex<Vec<Received>>> = Arc::default();
        let kept = Arc::clone(&received);
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(converse(stream, answer, Arc::clone(&kept)));
            }
        });
        Self { address, received, _accepting: accepting }
    }

    /// What it received until now.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().expect("nothing panics while it holds the lock").clone()
    }

    /// The first `count` requests, when they have come.
    pub(crate) async fn receives(&self, count: usize) -> Vec<Received> {
        let probe = async || Some(self.received()).filter(|received| received.len() >= count);
        until(&format!("the bot receives {count} requests"), probe).await
    }
}

/// Reads requests with a `Content-Length` until the other side closes.
async fn converse(
    mut stream: TcpStream,
    answer: Option<&'static str>,
    received: Arc<Mutex<Vec<Received>>>,
) {
    let mut unread = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = unread.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break at + 4;
            }
            if !matches!(stream.read_buf(&mut unread).await, Ok(1..)) {
                return;
            }
        };
        let head: Vec<u8> = unread.drain(..end).collect();
        let head = String::from_utf8(head).expect("a head is text");
        let mut lines = head.trim_end().split("\r\n");
        let mut request = Received {
            head: lines.next().expect("a request line").to_owned(),
            body: String::new(),
        };
        for line in lines {
            let (name, value) = line.split_once(": ").expect("a header");
            let name = name.to_lowercase();
            request.head.extend(["\n", &name, ": ", value]);
        }
        let length = request.header("content-length").expect("a length").parse().expect("a number");
        while unread.len() < length {
            if !matches!(stream.read_buf(&mut unread).await, Ok(1..)) {
                return;
            }
        }
        request.body = String::from_utf8(unread.drain(..length).collect()).expect("text");
        received.lock().expect("nothing panics while it holds the lock").push(request);
        match answer {
            Some(answer) => {
                // Who does not wait for the answer does not miss it.
                let _gone = stream.write_all(answer.as_bytes()).await;
            }
            None => std::future::pending().await,
        }
    }
}
