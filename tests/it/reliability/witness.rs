//! Between the gateway and Graph: passes everything on, and notes what was on its way before a
//! deletion arrives.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::trace;

/// A proxy; it ends with the test.
pub(super) struct Witness {
    pub(super) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    _accepting: JoinSet<()>,
}

/// A request to hang up, as it arrives at Graph.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// How far the disk was asked by then.
    pub(super) at: usize,
    pub(super) graph_id: String,
}

impl Witness {
    /// In front of what listens at `graph`, an `http://` address.
    pub(super) async fn start(graph: &str, trace: PathBuf) -> Self {
        let graph: SocketAddr =
            graph.trim_start_matches("http://").parse().expect("the simulator names a port");
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = TcpListener::bind(any).await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let notes = Arc::clone(&seen);
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(pass(stream, graph, trace.clone(), Arc::clone(&notes)));
            }
        });
        Self { address, seen, _accepting: accepting }
    }

    /// What it saw until now.
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn pass(gateway: TcpStream, graph: SocketAddr, trace: PathBuf, seen: Arc<Mutex<Vec<Seen>>>) {
    let Ok(graph) = TcpStream::connect(graph).await else { return };
    let (mut from_gateway, mut to_gateway) = gateway.into_split();
    let (mut from_graph, mut to_graph) = graph.into_split();
    let there = async {
        let mut chunk = vec![0; 64 << 10];
        while let Ok(length @ 1..) = from_gateway.read(&mut chunk).await {
            note(&chunk[..length], &trace, &seen);
            if to_graph.write_all(&chunk[..length]).await.is_err() {
                return;
            }
        }
    };
    let back = tokio::io::copy(&mut from_graph, &mut to_gateway);
    tokio::select! {
        () = there => {}
        _ = back => {}
    }
}

/// A head is sent whole: it has no body to wait for.
fn note(chunk: &[u8], trace: &std::path::Path, seen: &Mutex<Vec<Seen>>) {
    const DELETION: &str = "DELETE /v1.0/communications/calls/";
    let text = String::from_utf8_lossy(chunk);
    for rest in text.split(DELETION).skip(1) {
        let graph_id = rest.split(' ').next().unwrap_or_default().to_owned();
        let seen_now = Seen { at: trace::position(trace), graph_id };
        seen.lock().unwrap_or_else(PoisonError::into_inner).push(seen_now);
    }
}
