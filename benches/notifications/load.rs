//! The load: one task for each connection, each request a call of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

/// Where the load goes, and for how long.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) address: SocketAddr,
    pub(crate) token: String,
    pub(crate) duration: Duration,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Answered 202.
    pub(crate) taken: u64,
    /// Answered 503.
    refused: u64,
    /// Anything else.
    other: u64,
    elapsed: Duration,
    latencies: Vec<Duration>,
}

impl Report {
    pub(crate) const HEADER: &'static str =
        "                                 202/s      503   other     p50 ms    p99 ms    max ms";

    /// One line of the table.
    #[expect(clippy::cast_precision_loss, reason = "counts of a short run are small")]
    pub(crate) fn line(&self, name: &str) -> String {
        let rate = self.taken as f64 / self.elapsed.as_secs_f64();
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let at = |share: usize| {
            let index = (sorted.len() * share / 100).min(sorted.len().saturating_sub(1));
            sorted.get(index).map_or(0.0, |latency| latency.as_secs_f64() * 1000.0)
        };
        format!(
            "{name:<30} {rate:>8.0} {:>8} {:>7} {:>10.2} {:>9.2} {:>9.2}",
            self.refused,
            self.other,
            at(50),
            at(99),
            at(100)
        )
    }

    fn add(&mut self, other: Self) {
        self.taken += other.taken;
        self.refused += other.refused;
        self.other += other.other;
        self.latencies.extend(other.latencies);
    }
}

impl Load {
    /// Each connection sends its next request when the last one is answered.
    pub(crate) async fn as_fast_as_it_goes(&self, connections: usize) -> std::io::Result<Report> {
        self.run(connections, None).await
    }

    /// `rate` requests become due each second, whether or not earlier ones are answered.
    pub(crate) async fn at_rate(&self, connections: usize, rate: u32) -> std::io::Result<Report> {
        self.run(connections, Some(rate)).await
    }

    async fn run(&self, connections: usize, rate: Option<u32>) -> std::io::Result<Report> {
        let mut tasks = JoinSet::new();
        let next = Arc::new(AtomicU32::new(0));
        let began = Instant::now();
        for _ in 0..connections {
            let (load, next) = (self.clone(), Arc::clone(&next));
            tasks.spawn(async move { load.connection(began, rate, &next).await });
        }
        let mut report = Report::default();
        while let Some(ended) = tasks.join_next().await {
            report.add(ended.map_err(std::io::Error::other)??);
        }
        report.elapsed = began.elapsed();
        Ok(report)
    }

    async fn connection(
        &self,
        began: Instant,
        rate: Option<u32>,
        next: &AtomicU32,
    ) -> std::io::Result<Report> {
        let mut stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let mut report = Report::default();
        let mut answer = vec![0; 4096];
        loop {
            let due = match rate {
                Some(rate) => {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let due = began + Duration::from_secs_f64(f64::from(number) / f64::from(rate));
                    tokio::time::sleep_until(due).await;
                    due
                }
                None => Instant::now(),
            };
            if due.duration_since(began) >= self.duration {
                return Ok(report);
            }
            stream.write_all(self.request().as_bytes()).await?;
            let status = status(&mut stream, &mut answer).await?;
            match status {
                202 => report.taken += 1,
                503 => report.refused += 1,
                _ => report.other += 1,
            }
            report.latencies.push(due.elapsed());
        }
    }

    /// An incoming call as Graph v1.0 announces it.
    fn request(&self) -> String {
        let id = Uuid::new_v4();
        let caller = id.as_fields().0 % 10_000_000;
        let body = format!(
            "{{\"@odata.type\":\"#microsoft.graph.commsNotifications\",\"value\":[{{\
             \"@odata.type\":\"#microsoft.graph.commsNotification\",\"changeType\":\"created\",\
             \"resource\":\"/app/calls/{id}\",\"resourceUrl\":\"/communications/calls/{id}\",\
             \"resourceData\":{{\"@odata.type\":\"#microsoft.graph.call\",\"state\":\"incoming\",\
             \"direction\":\"incoming\",\"callChainId\":\"{id}\",\"source\":{{\"identity\":{{\
             \"phone\":{{\"id\":\"+4930{caller:07}\"}}}},\"region\":\"emea\"}},\"targets\":[{{\
             \"identity\":{{\"phone\":{{\"id\":\"+49301234{:04}\"}}}}}}],\
             \"requestedModalities\":[\"audio\"],\"id\":\"{id}\"}}}}]}}",
            caller % 10_000
        );
        format!(
            "POST /api/calls HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nX-Microsoft-Skype-Message-ID: {id}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        )
    }
}

/// Reads an answer to its end and gives its status.
async fn status(stream: &mut TcpStream, buffer: &mut [u8]) -> std::io::Result<u16> {
    let mut read = 0;
    loop {
        let more = stream.read(&mut buffer[read..]).await?;
        if more == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        read += more;
        let text = String::from_utf8_lossy(&buffer[..read]);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.to_ascii_lowercase();
        let length = length.split("content-length: ").nth(1).and_then(|rest| {
            rest.split("\r\n").next().and_then(|length| length.parse::<usize>().ok())
        });
        if body.len() >= length.unwrap_or(0) {
            let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
            return status.ok_or_else(|| std::io::ErrorKind::InvalidData.into());
        }
    }
}
