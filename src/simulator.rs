//! The simulator: Microsoft Graph for people without a tenant.
//!
//! Login, Graph's calls API and a control API on one port, and signed notifications about the calls
//! to a callback on this machine. It answers in the shapes and codes that Microsoft documents, and
//! shares no wire type with our Graph client or our reader of notifications, because one mistake
//! must not hide the other. It is for tests and demonstrations: it checks no credential, so it must
//! never listen where others could take it for Graph.

mod answer;
mod callback;
mod calls;
mod communications;
mod control;
mod deliver;
mod faults;
mod fields;
mod login;
mod notification;
mod openid;
mod requests;
mod script;
mod signing;
mod state;
mod switchboard;

use std::convert::Infallible;
use std::error::Error as _;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use self::answer::Answer;
use self::callback::Job;
use self::openid::Document;
pub use self::script::ScriptError;
use self::state::{Reset, State};
use crate::clock::Clock;

/// More than any documented request of the calls API, and room for a call with many participants.
const BODY_LIMIT: usize = 256 * 1024;

/// How long accepting waits after it failed, for example because file descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A running simulator. It stops, and closes its connections, when it is dropped.
#[derive(Debug)]
pub struct Simulator {
    address: SocketAddr,
    accepting: JoinHandle<Infallible>,
    delivering: JoinHandle<Infallible>,
    shared: Shared,
}

impl Simulator {
    /// Listens at `address` (port 0 takes a free one) and serves until it is stopped or dropped.
    ///
    /// # Errors
    ///
    /// When it cannot listen there; nothing is left running then.
    pub async fn start(address: SocketAddr) -> io::Result<Self> {
        let client = deliver::client().map_err(io::Error::other)?;
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let shared = Shared(Arc::new(Mutex::new(State::new(Clock::System))));
        #[expect(clippy::disallowed_methods, reason = "the handle is kept and aborted on drop")]
        let accepting = tokio::spawn(accept(listener, shared.clone()));
        #[expect(clippy::disallowed_methods, reason = "the handle is kept and aborted on drop")]
        let delivering = tokio::spawn(deliver::run(shared.clone(), client));
        Ok(Self { address, accepting, delivering, shared })
    }

    /// Posts each line of `script` (a path and a JSON body) to the control API, and says how many.
    ///
    /// # Errors
    ///
    /// The first line that was refused; the lines before it were carried out.
    pub fn run_script(&self, script: &str) -> Result<usize, ScriptError> {
        script::run(&mut self.shared.lock(), script)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The base URL for `graph.base_url` and `graph.login_url`, without a trailing slash.
    pub fn url(&self) -> String {
        let ip = match self.address.ip() {
            // "Every address" is nothing that a client can connect to everywhere.
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        format!("http://{}", SocketAddr::new(ip, self.address.port()))
    }

    /// Stops it. Afterwards the port is free and open connections are being closed.
    pub async fn stop(mut self) {
        self.accepting.abort();
        self.delivering.abort();
        // The only outcome is the cancellation that was just asked for.
        let _cancelled = (&mut self.accepting).await;
        let _cancelled = (&mut self.delivering).await;
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.accepting.abort();
        self.delivering.abort();
    }
}

/// The state that all connections share. It is never held across an await.
#[derive(Clone)]
struct Shared(Arc<Mutex<State>>);

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics while it holds the lock")
    }

    /// The token that goes with a notification.
    async fn token(&self, job: &Job) -> String {
        self.key_is_made().await;
        self.lock().token(job)
    }

    /// Makes the signing key if there is none, without holding up anybody else.
    async fn key_is_made(&self) {
        let slot = self.lock().signing.current();
        if !slot.is_made() {
            // It does not panic; and if it could not run, the key is made by who needs it.
            let _made = tokio::task::spawn_blocking(move || slot.make()).await;
        }
    }
}

async fn accept(listener: TcpListener, shared: Shared) -> Infallible {
    // Owned by this future, so that aborting it closes every connection.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, shared.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "the simulator could not accept a connection: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_finished) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: TcpStream, shared: Shared) {
    // Without it small answers wait for the client's delayed acknowledgement; if it cannot be
    // set, they are merely late.
    let _slower = stream.set_nodelay(true);
    let service = service_fn(move |request| Box::pin(serve(shared.clone(), request)));
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let Err(error) = poll_fn(|context| connection.poll_without_shutdown(context)).await else {
        return;
    };
    let cause = error.source().and_then(|cause| cause.downcast_ref());
    if matches!(cause, Some(ConnectionCut::OnDemand)) {
        // A zero linger time makes the close that follows a TCP reset. If it cannot be set, the
        // client sees the connection end without an answer all the same.
        let _end_of_file = connection.into_parts().io.into_inner().set_zero_linger();
    }
}

/// No answer is to be given on this connection.
#[derive(Debug, thiserror::Error)]
enum ConnectionCut {
    #[error("the connection was cut on demand")]
    OnDemand,
    #[error("the request's body did not arrive")]
    BodyIncomplete(#[source] hyper::Error),
}

/// One request: reads it, lets the state decide, holds the answer back if a fault says so.
async fn serve(
    shared: Shared,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, ConnectionCut> {
    let (head, body) = request.into_parts();
    let request = match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(body) => Request::from_parts(head, body.to_bytes()),
        Err(error) => match error.downcast::<hyper::Error>() {
            Ok(error) => return Err(ConnectionCut::BodyIncomplete(*error)),
            Err(_too_large) if control::is_for(head.uri.path()) => {
                return Ok(control::too_large().into_response());
            }
            Err(_too_large) => {
                let request = Request::from_parts(head, Bytes::new());
                return Ok(shared.lock().refuse_too_large(&request).into_response());
            }
        },
    };
    if control::is_for(request.uri().path()) {
        return Ok(control::answer(&mut shared.lock(), &request).into_response());
    }
    if Document::of(&state::segments(request.uri().path())) == Some(Document::Keys) {
        shared.key_is_made().await;
    }
    let decision = shared.lock().receive(&request);
    if !decision.delay.is_zero() {
        // The effect, if any, has happened: only the answer is late, as when Graph is slow.
        tokio::time::sleep(decision.delay).await;
    }
    let answer: Answer = decision.answer.map_err(|Reset| ConnectionCut::OnDemand)?;
    shared.lock().requests.answered(decision.ticket, answer.status);
    Ok(answer.into_response())
}
