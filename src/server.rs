//! The server: an accept loop of our own, one task per connection, a drain with a deadline.
//!
//! Of HTTP it knows what a connection needs: time limits, buffer sizes, when to close. What a
//! request means is the handler's. Listeners arrive bound, so that tests can take port 0, and the
//! signal to stop arrives from outside.

mod connection;
pub(crate) mod descriptors;
pub(crate) mod drain;
mod room;
mod watched;
pub(crate) mod workers;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet};

use crate::server::drain::Shutdown;
use crate::server::room::Room;

/// What one listener allows its clients.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServeSettings {
    /// What is served, for the log.
    pub(crate) name: &'static str,
    /// More connections than this wait in the kernel's queue until one has ended.
    pub(crate) max_connections: usize,
    /// At that limit, the connection that has waited longest for its client ends for the next one.
    pub(crate) makes_room: bool,
    /// A head must have arrived this long after its first byte, the first one after the connect.
    pub(crate) header_timeout: Duration,
    /// How long a connection may wait for its next request, or leave its answer unread.
    pub(crate) idle_timeout: Duration,
    /// How long requests may take to finish once the server stops.
    pub(crate) drain: Duration,
    /// The longest head that is read; at least 8 KiB. A longer one is refused without a body.
    pub(crate) head_bytes: usize,
}

/// Answers the connections of `listener` with `handler` until `shutdown`, then drains.
///
/// At the connection limit nothing is accepted, but for one that another makes room for where
/// `settings.makes_room` says so: clients wait in the kernel's queue, which costs
/// them time and us nothing, and are turned away by the kernel when it is full. A client that
/// hangs up drops its handler at whatever await it is.
///
/// Returns when the last connection is gone, which is `settings.drain` after `shutdown` at the
/// latest; handlers that run then are dropped.
pub(crate) async fn serve<H, F>(
    listener: TcpListener,
    handler: H,
    settings: ServeSettings,
    mut shutdown: Shutdown,
) where
    H: Fn(Request<Incoming>, IpAddr) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let mut connections = JoinSet::new();
    let mut room = Room::default();
    // Accepted, and not begun before there is a place for it.
    let mut next = None;
    let mut pause = ACCEPT_PAUSE;
    let stop = shutdown.clone();
    let run = move |stream, peer, progress| {
        connection::run(stream, peer, progress, handler.clone(), settings, stop.clone())
    };
    loop {
        let is_full = connections.len() >= settings.max_connections;
        if let Some((stream, peer)) = next.take_if(|_| !is_full) {
            let progress = room.begin();
            let of = Arc::clone(&progress);
            let task = connections.spawn(run(stream, peer, of));
            room.opened(task.id(), progress);
            continue;
        }
        if next.is_some() {
            room.make();
        }
        tokio::select! {
            biased;
            () = drain::requested(&mut shutdown) => break,
            Some(ended) = connections.join_next_with_id() => {
                room.closed(ended.as_ref().map_or_else(JoinError::id, |(task, ())| *task));
                report(ended.map(drop));
            }
            // All may have been busy: one may be waiting now.
            () = tokio::time::sleep(ROOM_PAUSE), if next.is_some() => {}
            accepted = listener.accept(),
                if next.is_none() && (!is_full || settings.makes_room) =>
            {
                match accepted {
                    Ok((stream, peer)) => {
                        pause = ACCEPT_PAUSE;
                        prepare(&stream);
                        next = Some((stream, peer.ip().to_canonical()));
                    }
                    Err(error) if concerns_one_connection(&error) => {}
                    Err(error) => {
                        tracing::error!(listener = settings.name, %error, "cannot accept");
                        // Out of descriptors or memory: connections that end make room.
                        let stopped = drain::requested(&mut shutdown);
                        if tokio::time::timeout(pause, stopped).await.is_ok() {
                            break;
                        }
                        pause = (pause * 2).min(ACCEPT_PAUSE_LIMIT);
                    }
                }
            }
        }
    }
    // Who had connected by now may have sent a request.
    for (stream, peer) in next.into_iter().chain(drain::queued(listener)) {
        if connections.len() < settings.max_connections {
            connections.spawn(run(stream, peer, room.begin()));
        }
    }
    drain::finish(connections, settings).await;
}

/// The first pause after a failed accept, doubled with every further one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);
const ACCEPT_PAUSE_LIMIT: Duration = Duration::from_secs(1);
/// Between two looks for a connection that can make room.
const ROOM_PAUSE: Duration = Duration::from_millis(100);

fn prepare(stream: &TcpStream) {
    // It fails only for a connection that is gone already, and reading will find that out.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
}

/// The client went away before it was accepted; the listener is as well as before.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        // The panic's own text may quote a request: it is left to the panic hook.
        tracing::error!("a request panicked; its connection is closed");
    }
}

#[cfg(test)]
mod tests;
