//! The simulator: Microsoft Graph for people without a tenant.
//!
//! Login, Graph's calls API and a control API on one port, and signed notifications about the calls
//! to a callback on this machine. It answers in the shapes and codes that Microsoft documents, and
//! shares no wire type with our Graph client or our reader of notifications, because one mistake
//! must not hide the other. It is for tests and demonstrations: it checks no credential unless it was
//! told which are right, so it must never listen where others could take it for Graph.

mod answer;
mod callback;
mod calls;
mod communications;
mod connection;
mod control;
mod deliver;
mod der;
mod directory;
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
mod tls;
mod trouble;

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use self::callback::Job;
pub use self::script::ScriptError;
use self::state::State;
use self::tls::Tls;
use crate::clock::Clock;

/// How long accepting waits after it failed, for example because file descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A running simulator. It stops, and closes its connections, when it is dropped.
#[derive(Debug)]
pub struct Simulator {
    address: SocketAddr,
    accepting: JoinHandle<Infallible>,
    delivering: JoinHandle<Infallible>,
    settling: JoinHandle<Infallible>,
    tls: Option<Tls>,
    shared: Shared,
}

impl Simulator {
    /// Listens at `address` (port 0 takes a free one) and serves until it is stopped or dropped.
    ///
    /// # Errors
    ///
    /// When it cannot listen there; nothing is left running then.
    pub async fn start(address: SocketAddr) -> io::Result<Self> {
        Self::start_with(address, None).await
    }

    /// The same with https beside http on the one port, HTTP/2 included. The certificate is from an
    /// authority that is made on the spot: see [`Simulator::ca_file`].
    ///
    /// # Errors
    ///
    /// When it cannot listen there, or the authority's file cannot be written; nothing is left
    /// running then.
    pub async fn start_tls(address: SocketAddr) -> io::Result<Self> {
        Self::start_with(address, Some(Tls::make(address.ip())?)).await
    }

    async fn start_with(address: SocketAddr, tls: Option<Tls>) -> io::Result<Self> {
        let client = deliver::client().map_err(io::Error::other)?;
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let shared = Shared(Arc::new(Mutex::new(State::new(Clock::System))));
        let acceptor = tls.as_ref().map(|tls| tls.acceptor.clone());
        #[expect(clippy::disallowed_methods, reason = "the handle is kept and aborted on drop")]
        let accepting = tokio::spawn(accept(listener, shared.clone(), acceptor));
        #[expect(clippy::disallowed_methods, reason = "the handle is kept and aborted on drop")]
        let delivering = tokio::spawn(deliver::run(shared.clone(), client));
        #[expect(clippy::disallowed_methods, reason = "the handle is kept and aborted on drop")]
        let settling = tokio::spawn(settle(shared.clone()));
        Ok(Self { address, accepting, delivering, settling, tls, shared })
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
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", SocketAddr::new(ip, self.address.port()))
    }

    /// The file with the authority behind the certificate, in PEM, if there is https. It is deleted
    /// with the simulator.
    pub fn ca_file(&self) -> Option<&Path> {
        self.tls.as_ref().map(Tls::authority)
    }

    /// Stops it. Afterwards the port is free and open connections are being closed.
    pub async fn stop(mut self) {
        self.accepting.abort();
        self.delivering.abort();
        self.settling.abort();
        // The only outcome is the cancellation that was just asked for.
        let _cancelled = (&mut self.accepting).await;
        let _cancelled = (&mut self.delivering).await;
        let _cancelled = (&mut self.settling).await;
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.accepting.abort();
        self.delivering.abort();
        self.settling.abort();
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

async fn accept(listener: TcpListener, shared: Shared, tls: Option<TlsAcceptor>) -> Infallible {
    // Owned by this future, so that aborting it closes every connection.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection::serve(stream, shared.clone(), tls.clone()));
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

/// Decides invitations when their time has come.
async fn settle(shared: Shared) -> Infallible {
    let bell = shared.lock().switchboard.bell();
    loop {
        let left = shared.lock().settle();
        tokio::select! {
            () = bell.notified() => {}
            () = async { match left {
                Some(left) => tokio::time::sleep(left).await,
                None => pending().await,
            } } => {}
        }
    }
}
