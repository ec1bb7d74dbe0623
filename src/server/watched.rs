//! A stream that notes which part of an exchange is under way, for the clock of its connection.
//!
//! It looks at when bytes pass and never at what they say, with one exception: a line break
//! between requests begins none.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
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

/// What the stream and the service tell the clock. One task uses it: nothing needs an order.
#[derive(Default)]
pub(super) struct Progress {
    phase: AtomicU8,
    /// The time limit begins anew.
    moved: AtomicBool,
    /// The client may be sending something that is not going to be read.
    unread: AtomicBool,
}

impl Progress {
    /// The exchange has got here, or has got further in this phase.
    pub(super) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
        self.moved.store(true, Ordering::Relaxed);
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
}

impl Watched {
    /// Watches `stream` and notes in `progress`.
    pub(super) const fn new(stream: TcpStream, progress: Arc<Progress>) -> Self {
        Self { stream, progress }
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
        // Old clients send a line break after a body; it begins no head.
        if self.progress.phase() == Phase::Idle
            && buffer.filled()[before..].iter().any(|byte| !matches!(byte, b'\r' | b'\n'))
        {
            self.progress.enter(Phase::Head);
        }
        Poll::Ready(Ok(()))
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
