//! The flood: one connection for each loopback address, each request with a key of its own.

use std::error::Error;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

/// Connections at the same time: more than it takes to keep both sides busy.
const CONNECTIONS: usize = 256;

/// Where the flood goes.
#[derive(Clone, Debug)]
pub(crate) struct Flood {
    pub(crate) address: SocketAddr,
    /// Altogether; what does not go into equal shares is left out.
    pub(crate) requests: u32,
    pub(crate) addresses: u16,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Flooded {
    pub(crate) answered: u32,
    /// Answers with another status, code or body than the first one.
    pub(crate) other: u32,
    pub(crate) elapsed: Duration,
}

impl Flood {
    /// Sends all of it; every request is answered.
    pub(crate) async fn run(&self) -> Result<Flooded, Box<dyn Error>> {
        let share = self.requests / u32::from(self.addresses);
        let expected = Arc::new(OnceLock::new());
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        let mut connections = JoinSet::new();
        let began = Instant::now();
        for number in 0..self.addresses {
            let (address, expected) = (self.address, Arc::clone(&expected));
            let room = Arc::clone(&room);
            connections.spawn(async move {
                let _place = room.acquire().await.map_err(io::Error::other)?;
                connection(address, number, share, expected).await
            });
        }
        let mut flooded = Flooded { answered: 0, other: 0, elapsed: Duration::default() };
        while let Some(ended) = connections.join_next().await {
            flooded.other += ended??;
            flooded.answered += share;
        }
        flooded.elapsed = began.elapsed();
        Ok(flooded)
    }
}

/// Sends a share from the address of this number, and counts the answers that are unlike `expected`.
async fn connection(
    address: SocketAddr,
    number: u16,
    share: u32,
    expected: Arc<OnceLock<String>>,
) -> io::Result<u32> {
    let [high, low] = number.to_be_bytes();
    let socket = TcpSocket::new_v4()?;
    // 127.0.0.1 is the good client's.
    socket.bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 1, high, low)), 0))?;
    let mut stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(1024);
    let mut other = 0;
    for _ in 0..share {
        let key = Uuid::new_v4();
        let request = format!(
            "GET /verba/api?action=DeleteCall&apiKey={key}&callID={key} HTTP/1.1\r\n\
             Host: gateway\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let answer = answer(&mut stream, &mut buffer).await?;
        let is_refusal = answer.starts_with("HTTP/1.1 200 ") && answer.contains("code=\"-41\"");
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let is_like_the_first = expected.get_or_init(|| body.to_owned()) == body;
        other += u32::from(!(is_refusal && is_like_the_first));
    }
    Ok(other)
}

/// Reads an answer to its end, head and body.
pub(crate) async fn answer<'a>(
    stream: &mut TcpStream,
    buffer: &'a mut Vec<u8>,
) -> io::Result<&'a str> {
    buffer.clear();
    loop {
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if is_whole(buffer).is_some() {
            return std::str::from_utf8(buffer).map_err(io::Error::other);
        }
    }
}

fn is_whole(buffer: &[u8]) -> Option<()> {
    let text = std::str::from_utf8(buffer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length").then_some(value)
    })?;
    (body.len() >= length.parse().ok()?).then_some(())
}
