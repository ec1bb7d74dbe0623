//! The access log: one line per request, also of one whose client did not wait.
//!
//! Nothing in it was chosen by a client: routes, methods and parameter names are words of ours.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hyper::Method;
use tokio::time::Instant;
use tracing::Level;

use crate::http::route::Route;
use crate::id::RequestId;
use crate::legacy::AccessFacts;
use crate::telemetry::metrics::count::Requests;

/// The line of a request that is under way. Dropped before [`AccessLine::finish`], it says that
/// the request was cut off.
pub(super) struct AccessLine<'a> {
    requests: &'a Requests,
    id: RequestId,
    route: &'static str,
    method: &'static str,
    started: Instant,
    finished: bool,
}

impl<'a> AccessLine<'a> {
    /// Begins to measure. The request is counted with its line.
    pub(super) fn begin(
        requests: &'a Requests,
        id: RequestId,
        route: Route,
        method: &Method,
    ) -> Self {
        let (route, method) = (route.as_str(), known(method));
        Self { requests, id, route, method, started: Instant::now(), finished: false }
    }

    /// Writes the line.
    pub(super) fn finish(mut self, facts: &AccessFacts, status: u16) {
        self.finished = true;
        let Self { id, route, method, .. } = &self;
        let AccessFacts { action, outcome, code, unknown_parameters, .. } = facts;
        self.requests.answered(action, outcome, status, self.started.elapsed());
        macro_rules! line {
            ($level:expr) => {
                tracing::event!(
                    $level,
                    request.id = %id,
                    route,
                    method,
                    key.id = facts.key.map(tracing::field::display),
                    action,
                    outcome,
                    code,
                    status,
                    duration_ms = self.milliseconds(),
                    parameters = %Names(&facts.parameters),
                    unknown_parameters,
                    "{method} {route} {action}: {outcome}",
                )
            };
        }
        if facts.is_braked { line!(Level::DEBUG) } else { line!(Level::INFO) }
    }

    fn milliseconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64() * 1000.0
    }
}

impl Drop for AccessLine<'_> {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        self.requests.cut_off();
        let Self { id, route, method, .. } = &*self;
        tracing::info!(
            request.id = %id,
            route,
            method,
            outcome = "cut_off",
            duration_ms = self.milliseconds(),
            "{method} {route}: the client went away, or the server stopped, before the answer",
        );
    }
}

/// Requests that got no line of their own, because too many bad keys came from their address.
#[derive(Debug, Default)]
pub(super) struct Unlogged(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    /// When it was told last that there are some.
    at: Option<Instant>,
    /// How many there were since then.
    since: u64,
}

impl Unlogged {
    /// Counts one that got no line, and tells the log that there are some, once a minute.
    pub(super) fn note(&self, now: Instant) {
        if let Some(unlogged) = self.count(now) {
            tracing::warn!(
                unlogged,
                "more requests with bad keys come from one address than are logged one by one"
            );
        }
    }

    /// How many there were since it was told last, when it is time to tell it again.
    fn count(&self, now: Instant) -> Option<u64> {
        // Each change leaves numbers that hold by themselves.
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.since += 1;
        let pauses = |at: Instant| now.saturating_duration_since(at) < PAUSE;
        if told.at.is_some_and(pauses) {
            return None;
        }
        told.at = Some(now);
        Some(std::mem::take(&mut told.since))
    }
}

/// Between two lines that say that others are not written.
const PAUSE: Duration = Duration::from_mins(1);

fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::HEAD => "HEAD",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        Method::TRACE => "TRACE",
        Method::CONNECT => "CONNECT",
        _ => "other",
    }
}

struct Names<'a>(&'a [&'static str]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.0.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "," })?;
            f.write_str(name)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    /// A log that a test can read.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Log {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    fn logged(write: impl FnOnce(AccessLine<'_>)) -> String {
        let requests = Requests::default();
        let log = Log::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(Level::TRACE)
            .with_writer(log.clone())
            .with_ansi(false)
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let method = Method::from_bytes(b"APIKEY-74C8EEA0").unwrap();
            let id = RequestId::random();
            let line = AccessLine::begin(&requests, id, Route::MethodNotAllowed, &method);
            write(line);
        });
        let text = log.0.lock().unwrap().clone();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_line_names_what_was_asked_and_nothing_a_client_chose() {
        let facts = AccessFacts {
            action: "DeleteCall",
            key: Some("57dab8b1-894c-409a-b240-bd8beae78896".parse().unwrap()),
            outcome: "not_found",
            code: 2,
            parameters: vec!["action", "callID"],
            unknown_parameters: 3,
            is_braked: false,
        };
        let text = logged(|line| line.finish(&facts, 200));
        assert_eq!(text.lines().count(), 1, "{text}");
        for part in [
            "INFO",
            "other legacy DeleteCall: not_found",
            "request.id=",
            "route=\"legacy\"",
            "method=\"other\"",
            "key.id=57dab8b1-894c-409a-b240-bd8beae78896",
            "action=\"DeleteCall\"",
            "outcome=\"not_found\"",
            "code=2",
            "status=200",
            "duration_ms=",
            "parameters=action,callID",
            "unknown_parameters=3",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains("74C8EEA0"), "{text}");
    }

    #[test]
    fn a_braked_key_has_its_line_at_debug_only() {
        let facts = AccessFacts {
            action: "DeleteCall",
            key: None,
            outcome: "bad_key",
            code: -41,
            parameters: Vec::new(),
            unknown_parameters: 0,
            is_braked: true,
        };
        let text = logged(|line| line.finish(&facts, 200));
        assert!(text.contains("DEBUG") && !text.contains("INFO"), "{text}");
    }

    #[test]
    fn it_is_told_once_a_minute_how_many_have_no_line() {
        let (unlogged, start) = (Unlogged::default(), Instant::now());
        assert_eq!(unlogged.count(start), Some(1));
        for _ in 0..1000 {
            assert_eq!(unlogged.count(start + PAUSE - Duration::from_millis(1)), None);
        }
        assert_eq!(unlogged.count(start + PAUSE), Some(1001));
        assert_eq!(unlogged.count(start + PAUSE), None);
        assert_eq!(unlogged.count(start + 2 * PAUSE), Some(2));
    }

    #[test]
    fn a_request_that_was_cut_off_has_its_line_as_well() {
        let text = logged(|line| {
            let _cut_off = line;
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("outcome=\"cut_off\""), "{text}");
    }
}
