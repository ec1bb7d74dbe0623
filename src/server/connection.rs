//! One connection: hyper on a stream that is watched, and the clock that cuts it when it stalls.
//!
//! There is one timer per connection and none per request: it is moved only when a phase ends
//! sooner than it would fire. hyper's own head timeout stays off, because in this version it also
//! runs while a connection is idle.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::CONNECTION;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use crate::server::ServeSettings;
use crate::server::drain::{self, Shutdown};
use crate::server::watched::{Phase, Progress, Watched};

/// How long a client that has connected, or begun a request, has to send its head when the server
/// stops: its packets may be on their way.
const LAST_HEAD: Duration = Duration::from_millis(250);

/// Answers the requests of one connection until it ends, stalls, or the server stops.
pub(super) async fn run<H, F>(
    stream: TcpStream,
    peer: IpAddr,
    progress: Arc<Progress>,
    handler: H,
    settings: ServeSettings,
    mut shutdown: Shutdown,
) where
    H: Fn(Request<Incoming>, IpAddr) -> F,
    F: Future<Output = Response<Full<Bytes>>>,
{
    let io = TokioIo::new(Watched::new(stream, Arc::clone(&progress)));
    let seen = Arc::clone(&progress);
    let service = service_fn(move |request| {
        let progress = Arc::clone(&seen);
        progress.enter(Phase::Busy);
        let answer = handler(request, peer);
        async move {
            let response = answer.await;
            // An answer that closes the connection came before its request was read whole.
            if response.headers().contains_key(CONNECTION) {
                progress.leaves_unread();
            }
            progress.enter(Phase::Answering);
            Ok::<_, Infallible>(response)
        }
    });
    let mut http = http1::Builder::new();
    http.half_close(false).header_read_timeout(None).max_buf_size(settings.head_bytes);
    // Some old clients compare header names to the letter.
    http.title_case_headers(true);

    let mut connection = pin!(http.serve_connection(io, service));
    let mut due = Phase::Head.due(Instant::now(), &settings);
    let mut alarm = pin!(sleep_until(due.unwrap_or_else(Instant::now)));
    let mut unwanted = pin!(progress.unwanted().notified());
    let mut stop = pin!(drain::requested(&mut shutdown));
    // When whoever has begun a head must have sent it, once the server stops.
    let mut last_head = None;
    let mut draining = false;
    let end = poll_fn(|cx| {
        loop {
            if connection.as_mut().poll(cx).is_ready() {
                return Poll::Ready(End::Closed);
            }
            if progress.has_moved() {
                due = progress.phase().due(Instant::now(), &settings);
                if progress.phase() == Phase::Head {
                    due = last_head.or(due);
                }
                if let Some(at) = due.filter(|at| *at < alarm.deadline()) {
                    alarm.as_mut().reset(at);
                }
            }
            // The alarm may be early: it is never moved back before it has fired.
            while alarm.as_mut().poll(cx).is_ready() {
                let now = Instant::now();
                match due {
                    Some(at) if at <= now => return Poll::Ready(End::Stalled),
                    later => alarm.as_mut().reset(later.unwrap_or(now + settings.idle_timeout)),
                }
            }
            while unwanted.as_mut().poll(cx).is_ready() {
                if progress.phase().waits() {
                    return Poll::Ready(End::MadeRoom);
                }
                unwanted.set(progress.unwanted().notified());
            }
            if last_head.is_none() {
                ready!(stop.as_mut().poll(cx));
                let last = Instant::now() + LAST_HEAD;
                last_head = Some(last);
                if progress.phase() == Phase::Head {
                    let last = due.map_or(last, |at| at.min(last));
                    due = Some(last);
                    alarm.as_mut().reset(last);
                    continue;
                }
            }
            match progress.phase() {
                Phase::Lingering => return Poll::Ready(End::Stopped),
                // hyper would close it, and a request may be on its way.
                Phase::Head => return Poll::Pending,
                _ if draining => return Poll::Pending,
                _ => draining = true,
            }
            // An idle connection ends with the next poll, a busy one after its answer.
            connection.as_mut().graceful_shutdown();
        }
    })
    .await;
    let phase = progress.phase();
    tracing::debug!(listener = settings.name, %peer, ?end, ?phase, "connection ended");
}

/// Why a connection ended.
#[derive(Debug)]
enum End {
    /// By either side, at the end of an exchange or in its middle.
    Closed,
    /// Its phase took too long.
    Stalled,
    /// Another connection needed its place while it waited for its client.
    MadeRoom,
    /// The server stops, and nothing of an answer is lost.
    Stopped,
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::sync::{oneshot, watch};

    use super::*;

    const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    const SHORT: Duration = Duration::from_millis(40);
    const LONG: Duration = Duration::from_mins(1);

    fn settings(header_timeout: Duration, idle_timeout: Duration) -> ServeSettings {
        ServeSettings {
            name: "test",
            max_connections: 1,
            makes_room: false,
            header_timeout,
            idle_timeout,
            drain: LONG,
            head_bytes: 16 * 1024,
        }
    }

    fn ok() -> Response<Full<Bytes>> {
        Response::new(Full::new(Bytes::from_static(b"done")))
    }

    /// A client of a connection that `handler` answers; the connection runs beside the test, and
    /// begins when `first` is there to be read, so that a busy machine cuts nothing too early.
    async fn client<H, F>(settings: ServeSettings, first: &str, handler: H) -> TcpStream
    where
        H: Fn(Request<Incoming>, IpAddr) -> F + Send + 'static,
        F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.write_all(first.as_bytes()).await.unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        let (stop, shutdown) = watch::channel(false);
        #[expect(clippy::disallowed_methods, reason = "a test runs the server beside itself")]
        tokio::spawn(async move {
            let _stop = stop;
            let progress = Arc::new(Progress::new(Arc::default()));
            run(stream, peer.ip(), progress, handler, settings, shutdown).await;
        });
        client
    }

    async fn until_closed(stream: &mut TcpStream) -> String {
        let mut text = Vec::new();
        let read = stream.read_to_end(&mut text);
        // A reset after the answer is a close as well; what was read before it stays.
        drop(tokio::time::timeout(LONG, read).await.unwrap());
        String::from_utf8(text).unwrap()
    }

    #[tokio::test]
    async fn a_connection_that_sends_nothing_is_cut_after_the_header_timeout() {
        let mut stream = client(settings(SHORT, LONG), "", |_, _| async { ok() }).await;
        assert_eq!(until_closed(&mut stream).await, "");
    }

    #[tokio::test]
    async fn a_head_that_trickles_in_is_cut_all_the_same() {
        let mut stream = client(settings(SHORT, LONG), GET, |_, _| async { ok() }).await;
        let mut seen = [0; 16];
        stream.read_exact(&mut seen).await.unwrap();
        let started = Instant::now();
        stream.write_all(b"GET / HTTP/1.1\r\nX: ").await.unwrap();
        // Each byte comes well within the limit: only a limit on the whole ends this.
        while stream.write_all(b"x").await.is_ok() {
            let mut rest = [0; 1024];
            match tokio::time::timeout(SHORT / 8, stream.read(&mut rest)).await {
                Ok(Ok(0) | Err(_)) => break,
                Ok(Ok(_)) | Err(_) => assert!(started.elapsed() < LONG / 2, "never cut"),
            }
        }
        assert!(started.elapsed() >= SHORT / 2);
    }

    #[tokio::test]
    async fn an_idle_connection_is_cut_after_the_idle_timeout_and_not_the_header_timeout() {
        let limits = settings(SHORT / 4, 4 * SHORT);
        let mut stream = client(limits, GET, |_, _| async { ok() }).await;
        let mut text = Vec::new();
        while !text.ends_with(b"done") {
            text.push(stream.read_u8().await.unwrap());
        }
        let started = Instant::now();
        // The line break that old clients send after a body begins no head.
        stream.write_all(b"\r\n").await.unwrap();
        assert_eq!(until_closed(&mut stream).await, "");
        assert!(started.elapsed() >= 3 * SHORT);
    }

    #[tokio::test]
    async fn a_handler_may_take_longer_than_every_timeout() {
        let mut stream = client(settings(SHORT / 4, SHORT / 4), GET, |_, _| async {
            tokio::time::sleep(2 * SHORT).await;
            ok()
        })
        .await;
        assert!(until_closed(&mut stream).await.ends_with("done"));
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_its_answer_is_cut() {
        struct Large(Vec<u8>, Option<oneshot::Sender<()>>);
        impl AsRef<[u8]> for Large {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }
        impl Drop for Large {
            fn drop(&mut self) {
                self.1.take().unwrap().send(()).unwrap();
            }
        }
        let (dropped, gone) = oneshot::channel();
        let answer = std::sync::Mutex::new(Some(Large(vec![b'x'; 64 << 20], Some(dropped))));
        let _stream = client(settings(LONG, SHORT), GET, move |_, _| {
            let answer = answer.lock().unwrap().take().unwrap();
            async { Response::new(Full::new(Bytes::from_owner(answer))) }
        })
        .await;
        tokio::time::timeout(LONG, gone).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_client_that_reads_its_answer_slowly_is_not_cut() {
        const SIZE: usize = 64 << 20;
        let mut stream = client(settings(LONG, 8 * SHORT), GET, |_, _| async {
            Response::new(Full::new(Bytes::from(vec![b'x'; SIZE])))
        })
        .await;
        let mut piece = vec![0; SIZE / 32];
        for _ in 0..32 {
            tokio::time::sleep(SHORT / 2).await;
            stream.read_exact(&mut piece).await.unwrap();
        }
    }

    #[tokio::test]
    async fn requests_sent_ahead_are_answered_in_order() {
        let mut stream = client(settings(LONG, SHORT), &GET.repeat(3), |_, _| async { ok() }).await;
        assert_eq!(until_closed(&mut stream).await.matches("done").count(), 3);
    }

    /// Reads the answer to the end, and goes on sending, which a closed connection would refuse.
    async fn sends_on(mut stream: TcpStream) -> String {
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        for _ in 0..3 {
            stream.write_all(b"x").await.unwrap();
            tokio::task::yield_now().await;
        }
        text
    }

    #[tokio::test]
    async fn an_answer_that_closes_waits_for_a_client_that_is_still_sending() {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nxxxx";
        let stream = client(settings(LONG, LONG), head, |_, _| async {
            let mut response = ok();
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            response
        })
        .await;
        let text = sends_on(stream).await;
        assert!(text.ends_with("done"), "{text}");
    }

    #[tokio::test]
    async fn a_head_larger_than_the_buffer_is_refused_by_hyper_without_a_body() {
        let head = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(100_000));
        let stream = client(settings(LONG, LONG), &head, |_, _| async { ok() }).await;
        let text = sends_on(stream).await;
        assert!(text.starts_with("HTTP/1.1 431 ") && text.ends_with("\r\n\r\n"), "{text}");
    }

    #[tokio::test]
    async fn http_1_0_without_host_is_answered_and_closed() {
        let mut stream =
            client(settings(LONG, LONG), "GET / HTTP/1.0\r\n\r\n", |_, _| async { ok() }).await;
        let text = until_closed(&mut stream).await;
        assert!(text.starts_with("HTTP/1.0 200 OK\r\n") && text.ends_with("done"), "{text}");
    }

    #[tokio::test]
    async fn an_offer_to_upgrade_is_passed_over_and_the_connection_lives_on() {
        let mut stream = client(settings(LONG, SHORT), "", |_, _| async { ok() }).await;
        let offer = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\n\
                     Upgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n\r\n";
        stream.write_all(offer.as_bytes()).await.unwrap();
        stream.write_all(GET.as_bytes()).await.unwrap();
        assert_eq!(until_closed(&mut stream).await.matches("done").count(), 2);
    }
}
