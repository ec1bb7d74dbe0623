//! Between the gateway and Graph: passes on what it is asked, and lets some of it go wrong, as a
//! seed says. It notes every request with the gateway's own time.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use callgate::measured::TestClock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::forms::Fault;
use crate::support::Seeded;

/// Longer than the gateway under test waits for anything.
const SILENCE: Duration = Duration::from_secs(5);

/// The time of a gateway whose clock is moved.
#[derive(Clone, Debug, Default)]
pub(super) struct Time(Arc<Mutex<i64>>);

impl Time {
    /// In milliseconds.
    pub(super) fn now(&self) -> i64 {
        let ahead = lock(&self.0);
        #[expect(clippy::disallowed_methods, reason = "the gateway's clock goes by it")]
        let now = jiff::Timestamp::now();
        now.as_millisecond() + *ahead
    }

    /// Moves the gateway's clock. Nobody reads the time meanwhile, so what the gateway does because of
    /// it is not seen with the time before.
    pub(super) fn advance(&self, clock: &TestClock, milliseconds: i64) {
        let mut ahead = lock(&self.0);
        clock.advance(Duration::from_millis(milliseconds.unsigned_abs()));
        *ahead += milliseconds;
    }
}

/// One request, and what became of it.
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    /// Method and path.
    pub(super) what: String,
    pub(super) at: i64,
    pub(super) fault: Option<Fault>,
    /// Before when the answer asked not to be asked again.
    pub(super) not_before: Option<i64>,
}

/// How requests fare.
pub(super) type Choice = dyn Fn(&str, &mut Seeded) -> Option<Fault> + Send + Sync;

/// The proxy; it ends with the test.
pub(super) struct Trouble {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinSet<()>,
}

struct Shared {
    graph: SocketAddr,
    elsewhere: SocketAddr,
    time: Time,
    seed: u64,
    choice: Box<Choice>,
    noted: Mutex<Noted>,
}

#[derive(Default)]
struct Noted {
    exchanges: Vec<Exchange>,
    times: BTreeMap<String, u64>,
}

impl Trouble {
    /// In front of what listens at `graph`, an `http://` address; redirects name `elsewhere`.
    pub(super) async fn start(
        graph: &str,
        elsewhere: SocketAddr,
        seed: u64,
        choice: Box<Choice>,
    ) -> Self {
        let graph = graph.trim_start_matches("http://").parse().expect("a port is named");
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = TcpListener::bind(any).await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let (time, noted) = (Time::default(), Mutex::default());
        let shared = Arc::new(Shared { graph, elsewhere, time, seed, choice, noted });
        let mut trouble = Self { address, shared, accepting: JoinSet::new() };
        trouble.accept(listener);
        trouble
    }

    fn accept(&mut self, listener: TcpListener) {
        let shared = Arc::clone(&self.shared);
        self.accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, Arc::clone(&shared)));
            }
        });
    }

    /// Nobody listens for so long, and what was under way is cut off.
    pub(super) async fn is_away(&mut self, during: Duration) {
        self.accepting.shutdown().await;
        tokio::time::sleep(during).await;
        let listener = TcpListener::bind(self.address).await.expect("the port is still ours");
        self.accept(listener);
    }

    /// The time of the gateway.
    pub(super) fn time(&self) -> &Time {
        &self.shared.time
    }

    /// What was asked until now.
    pub(super) fn exchanges(&self) -> Vec<Exchange> {
        lock(&self.shared.noted).exchanges.clone()
    }
}

impl Shared {
    /// Notes a request and decides how it fares: alike for the same request, whatever came between.
    fn begins(&self, what: String) -> (Option<Fault>, Option<String>) {
        let mut noted = lock(&self.noted);
        let times = noted.times.entry(what.clone()).or_default();
        *times += 1;
        let spread = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        let hash = what.bytes().fold(0xcbf2_9ce4_8422_2325, spread);
        let mut seeded = Seeded::new(hash ^ (self.seed << 32) ^ *times);
        let fault = (self.choice)(&what, &mut seeded);
        let at = self.time.now();
        let (said, not_before) = match &fault {
            Some(Fault::Answer { patience, .. }) => patience.said(at),
            _ => (None, None),
        };
        noted.exchanges.push(Exchange { what, at, fault: fault.clone(), not_before });
        (fault, said)
    }

    async fn pass(&self, request: &[u8]) -> Option<Vec<u8>> {
        let mut graph = TcpStream::connect(self.graph).await.ok()?;
        graph.write_all(request).await.ok()?;
        message(&mut graph, &mut Vec::new()).await
    }

    /// Answers one request. None when the connection is over.
    async fn answer(&self, stream: &mut TcpStream, request: &[u8]) -> Option<()> {
        let line = String::from_utf8_lossy(request);
        let what = line.split(' ').take(2).collect::<Vec<_>>().join(" ");
        let (fault, said) = self.begins(what);
        let answer = match &fault {
            Some(Fault::Answer { status, .. }) => page(*status, said.as_deref(), None),
            Some(Fault::Redirect { status }) => page(*status, None, Some(self.elsewhere)),
            Some(fault) if !fault.is_after_the_effect() => Vec::new(),
            _ => self.pass(request).await?,
        };
        match fault {
            Some(Fault::ResetBefore | Fault::ResetAfter) => {
                stream.set_zero_linger().ok()?;
                None
            }
            Some(Fault::SilenceBefore | Fault::SilenceAfter) => {
                tokio::time::sleep(SILENCE).await;
                None
            }
            Some(Fault::Drip) => {
                for byte in answer {
                    stream.write_all(&[byte]).await.ok()?;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Some(())
            }
            _ => stream.write_all(&answer).await.ok(),
        }
    }
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    let mut unread = Vec::new();
    while let Some(request) = message(&mut stream, &mut unread).await {
        if shared.answer(&mut stream, &request).await.is_none() {
            return;
        }
    }
}

/// The next request or answer, whole, with a body as long as its head says.
async fn message(stream: &mut TcpStream, unread: &mut Vec<u8>) -> Option<Vec<u8>> {
    let head = loop {
        if let Some(at) = unread.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break at + 4;
        }
        stream.read_buf(unread).await.ok().filter(|read| *read > 0)?;
    };
    let text = String::from_utf8_lossy(&unread[..head]).to_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.map_or(0, |length| length.trim().parse().expect("a number"));
    while unread.len() < head + length {
        stream.read_buf(unread).await.ok().filter(|read| *read > 0)?;
    }
    Some(unread.drain(..head + length).collect())
}

/// What something on the way answers in Graph's place.
fn page(status: u16, retry_after: Option<&str>, elsewhere: Option<SocketAddr>) -> Vec<u8> {
    let body = "<html><body>Our services aren't available right now</body></html>";
    let mut page = format!(
        "HTTP/1.1 {status} x\r\nContent-Type: text/html\r\nContent-Length: {}\r\n",
        body.len()
    );
    if let Some(retry_after) = retry_after {
        page.extend(["Retry-After: ", retry_after, "\r\n"]);
    }
    if let Some(elsewhere) = elsewhere {
        page.extend(["Location: http://", &elsewhere.to_string(), "/v1.0/communications\r\n"]);
    }
    page.extend(["\r\n", body]);
    page.into_bytes()
}

/// Where nothing may come, because only redirects name it.
pub(super) struct Elsewhere {
    pub(super) address: SocketAddr,
    came: Arc<Mutex<usize>>,
    _accepting: JoinSet<()>,
}

impl Elsewhere {
    pub(super) async fn start() -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = TcpListener::bind(any).await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let came: Arc<Mutex<usize>> = Arc::default();
        let counted = Arc::clone(&came);
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            while listener.accept().await.is_ok() {
                *lock(&counted) += 1;
            }
        });
        Self { address, came, _accepting: accepting }
    }

    /// How many have connected.
    pub(super) fn came(&self) -> usize {
        *lock(&self.came)
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
