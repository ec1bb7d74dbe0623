//! The admin listener: is this process alive, and should requests be sent to it?
//!
//! Answers name parts and reasons that the program knows by heart, never configuration. Liveness
//! asks nobody: a check that depends on a database restarts what only needed to wait.

use std::fmt::Write;
use std::net::IpAddr;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::{Method, Request, Response};

use crate::health::{Health, HealthReport};
use crate::http::respond;
use crate::id::RequestId;
use crate::reply::{ContentType, Reply};

/// Answers one request to the admin listener.
pub(crate) fn answer(
    health: &Health,
    request: Request<Incoming>,
    peer: IpAddr,
) -> Response<Full<Bytes>> {
    let id = RequestId::random();
    let (parts, body) = request.into_parts();
    let reply = reply(health, &parts.method, parts.uri.path());
    tracing::debug!(request.id = %id, %peer, status = reply.status, "admin request");
    respond::response(reply, id, parts.headers, !body.is_end_stream())
}

fn reply(health: &Health, method: &Method, path: &str) -> Reply {
    let answer: fn(&Health) -> Reply = match path {
        "/livez" => |_| text(200, "alive\n"),
        "/readyz" => |health| readiness(&health.report()),
        _ => return text(404, "no such path\n"),
    };
    if *method == Method::GET || *method == Method::HEAD {
        answer(health)
    } else {
        text(405, "method not allowed\n").with_header("allow", "GET, HEAD")
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

    #[track_caller]
    fn check(health: &Health, request: &str, status: u16, body: &str) {
        let (method, path) = request.split_once(' ').unwrap();
        let reply = reply(health, &method.parse().unwrap(), path);
        assert_eq!((reply.status, &*reply.body), (status, body.as_bytes()), "{request}");
    }

    #[test]
    fn readiness_gives_its_reasons_and_liveness_asks_nobody() {
        let health = Health::starting(["store", "sender"]);
        check(&health, "GET /readyz", 503, "not ready\nsender: not started\nstore: not started\n");
        check(&health, "GET /livez", 200, "alive\n");
        health.ready("store");
        health.ready("sender");
        check(&health, "GET /readyz", 200, "ready\n");
        health.degraded("graph", "the app's login is refused");
        check(&health, "HEAD /readyz", 200, "ready\ndegraded: graph: the app's login is refused\n");
    }

    #[test]
    fn everything_else_is_refused() {
        let health = Health::default();
        check(&health, "GET /", 404, "no such path\n");
        check(&health, "GET /readyz/", 404, "no such path\n");
        check(&health, "POST /livez", 405, "method not allowed\n");
        check(&health, "DELETE /config", 404, "no such path\n");
    }
}
