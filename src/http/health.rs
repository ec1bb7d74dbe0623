//! The admin listener: is this process alive, should requests be sent to it, and what does it do?
//!
//! Answers name parts and reasons that the program knows by heart, never configuration. Liveness
//! asks nobody: a check that depends on a database restarts what only needed to wait.

use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::{Method, Request, Response};

use crate::health::HealthReport;
use crate::http::metrics::Observed;
use crate::http::respond;
use crate::id::RequestId;
use crate::reply::{ContentType, Reply};

/// Answers one request to the admin listener.
pub(crate) async fn answer(
    observed: Arc<Observed>,
    request: Request<Incoming>,
    peer: IpAddr,
) -> Response<Full<Bytes>> {
    let id = RequestId::random();
    let (parts, body) = request.into_parts();
    let reply = match page(&parts.method, parts.uri.path()) {
        Ok(Page::Alive) => text(200, "alive\n"),
        Ok(Page::Readiness) => readiness(&observed.health.report()),
        Ok(Page::Metrics) => observed.scrape().await,
        Err(refused) => refused,
    };
    tracing::debug!(request.id = %id, %peer, status = reply.status, "admin request");
    respond::response(reply, id, parts.headers, !body.is_end_stream())
}

/// What is there to be seen.
#[derive(Debug, PartialEq, Eq)]
enum Page {
    Alive,
    Readiness,
    Metrics,
}

fn page(method: &Method, path: &str) -> Result<Page, Reply> {
    let page = match path {
        "/livez" => Page::Alive,
        "/readyz" => Page::Readiness,
        "/metrics" => Page::Metrics,
        _ => return Err(text(404, "no such path\n")),
    };
    if *method == Method::GET || *method == Method::HEAD {
        Ok(page)
    } else {
        Err(text(405, "method not allowed\n").with_header("allow", "GET, HEAD"))
    }
}

fn readiness(report: &HealthReport) -> Reply {
    let ready = report.unready.is_empty();
    let mut lines = String::from(if ready { "ready\n" } else { "not ready\n" });
    for (part, reason) in &report.unready {
        writeln!(lines, "{part}: {reason}").expect("a String takes everything");
    }
    for (part, reason) in &report.degraded {
        writeln!(lines, "degraded: {part}: {reason}").expect("a String takes everything");
    }
    text(if ready { 200 } else { 503 }, lines)
}

fn text(status: u16, body: impl Into<Bytes>) -> Reply {
    Reply::new(status, ContentType::Text, body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Health;

    #[track_caller]
    fn check(health: &Health, status: u16, body: &str) {
        let reply = readiness(&health.report());
        assert_eq!((reply.status, &*reply.body), (status, body.as_bytes()));
    }

    #[test]
    fn readiness_gives_its_reasons() {
        let health = Health::starting(["store", "sender"]);
        check(&health, 503, "not ready\nsender: not started\nstore: not started\n");
        health.ready("store");
        health.ready("sender");
        check(&health, 200, "ready\n");
        health.degraded("graph", "the app's login is refused");
        check(&health, 200, "ready\ndegraded: graph: the app's login is refused\n");
    }

    #[test]
    fn three_pages_can_be_read_and_everything_else_is_refused() {
        let found = |method: &Method, path| page(method, path).map_err(|refused| refused.status);
        for (path, page) in
            [("/livez", Page::Alive), ("/readyz", Page::Readiness), ("/metrics", Page::Metrics)]
        {
            assert_eq!(found(&Method::GET, path), Ok(page), "{path}");
            assert!(found(&Method::HEAD, path).is_ok(), "{path}");
            assert_eq!(found(&Method::POST, path), Err(405), "{path}");
        }
        for path in ["/", "/readyz/", "/metrics/", "/config"] {
            assert_eq!(found(&Method::GET, path), Err(404), "{path}");
            assert_eq!(found(&Method::DELETE, path), Err(404), "{path}");
        }
    }
}
