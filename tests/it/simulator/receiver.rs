//! Whoever a callback belongs to: takes notifications over real connections and answers as told.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use crate::support::soon;

/// Listens until it is dropped.
pub(super) struct Receiver {
    pub(super) url: String,
    posts: UnboundedReceiver<Post>,
    replies: Arc<Mutex<VecDeque<Reply>>>,
    listening: JoinHandle<Infallible>,
}

/// One POST as it came.
#[derive(Debug)]
pub(super) struct Post {
    pub(super) at: Instant,
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Value,
}

/// What a POST gets.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reply {
    Status(u16),
    /// The connection ends without an answer.
    Cut,
}

impl Receiver {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let (sender, posts) = unbounded_channel();
        let replies: Arc<Mutex<VecDeque<Reply>>> = Arc::default();
        #[expect(clippy::disallowed_methods, reason = "the handle is kept and aborted on drop")]
        let listening = tokio::spawn(listen(listener, sender, Arc::clone(&replies)));
        Self { url: format!("http://{address}/api/calls"), posts, replies, listening }
    }

    /// The next POSTs get these; those after them 202.
    pub(super) fn reply(&self, replies: impl IntoIterator<Item = Reply>) {
        self.replies.lock().unwrap().extend(replies);
    }

    /// The next POST.
    pub(super) async fn post(&mut self) -> Post {
        soon("a notification comes", self.posts.recv()).await.unwrap()
    }

    /// The entries of the next `count` POSTs, which have one each.
    pub(super) async fn entries(&mut self, count: usize) -> Vec<Value> {
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            let post = self.post().await;
            let value = post.body["value"].as_array().unwrap();
            assert_eq!(value.len(), 1, "{}", post.body);
            entries.push(value[0].clone());
        }
        entries
    }

    /// What came so far and was not taken.
    pub(super) fn came(&mut self) -> Vec<Post> {
        std::iter::from_fn(|| self.posts.try_recv().ok()).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn listen(
    listener: TcpListener,
    posts: UnboundedSender<Post>,
    replies: Arc<Mutex<VecDeque<Reply>>>,
) -> Infallible {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        connections.spawn(connection(stream, posts.clone(), Arc::clone(&replies)));
    }
}

async fn connection(
    stream: TcpStream,
    posts: UnboundedSender<Post>,
    replies: Arc<Mutex<VecDeque<Reply>>>,
) {
    let service = service_fn(move |request| take(posts.clone(), Arc::clone(&replies), request));
    // A cut connection is an error here, and so is a test that ended.
    let _ended = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn take(
    posts: UnboundedSender<Post>,
    replies: Arc<Mutex<VecDeque<Reply>>>,
    request: Request<Incoming>,
) -> Result<Response<Empty<Bytes>>, &'static str> {
    let at = Instant::now();
    assert_eq!(request.method(), "POST");
    let (head, body) = request.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let body = serde_json::from_slice(&bytes).unwrap();
    let reply = replies.lock().unwrap().pop_front().unwrap_or(Reply::Status(202));
    // The test may have ended.
    let _ended = posts.send(Post { at, path: head.uri.path().into(), headers: head.headers, body });
    match reply {
        Reply::Status(status) => Ok(Response::builder().status(status).body(Empty::new()).unwrap()),
        Reply::Cut => Err("cut on demand"),
    }
}
