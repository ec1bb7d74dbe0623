//! A stream that notes which part of an exchange is under way, for the clock of its connection.
//!
//! It looks at when bytes pass and never at what they say, with two exceptions: a line break between
//! requests begins none, and a request line with a raw `#` is made one that hyper refuses.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::server::ServeSettings;

/// Which part of an exchange is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    /// A head is arriving, or the first one is awaited.
    Head,
    /// The handler runs, and reads the body by a time limit of its own.
    Busy,
    /// The answer is being written.
    Answering,
    /// The next request is awaited. The rest of a pipelined head counts as idle until more of it
    /// arrives.
    Idle,
    /// The answer is written and the client is still sending.
    Lingering,
}

/// How long we go on reading what nobody wants. Without it, closing would reset the connection,
/// and the client might lose the answer that says why.
const LINGER: Duration = Duration::from_secs(2);

impl Phase {
    const ALL: [Self; 5] = [Self::Head, Self::Busy, Self::Answering, Self::Idle, Self::Lingering];

    /// Whether it is the client's turn: nothing is lost when the connection ends now.
    pub(super) fn waits(self) -> bool {
        matches!(self, Self::Head | Self::Idle | Self::Lingering)
    }

    /// When this phase has taken too long if it began, or last moved on, at `since`.
    pub(super) fn due(self, since: Instant, settings: &ServeSettings) -> Option<Instant> {
        match self {
            Self::Head => Some(since + settings.header_timeout),
            Self::Busy => None,
            Self::Answering | Self::Idle => Some(since + settings.idle_timeout),
            Self::Lingering => Some(since + LINGER),
        }
    }
}

/// What the stream and the service tell the clock, and the accept loop. What is in here is right for
/// its own task only; others see it a little later.
pub(super) struct Progress {
    phase: AtomicU8,
    /// The time limit begins anew.
    moved: AtomicBool,
    /// The client may be sending something that is not going to be read.
    unread: AtomicBool,
    /// The number of its last step, of all those on this listener: the lowest is the oldest.
    step: AtomicU64,
    steps: Arc<AtomicU64>,
    unwanted: Notify,
}

impl Progress {
    /// Of a connection whose first head is awaited; `steps` counts those of all connections.
    pub(super) fn new(steps: Arc<AtomicU64>) -> Self {
        Self {
            phase: AtomicU8::new(Phase::Head as u8),
            moved: AtomicBool::new(false),
            unread: AtomicBool::new(false),
            step: AtomicU64::new(steps.fetch_add(1, Ordering::Relaxed)),
            steps,
            unwanted: Notify::new(),
        }
    }

    /// The exchange has got here, or has got further in this phase.
    pub(super) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
        self.moved.store(true, Ordering::Relaxed);
        self.step.store(self.steps.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
    }

    /// The number of its last step.
    pub(super) fn step(&self) -> u64 {
        self.step.load(Ordering::Relaxed)
    }

    /// Told when another connection needs the place of this one.
    pub(super) const fn unwanted(&self) -> &Notify {
        &self.unwanted
    }

    /// Where the exchange is.
    pub(super) fn phase(&self) -> Phase {
        Phase::ALL[usize::from(self.phase.load(Ordering::Relaxed))]
    }

    /// Whether the time limit begins anew; says so once.
    pub(super) fn has_moved(&self) -> bool {
        let moved = self.moved.load(Ordering::Relaxed);
        self.moved.store(false, Ordering::Relaxed);
        moved
    }

    /// The connection will be closed while the client may still be sending.
    pub(super) fn leaves_unread(&self) {
        self.unread.store(true, Ordering::Relaxed);
    }
}

/// A stream that notes how the exchange on it goes on.
pub(super) struct Watched {
    stream: TcpStream,
    progress: Arc<Progress>,
    /// The last line that was read has not ended; it may go on in the next piece.
    line: Line,
}

impl Watched {
    /// Watches `stream` and notes in `progress`.
    pub(super) fn new(stream: TcpStream, progress: Arc<Progress>) -> Self {
        Self { stream, progress, line: Line::default() }
    }

    fn wrote(&self, count: usize) {
        if count > 0 && self.progress.phase() == Phase::Answering {
            self.progress.enter(Phase::Answering);
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.line.spoil(&mut buffer.filled_mut()[before..]);
        // Old clients send a line break after a body; it begins no head.
        if self.progress.phase() == Phase::Idle
            && buffer.filled()[before..].iter().any(|byte| !matches!(byte, b'\r' | b'\n'))
        {
            self.progress.enter(Phase::Head);
        }
        Poll::Ready(Ok(()))
    }
}

/// Finds request lines that hold a raw `#`, across the pieces in which they arrive.
///
/// hyper takes what follows a `#` in the target for a fragment and drops it without a word. A client
/// that does not escape would then delete by half an identifier, and a `dryRun` behind it would be
/// lost. A blank in its place makes hyper refuse the request.
#[derive(Default)]
struct Line {
    /// The beginning of the line that has not ended, as far as it tells a request line.
    begun: [u8; "POST ".len()],
    /// How much of that is there.
    length: usize,
    /// The line is complete.
    ended: bool,
}

impl Line {
    fn spoil(&mut self, piece: &mut [u8]) {
        if piece.contains(&b'#') {
            for line in piece.split_inclusive_mut(|byte| *byte == b'\n') {
                self.go_on(line);
                if self.begun.starts_with(b"GET ") || self.begun == *b"POST " {
                    line.iter_mut().filter(|byte| **byte == b'#').for_each(|byte| *byte = b' ');
                }
            }
        } else {
            let last = piece.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            if last > 0 {
                *self = Self::default();
            }
            self.go_on(&piece[last..]);
        }
    }

    /// Takes in the next part of the line, or the first of a new one when it had ended.
    fn go_on(&mut self, part: &[u8]) {
        if self.ended {
            *self = Self::default();
        }
        let taken = part.len().min(self.begun.len() - self.length);
        self.begun[self.length..self.length + taken].copy_from_slice(&part[..taken]);
        self.length += taken;
        self.ended = part.last() == Some(&b'\n');
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.wrote(count);
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, slices))?;
        self.wrote(count);
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes when it has written all it has.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        if self.progress.phase() == Phase::Answering {
            self.progress.enter(Phase::Idle);
        }
        Poll::Ready(Ok(()))
    }

    /// Says that nothing more is coming and, when the client may still be sending, reads on until
    /// it has understood.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.progress.phase() != Phase::Lingering {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            // Still at the head: hyper refused it by itself.
            let refused = self.progress.phase() == Phase::Head;
            if !refused && !self.progress.unread.load(Ordering::Relaxed) {
                return Poll::Ready(Ok(()));
            }
            self.progress.enter(Phase::Lingering);
        }
        loop {
            let mut unwanted = [0; 4096];
            let mut buffer = ReadBuf::new(&mut unwanted);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What hyper reads when `text` arrives in pieces of every size.
    #[track_caller]
    fn check(text: &str, expected: &str) {
        for size in 1..=text.len() {
            let mut line = Line::default();
            let mut bytes = text.as_bytes().to_vec();
            bytes.chunks_mut(size).for_each(|piece| line.spoil(piece));
            assert_eq!(String::from_utf8(bytes).unwrap(), expected, "in pieces of {size}");
        }
    }

    #[test]
    fn a_raw_hash_in_a_request_line_becomes_a_blank_that_hyper_refuses() {
        check("GET /a?b=1#2&dryRun=1 HTTP/1.1\r\n", "GET /a?b=1 2&dryRun=1 HTTP/1.1\r\n");
        check("POST /a#b HTTP/1.1\r\n\r\n", "POST /a b HTTP/1.1\r\n\r\n");
        let second = "GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b#c HTTP/1.1\r\n\r\n";
        check(second, &second.replace('#', " "));
    }

    #[test]
    fn a_hash_elsewhere_stays() {
        let text = "POST /a HTTP/1.1\r\nX-Note: #1\r\n\r\nextension=12#34&status=last";
        check(text, text);
    }
}
