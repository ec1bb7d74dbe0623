//! `log.…`: form and amount of what is logged.

use tracing::Level;

use crate::config::source::Source;
use crate::config::value::Value;

const FORMATS: &[(&str, LogFormat)] = &[("text", LogFormat::Text), ("json", LogFormat::Json)];
const LEVELS: &[(&str, Level)] = &[
    ("error", Level::ERROR),
    ("warn", Level::WARN),
    ("info", Level::INFO),
    ("debug", Level::DEBUG),
    ("trace", Level::TRACE),
];

/// How the log is written.
#[derive(Clone, Debug)]
pub(crate) struct LogConfig {
    pub(crate) format: LogFormat,
    pub(crate) level: Level,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

impl LogConfig {
    pub(super) fn read(from: &mut Source, stderr_is_terminal: bool) -> Self {
        let usual = if stderr_is_terminal { LogFormat::Text } else { LogFormat::Json };
        let format = from.optional("log.format", |text| Value::Text(text.to_owned()).word(FORMATS));
        Self { format: format.unwrap_or(usual), level: from.word("log.level", LEVELS) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_depends_on_the_terminal_only_when_it_is_not_set() {
        for (set, terminal, expected) in [
            ("", true, LogFormat::Text),
            ("", false, LogFormat::Json),
            ("text", false, LogFormat::Text),
            ("json", true, LogFormat::Json),
        ] {
            let mut source = Source::of(&[("log.format", set)]);
            assert_eq!(LogConfig::read(&mut source, terminal).format, expected, "{set} {terminal}");
            assert_eq!(source.error_text(), "");
        }
    }
}
