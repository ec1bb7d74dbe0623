//! The good client: one look-up after another at a steady pace.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::flood::answer;
use super::site::{EXTENSION, Site};

/// One request becomes due in each. Half of the limit for its p99: a client that waits for its answers
/// and is asked for more than it can get would measure its own backlog.
const PACE: Duration = Duration::from_millis(25);

/// A client in a thread of its own, so that the flood does not hold it up in this process.
#[derive(Debug)]
pub(crate) struct GoodClient {
    latencies: Arc<Mutex<Vec<Duration>>>,
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<()>>,
}

/// How long the answers took.
#[derive(Debug)]
pub(crate) struct Latencies {
    sorted: Vec<Duration>,
}

impl GoodClient {
    /// Begins to ask.
    pub(crate) fn start(site: &Site) -> io::Result<Self> {
        let latencies = Arc::<Mutex<Vec<Duration>>>::default();
        let is_over = Arc::<AtomicBool>::default();
        let (address, key) = (site.address, site.key.clone());
        let (kept, over) = (Arc::clone(&latencies), Arc::clone(&is_over));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::spawn(move || runtime.block_on(ask(address, &key, &kept, &over)));
        Ok(Self { latencies, is_over, thread })
    }

    /// The latencies since the last time.
    pub(crate) fn so_far(&self) -> io::Result<Latencies> {
        let latencies = self.latencies.lock().map(|mut kept| std::mem::take(&mut *kept));
        let mut sorted = latencies.map_err(|error| io::Error::other(error.to_string()))?;
        if sorted.is_empty() {
            return Err(io::Error::other("the good client was not answered"));
        }
        sorted.sort_unstable();
        Ok(Latencies { sorted })
    }

    /// Ends; an error when one of its requests was not answered as it should.
    pub(crate) fn stop(self) -> io::Result<()> {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|panic| io::Error::other(format!("{panic:?}")))?
    }
}

async fn ask(
    address: SocketAddr,
    key: &str,
    latencies: &Mutex<Vec<Duration>>,
    is_over: &AtomicBool,
) -> io::Result<()> {
    let request = format!(
        "GET /verba/api?action=GetCallID&apiKey={key}&extension={EXTENSION}&status=ongoing HTTP/1.1\
         \r\nHost: gateway\r\n\r\n"
    );
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    let mut due = Instant::now();
    while !is_over.load(Ordering::Relaxed) {
        tokio::time::sleep_until(due).await;
        stream.write_all(request.as_bytes()).await?;
        let answer = answer(&mut stream, &mut buffer).await?;
        if !answer.contains("code=\"0\"") {
            return Err(io::Error::other(format!("the good client was answered {answer}")));
        }
        let mut kept = latencies.lock().map_err(|error| io::Error::other(error.to_string()))?;
        kept.push(due.elapsed());
        due += PACE;
    }
    Ok(())
}

impl Latencies {
    pub(crate) const HEADER: &'static str =
        "                                requests     p50 ms     p99 ms     max ms";

    /// One line of the table.
    pub(crate) fn line(&self, name: &str) -> String {
        let at = |share| self.percentile(share).as_secs_f64() * 1000.0;
        let (half, most, all) = (at(50), at(99), at(100));
        format!("{name:<31} {:>8} {half:>10.2} {most:>10.2} {all:>10.2}", self.sorted.len())
    }

    /// What so many of a hundred did not go beyond.
    pub(crate) fn percentile(&self, share: usize) -> Duration {
        let index = (self.sorted.len() * share / 100).min(self.sorted.len() - 1);
        self.sorted[index]
    }
}
