//! Stopping: the signal from outside, and what becomes of the connections that are left.
//!
//! The order is fixed: what waits in the kernel's queue is accepted and nothing after that, idle
//! connections are closed at once and half-sent heads a moment later (each connection does that by
//! itself), requests finish, and at the limit what is left is dropped.

use std::io;
use std::net::IpAddr;

use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::server::ServeSettings;

/// True from the moment the server is to stop; every part that waits for something holds one.
pub(crate) type Shutdown = watch::Receiver<bool>;

/// Waits until the server is to stop. A sender that is gone can never say so, and counts as if it
/// had.
pub(crate) async fn requested(shutdown: &mut Shutdown) {
    drop(shutdown.wait_for(|requested| *requested).await);
}

/// Waits for the operating system's wish that this process ends: SIGTERM or SIGINT.
///
/// # Errors
///
/// When the handlers cannot be installed.
pub(crate) async fn signalled() -> io::Result<&'static str> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}

/// What the kernel has accepted for `listener` and nobody has taken yet; then it is closed. Without
/// this the kernel would reset these connections, and their requests with them.
pub(super) fn queued(listener: TcpListener) -> Vec<(TcpStream, IpAddr)> {
    let mut queued = Vec::new();
    // Of the runtime's own accept nobody knows whether the queue is empty or was not looked at yet.
    let Ok(listener) = listener.into_std() else { return queued };
    while let Ok((stream, peer)) = listener.accept() {
        let prepared = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
        if let Ok(stream) = prepared {
            super::prepare(&stream);
            queued.push((stream, peer.ip().to_canonical()));
        }
    }
    queued
}

/// Waits for `connections`, which know of the shutdown, and drops those that are left at the limit.
pub(super) async fn finish(mut connections: JoinSet<()>, settings: ServeSettings) {
    let listener = settings.name;
    let all = async {
        while let Some(ended) = connections.join_next().await {
            super::report(ended);
        }
    };
    if tokio::time::timeout(settings.drain, all).await.is_ok() {
        tracing::info!(listener, "all connections finished");
        return;
    }
    tracing::warn!(listener, open = connections.len(), "drain limit reached, closing what is left");
    connections.shutdown().await;
}
