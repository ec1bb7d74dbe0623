//! The accept loop and its connections over TCP.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::*;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
/// Longer than any test may take.
const NEVER: Duration = Duration::from_hours(1);
const LONG: Duration = Duration::from_mins(1);

fn settings() -> ServeSettings {
    ServeSettings {
        name: "test",
        max_connections: 100,
        makes_room: false,
        header_timeout: NEVER,
        idle_timeout: NEVER,
        drain: NEVER,
        head_bytes: 16 * 1024,
    }
}

struct Running {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    done: JoinHandle<()>,
}

impl Running {
    async fn start<H, F>(settings: ServeSettings, handler: H) -> Self
    where
        H: Fn(Request<Incoming>, IpAddr) -> F + Clone + Send + 'static,
        F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, shutdown) = watch::channel(false);
        #[expect(clippy::disallowed_methods, reason = "a test runs the server beside itself")]
        let done = tokio::spawn(serve(listener, handler, settings, shutdown));
        Self { address, stop, done }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn finished(self) {
        tokio::time::timeout(LONG, self.done).await.unwrap().unwrap();
    }
}

fn ok() -> Response<Full<Bytes>> {
    Response::new(Full::new(Bytes::from_static(b"done")))
}

async fn answer(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    while !text.ends_with("done") {
        let mut piece = [0; 1024];
        let count = stream.read(&mut piece).await.unwrap();
        assert!(count > 0, "closed after {text:?}");
        text.push_str(std::str::from_utf8(&piece[..count]).unwrap());
    }
    text
}

/// Whether it ends without an answer, in order or not.
async fn is_cut(stream: &mut TcpStream) -> bool {
    let mut piece = [0; 16];
    let read = tokio::time::timeout(LONG, stream.read(&mut piece)).await;
    matches!(read, Ok(Ok(0) | Err(_)))
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    let read = stream.read_to_string(&mut text);
    tokio::time::timeout(LONG, read).await.unwrap().unwrap();
    text
}

#[tokio::test]
async fn a_connection_answers_one_request_after_the_other() {
    let server = Running::start(settings(), |_, _| async { ok() }).await;
    let mut stream = server.connect().await;
    for _ in 0..3 {
        stream.write_all(GET).await.unwrap();
        let text = answer(&mut stream).await;
        assert!(text.starts_with("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n"), "{text}");
    }
}

#[tokio::test]
async fn over_the_limit_a_connection_waits_until_another_has_ended() {
    let answered = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&answered);
    let one = ServeSettings { max_connections: 1, ..settings() };
    let server = Running::start(one, move |_, _| {
        counter.fetch_add(1, Ordering::SeqCst);
        async { ok() }
    })
    .await;
    let mut first = server.connect().await;
    first.write_all(GET).await.unwrap();
    answer(&mut first).await;
    let mut second = server.connect().await;
    second.write_all(GET).await.unwrap();
    for _ in 0..50 {
        first.write_all(GET).await.unwrap();
        answer(&mut first).await;
    }
    assert_eq!(answered.load(Ordering::SeqCst), 51);
    drop(first);
    answer(&mut second).await;
}

#[tokio::test]
async fn over_the_limit_who_waits_longest_makes_room_and_who_is_busy_does_not() {
    let (release, released) = watch::channel(false);
    let (entered, mut seen) = watch::channel(false);
    let entered = Arc::new(entered);
    let two = ServeSettings { max_connections: 2, makes_room: true, ..settings() };
    let server = Running::start(two, move |request, _| {
        let mut released = released.clone();
        let is_slow = request.uri().path() == "/slow";
        if is_slow {
            entered.send_replace(true);
        }
        async move {
            if is_slow {
                released.wait_for(|now| *now).await.unwrap();
            }
            ok()
        }
    })
    .await;
    let mut busy = server.connect().await;
    busy.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    seen.wait_for(|now| *now).await.unwrap();
    // Silent, half a head, and idle: each makes room for the next one.
    let mut silent = server.connect().await;
    let mut half = server.connect().await;
    assert!(is_cut(&mut silent).await);
    half.write_all(b"GET / HTTP/1.1\r\nHo").await.unwrap();
    let mut idle = server.connect().await;
    assert!(is_cut(&mut half).await);
    idle.write_all(GET).await.unwrap();
    answer(&mut idle).await;
    let mut last = server.connect().await;
    assert_eq!(rest(&mut idle).await, "");
    last.write_all(GET).await.unwrap();
    answer(&mut last).await;
    release.send(true).unwrap();
    assert!(answer(&mut busy).await.starts_with("HTTP/1.1 200 OK\r\n"));
}

#[tokio::test]
async fn draining_closes_idle_and_half_sent_at_once_and_lets_the_busy_finish() {
    let (release, released) = watch::channel(false);
    let (entered, mut seen) = watch::channel(0);
    let entered = Arc::new(entered);
    let server = Running::start(settings(), move |request, _| {
        let mut released = released.clone();
        entered.send_modify(|count| *count += 1);
        async move {
            if request.uri().path() == "/slow" {
                released.wait_for(|now| *now).await.unwrap();
            }
            ok()
        }
    })
    .await;
    let mut idle = server.connect().await;
    idle.write_all(GET).await.unwrap();
    answer(&mut idle).await;
    let mut busy = server.connect().await;
    busy.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    seen.wait_for(|count| *count == 2).await.unwrap();
    let mut half = server.connect().await;
    half.write_all(b"GET / HTTP/1.1\r\nHo").await.unwrap();
    let mut silent = server.connect().await;
    // Connections are accepted in order, so one that was answered later proves the others.
    let mut last = server.connect().await;
    last.write_all(GET).await.unwrap();
    answer(&mut last).await;

    server.stop.send(true).unwrap();
    assert_eq!(rest(&mut idle).await, "");
    // Bytes that nobody read may turn the close into a reset; either way nothing is answered.
    let mut piece = [0; 16];
    let read = tokio::time::timeout(LONG, half.read(&mut piece)).await.unwrap();
    assert_eq!(read.unwrap_or(0), 0);
    assert_eq!(rest(&mut silent).await, "");
    assert!(TcpStream::connect(server.address).await.is_err());
    release.send(true).unwrap();
    let text = rest(&mut busy).await;
    assert!(text.contains("Connection: close\r\n") && text.ends_with("done"), "{text}");
    server.finished().await;
}

#[tokio::test]
async fn who_had_connected_before_the_end_is_answered() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut early = TcpStream::connect(address).await.unwrap();
    early.write_all(GET).await.unwrap();
    let mut later = TcpStream::connect(address).await.unwrap();
    let (_stop, stopping) = watch::channel(true);
    let asking = async {
        assert!(answer(&mut early).await.ends_with("done"));
        // Its packets were on their way.
        later.write_all(GET).await.unwrap();
        assert!(answer(&mut later).await.ends_with("done"));
        assert_eq!(rest(&mut later).await, "");
    };
    let serving = serve(listener, |_, _| async { ok() }, settings(), stopping);
    let both = async { tokio::join!(serving, asking) };
    tokio::time::timeout(LONG, both).await.unwrap();
}

#[tokio::test]
async fn at_the_drain_limit_what_is_left_is_dropped() {
    let (entered, mut seen) = watch::channel(false);
    let entered = Arc::new(entered);
    let short = ServeSettings { drain: Duration::from_millis(20), ..settings() };
    let server = Running::start(short, move |_, _| {
        entered.send_replace(true);
        std::future::pending()
    })
    .await;
    let mut stream = server.connect().await;
    stream.write_all(GET).await.unwrap();
    seen.wait_for(|now| *now).await.unwrap();
    server.stop.send(true).unwrap();
    server.finished().await;
    assert_eq!(stream.read(&mut [0; 16]).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn a_client_that_hangs_up_drops_its_handler() {
    let (dropped, gone) = oneshot::channel::<Infallible>();
    let (entered, seen) = oneshot::channel();
    let once = Arc::new(std::sync::Mutex::new(Some((dropped, entered))));
    let server = Running::start(settings(), move |_, _| {
        let (dropped, entered) = once.lock().unwrap().take().unwrap();
        entered.send(()).unwrap();
        async move {
            let _held = dropped;
            std::future::pending().await
        }
    })
    .await;
    let mut stream = server.connect().await;
    stream.write_all(GET).await.unwrap();
    seen.await.unwrap();
    drop(stream);
    let ended = tokio::time::timeout(LONG, gone).await.unwrap();
    assert!(ended.is_err());
}

#[tokio::test]
async fn a_panicking_request_costs_its_own_connection_only() {
    let server = Running::start(settings(), |request, _| async move {
        assert_ne!(request.uri().path(), "/panic", "on purpose");
        ok()
    })
    .await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /panic HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert_eq!(stream.read(&mut [0; 16]).await.unwrap_or(0), 0);
    let mut stream = server.connect().await;
    stream.write_all(GET).await.unwrap();
    answer(&mut stream).await;
}

#[test]
fn a_lack_of_descriptors_concerns_the_listener() {
    const EMFILE: i32 = 24;
    assert!(!concerns_one_connection(&io::Error::from_raw_os_error(EMFILE)));
    assert!(concerns_one_connection(&io::ErrorKind::ConnectionAborted.into()));
}
