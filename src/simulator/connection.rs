//! One connection: http, or https where the client begins with a handshake, and in it HTTP/1.1 or
//! HTTP/2. Both schemes are on one port, because some libraries insist on https and others, asking
//! for a managed identity, on http.

use std::error::Error as _;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::http::uri::Scheme;
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::answer::Answer;
use super::openid::Document;
use super::state::{self, Reset};
use super::tls::HTTP_2;
use super::{Shared, control};

/// More than any documented request of the calls API, and room for a call with many participants.
const BODY_LIMIT: usize = 256 * 1024;

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves a connection until its end.
pub(super) async fn serve(stream: TcpStream, shared: Shared, tls: Option<TlsAcceptor>) {
    // Without it small answers wait for the client's delayed acknowledgement; if it cannot be
    // set, they are merely late.
    let _slower = stream.set_nodelay(true);
    match tls {
        Some(acceptor) if begins_a_handshake(&stream).await => {
            if let Ok(Ok(stream)) = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
                serve_https(stream, shared).await;
            }
        }
        _ => {
            if let Some(stream) = serve_http1(stream, shared, Scheme::HTTP).await {
                reset(&stream);
            }
        }
    }
}

async fn begins_a_handshake(stream: &TcpStream) -> bool {
    const HANDSHAKE: u8 = 22;
    let mut first = [0];
    matches!(stream.peek(&mut first).await, Ok(1)) && first == [HANDSHAKE]
}

async fn serve_https(stream: TlsStream<TcpStream>, shared: Shared) {
    if stream.get_ref().1.alpn_protocol() == Some(HTTP_2) {
        serve_http2(stream, shared).await;
    } else if let Some(stream) = serve_http1(stream, shared, Scheme::HTTPS).await {
        reset(stream.get_ref().0);
    }
}

/// Gives the stream back when it is to be cut.
async fn serve_http1<S>(stream: S, shared: Shared, scheme: Scheme) -> Option<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let service =
        service_fn(move |request| Box::pin(answer(shared.clone(), scheme.clone(), request)));
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let ended = poll_fn(|context| connection.poll_without_shutdown(context)).await;
    let mut stream = connection.into_parts().io.into_inner();
    let Err(error) = ended else {
        // If the client is gone already, nobody misses the goodbye.
        let _gone = stream.shutdown().await;
        return None;
    };
    let cause = error.source().and_then(|cause| cause.downcast_ref());
    matches!(cause, Some(ConnectionCut::OnDemand)).then_some(stream)
}

/// A request that is to be cut ends its stream only: others share the connection.
async fn serve_http2(stream: TlsStream<TcpStream>, shared: Shared) {
    let service =
        service_fn(move |request| Box::pin(answer(shared.clone(), Scheme::HTTPS, request)));
    let tasks = Tasks::default();
    let connection =
        http2::Builder::new(tasks.clone()).serve_connection(TokioIo::new(stream), service);
    // How a client leaves is its own affair.
    let _left = connection.await;
}

/// A zero linger time makes the close that follows a TCP reset. If it cannot be set, the client sees
/// the connection end without an answer all the same.
fn reset(stream: &TcpStream) {
    let _end_of_file = stream.set_zero_linger();
}

/// The requests of one HTTP/2 connection, which end with it.
#[derive(Clone, Default)]
struct Tasks(Arc<Mutex<JoinSet<()>>>);

impl<F> Executor<F> for Tasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        let mut tasks = self.0.lock().expect("nothing panics while it holds the lock");
        while tasks.try_join_next().is_some() {}
        tasks.spawn(future);
    }
}

/// No answer is to be given on this connection.
#[derive(Debug, thiserror::Error)]
enum ConnectionCut {
    #[error("the connection was cut on demand")]
    OnDemand,
    #[error("the request's body did not arrive")]
    BodyIncomplete(#[source] hyper::Error),
}

/// One request: reads it, lets the state decide, holds the answer back if a fault says so.
async fn answer(
    shared: Shared,
    scheme: Scheme,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, ConnectionCut> {
    let (mut head, body) = request.into_parts();
    head.extensions.insert(scheme);
    let request = match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(body) => Request::from_parts(head, body.to_bytes()),
        Err(error) => match error.downcast::<hyper::Error>() {
            Ok(error) => return Err(ConnectionCut::BodyIncomplete(*error)),
            Err(_too_large) if control::is_for(head.uri.path()) => {
                return Ok(control::too_large().into_response());
            }
            Err(_too_large) => {
                let request = Request::from_parts(head, Bytes::new());
                return Ok(shared.lock().refuse_too_large(&request).into_response());
            }
        },
    };
    if control::is_for(request.uri().path()) {
        return Ok(control::answer(&mut shared.lock(), &request).into_response());
    }
    if Document::of(&state::segments(request.uri().path())) == Some(Document::Keys) {
        shared.key_is_made().await;
    }
    let decision = shared.lock().receive(&request);
    if !decision.delay.is_zero() {
        // The effect, if any, has happened: only the answer is late, as when Graph is slow.
        tokio::time::sleep(decision.delay).await;
    }
    let answer: Answer = decision.answer.map_err(|Reset| ConnectionCut::OnDemand)?;
    shared.lock().requests.answered(decision.ticket, answer.status);
    Ok(answer.into_response())
}
