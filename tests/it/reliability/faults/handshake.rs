//! A Graph that is reached by https, and somebody on the way who breaks it: nothing is said to anybody
//! who is not Graph, and everything comes to an end.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use callgate::Simulator;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::trouble::Time;
use super::world::{comes_to_an_end, redirect};
use crate::reliability::{amount, figure};
use crate::support::{Gateway, Seeded, Site, all_of, call, until};

/// How long a connection that was let through may last.
const LIFE: Duration = Duration::from_millis(60);
/// Milliseconds that pass in each turn while all wait for a probe. Nobody is waited for as long as a lease.
const FASTER: i64 = 10_000;
/// What may come of a connection; the last is let through.
const WAYS: usize = 5;

/// Between the gateway and Graph; it ends with the test.
struct Breaker {
    address: SocketAddr,
    met: Arc<[AtomicUsize; WAYS]>,
    _accepting: JoinSet<()>,
}

impl Breaker {
    async fn start(seed: u64, graph: SocketAddr, impostor: SocketAddr) -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = TcpListener::bind(any).await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let met: Arc<[AtomicUsize; WAYS]> = Arc::default();
        let counted = Arc::clone(&met);
        let mut seeded = Seeded::new(seed);
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let way = seeded.below(WAYS);
                counted[way].fetch_add(1, Ordering::Relaxed);
                connections.spawn(connect(stream, way, graph, impostor));
            }
        });
        Self { address, met, _accepting: accepting }
    }

    fn met(&self) -> Vec<usize> {
        self.met.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }
}

async fn connect(mut stream: TcpStream, way: usize, graph: SocketAddr, impostor: SocketAddr) {
    let mut hello = [0; 64];
    match way {
        0 => {
            // A server that does not speak TLS.
            let _hello = stream.read(&mut hello).await;
            let _gone = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
        1 => {
            // If it cannot be set, the connection only ends more politely.
            let _politely = stream.set_zero_linger();
        }
        2 => tokio::time::sleep(Duration::from_secs(5)).await,
        3 => pass(stream, impostor, Duration::from_secs(5)).await,
        _ => pass(stream, graph, LIFE).await,
    }
}

async fn pass(mut stream: TcpStream, to: SocketAddr, during: Duration) {
    let Ok(mut to) = TcpStream::connect(to).await else { return };
    let both = tokio::io::copy_bidirectional(&mut stream, &mut to);
    // Cut off, if it lasts.
    let _cut_off = tokio::time::timeout(during, both).await;
}

async fn simulator() -> Simulator {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    Simulator::start_tls(any).await.expect("a port is free")
}

/// Asks the control API, which is served without TLS as well.
async fn control(simulator: &Simulator, method: Method, path: &str, body: &Value) -> Value {
    let client = reqwest::Client::builder().no_proxy().build().expect("it can be built");
    let url = format!("http://{}{path}", simulator.address());
    let answer = client.request(method, url).json(body).send().await.expect("it runs");
    assert!(answer.status().is_success(), "{path}: {}", answer.status());
    let body = answer.bytes().await.expect("it answers");
    serde_json::from_slice(&body).unwrap_or_default()
}

/// Two that speak https, of which one is not trusted unless `trusts_both`, and a gateway that reaches
/// them through a breaker; it is asked to delete so many calls.
struct Lane {
    graph: Simulator,
    impostor: Simulator,
    breaker: Breaker,
    gateway: Gateway,
    calls: Vec<String>,
    _trusted: NamedTempFile,
}

impl Lane {
    async fn make(count: usize, trusts_both: bool) -> Self {
        let (graph, impostor) = (simulator().await, simulator().await);
        // So that a connection does not last for all of them.
        let slow = json!({"method": "DELETE", "delayMs": 20});
        control(&graph, Method::POST, "/sim/faults", &slow).await;
        let breaker = Breaker::start(1, graph.address(), impostor.address()).await;
        let authority = |of: &Simulator| {
            std::fs::read_to_string(of.ca_file().expect("there is https")).expect("it is text")
        };
        let other = if trusts_both { authority(&impostor) } else { String::new() };
        let trusted = NamedTempFile::new().expect("a temporary file can be made");
        std::fs::write(trusted.path(), authority(&graph) + &other).expect("it can be written");
        let site = Site::with(&format!(
            "legacy.wait = \"1ms\"\ngraph.request_timeout = \"1s\"\ngraph.concurrency = 4\n\
             log.level = \"error\"\ngraph.ca_file = \"{}\"",
            trusted.path().display()
        ))
        .await;
        redirect(&site, &format!("https://localhost:{}", breaker.address.port()));
        let (mut lines, mut calls) = (String::new(), Vec::new());
        for _ in 0..count {
            let made = call("8856", json!({}));
            let id = made["graphCallID"].as_str().expect("text").to_owned();
            let there = json!({"id": id, "source": "+4930123456", "targets": ["8856"]});
            control(&graph, Method::POST, "/sim/calls", &there).await;
            lines.extend([made.to_string(), "\n".to_owned()]);
            calls.push(id);
        }
        site.import(&lines).await;
        let gateway = Gateway::serve(site).await;
        Self { graph, impostor, breaker, gateway, calls, _trusted: trusted }
    }

    async fn ask(&self) {
        let shares = self.calls.chunks(self.calls.len().div_ceil(5));
        all_of(shares.map(async |share| {
            for id in share {
                let answer = self.gateway.delete(&format!("nativeID={id}&detail=1")).await;
                assert_eq!(answer.code(), 0, "{}", answer.body);
            }
        }))
        .await;
    }

    /// What the impostor was asked.
    async fn heard(&self) -> Value {
        control(&self.impostor, Method::GET, "/sim/requests", &Value::Null).await
    }
}

#[tokio::test]
async fn whoever_is_not_graph_hears_nothing_and_everything_comes_to_an_end() {
    let count = amount("RELIABILITY_HANDSHAKES", 50);
    let lane = Lane::make(count, false).await;
    lane.ask().await;
    comes_to_an_end(&lane.gateway, &Time::default(), FASTER, async || {}).await;
    let states = "SELECT group_concat(DISTINCT state) FROM deletions";
    let states: String = lane.gateway.value(states);
    for state in states.split(',') {
        assert!(matches!(state, "sent" | "gone" | "confirmed"), "{states}");
    }
    for id in &lane.calls {
        let path = format!("/sim/calls/{id}");
        let call = control(&lane.graph, Method::GET, &path, &Value::Null).await;
        assert_eq!(call["state"], "terminated");
    }
    assert_eq!(lane.heard().await, json!([]));
    let met = lane.breaker.met();
    figure(format_args!(
        "handshakes: {count} deletions; no TLS {}, reset {}, silent {}, another's certificate {}, let \
         through {}",
        met[0], met[1], met[2], met[3], met[4]
    ));
    assert!(met.iter().all(|count| *count > 0), "{met:?}");
}

#[tokio::test]
async fn whoever_is_trusted_and_should_not_be_is_noticed() {
    let lane = Lane::make(20, true).await;
    lane.ask().await;
    let time = Time::default();
    until("the impostor hears something", async || {
        time.advance(&lane.gateway.clock, 1_000);
        (lane.heard().await != json!([])).then_some(())
    })
    .await;
}
