//! The log: what is written, in which form, to standard error. [`metrics`] is what `/metrics` shows.
//!
//! Our own events are written from the configured level on, those of libraries from `warn` on,
//! because a library's debug events may hold addresses and headers. A log that cannot be written
//! never stops or slows the gateway with errors of its own.

pub(crate) mod metrics;

use std::fmt;
use std::io::IsTerminal;

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

use crate::clock::Clock;
use crate::config::log::{LogConfig, LogFormat};

/// Every target of ours begins with this.
const OUR_TARGETS: &str = "callgate";

/// Begins to log as `log` says. Where a log was begun before, that one stays.
pub(crate) fn start(log: &LogConfig) {
    let colours = std::io::stderr().is_terminal();
    let layer = layer(log, Clock::System, colours, std::io::stderr);
    // Fails only where a subscriber exists, and then that one is meant to stay.
    let _ = Registry::default().with(layer).try_init();
}

fn layer<S, W>(log: &LogConfig, clock: Clock, colours: bool, writer: W) -> impl Layer<S> + use<S, W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer()
        .with_timer(OurTime(clock))
        .with_writer(writer)
        // They are printed to standard error with a macro that panics when nobody reads it.
        .log_internal_errors(false);
    let lines = match log.format {
        LogFormat::Text => lines.with_ansi(colours).boxed(),
        LogFormat::Json => {
            lines.json().flatten_event(true).with_span_list(false).with_ansi(false).boxed()
        }
    };
    lines.with_filter(filter(log))
}

fn filter(log: &LogConfig) -> Targets {
    let ours = LevelFilter::from_level(log.level);
    Targets::new().with_default(ours.min(LevelFilter::WARN)).with_target(OUR_TARGETS, ours)
}

/// RFC 3339 in UTC with milliseconds, as everywhere else.
struct OurTime(Clock);

impl FormatTime for OurTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        write!(writer, "{}", self.0.now())
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing::Level;

    use super::*;
    use crate::clock::Timestamp;

    /// What was written.
    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(log: &LogConfig, events: impl FnOnce()) -> String {
        let paper = Paper::default();
        let copy = paper.clone();
        let clock = Clock::manual(Timestamp::parse("2026-11-22T04:32:55.123Z").unwrap());
        let layer = layer(log, clock, false, move || copy.clone());
        tracing::subscriber::with_default(Registry::default().with(layer), events);
        let bytes = paper.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_json_line_has_fields_and_span_by_name() {
        let log = LogConfig { format: LogFormat::Json, level: Level::INFO };
        let line = written(&log, || {
            let _span = tracing::info_span!("request", request.id = "r1").entered();
            tracing::warn!(call.id = "c1", "Graph throttled the deletion");
        });
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            line,
            serde_json::json!({
                "timestamp": "2026-11-22T04:32:55.123Z",
                "level": "WARN",
                "target": "callgate::telemetry::tests",
                "message": "Graph throttled the deletion",
                "call.id": "c1",
                "span": { "name": "request", "request.id": "r1" },
            })
        );
    }

    #[test]
    fn a_text_line_reads_alone_and_without_colours() {
        let log = LogConfig { format: LogFormat::Text, level: Level::INFO };
        let line = written(&log, || tracing::info!(call.id = "c1", "sent"));
        assert_eq!(
            line,
            "2026-11-22T04:32:55.123Z  INFO callgate::telemetry::tests: sent call.id=\"c1\"\n"
        );
    }

    #[test]
    fn a_library_is_heard_from_warn_on_and_never_more_than_we_are() {
        for (level, ours, theirs) in [
            (Level::ERROR, Level::ERROR, Level::ERROR),
            (Level::INFO, Level::INFO, Level::WARN),
            (Level::TRACE, Level::TRACE, Level::WARN),
        ] {
            let filter = filter(&LogConfig { format: LogFormat::Json, level });
            for asked in [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE] {
                let message = format!("{level} {asked}");
                assert_eq!(
                    filter.would_enable("callgate::http", &asked),
                    asked <= ours,
                    "{message}"
                );
                assert_eq!(
                    filter.would_enable("hyper::proto", &asked),
                    asked <= theirs,
                    "{message}"
                );
            }
        }
    }

    #[test]
    fn starting_twice_keeps_the_first() {
        let log = LogConfig { format: LogFormat::Json, level: Level::ERROR };
        start(&log);
        start(&LogConfig { format: LogFormat::Text, level: Level::TRACE });
        assert!(!tracing::enabled!(Level::TRACE));
    }
}
