//! One value as a layer gave it, and the pure readers that turn it into what a key means.
//!
//! A reader that refuses a value says what it expected, and never what it found: that is decided
//! where it is known whether the key is a secret.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::error::printable;

/// A value before anything is known of its key.
#[derive(Clone)]
pub(super) enum Value {
    /// Text in a file, or anything in a variable or after `--set`.
    Text(String),
    /// A number in a file.
    Whole(i64),
    /// `true` or `false` in a file.
    Switch(bool),
    /// A list of text in a file.
    List(Vec<String>),
    /// A table in a file that holds nothing.
    Section,
    /// What no key can be, such as a date.
    Other(&'static str),
}

/// What a reader expected instead.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Expected(pub(super) String);

impl Expected {
    /// Shorthand for the constructor.
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl Value {
    /// How an error shows the value of a key that is no secret. A text with an `@` is not shown:
    /// it may be an address with a password in it.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Text(text) if text.contains('@') => "a text that is not shown".to_owned(),
            Self::Text(text) if text.is_empty() => "an empty text".to_owned(),
            Self::Text(text) => format!("\"{}\"", printable(text)),
            Self::Whole(number) => number.to_string(),
            Self::Switch(switch) => switch.to_string(),
            Self::List(items) if items.is_empty() => "an empty list".to_owned(),
            Self::List(_) => "a list".to_owned(),
            Self::Section => "a section".to_owned(),
            Self::Other(what) => (*what).to_owned(),
        }
    }

    /// The text, without blanks around it.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text.trim()),
            _ => None,
        }
    }

    /// Whether the key is as good as not set.
    pub(super) fn is_unset(&self) -> bool {
        self.text() == Some("")
    }

    /// A whole number within `range`.
    pub(super) fn whole(&self, range: &RangeInclusive<usize>) -> Result<usize, Expected> {
        let number = match self {
            Self::Whole(number) => usize::try_from(*number).ok(),
            _ => self.text().and_then(|text| text.parse().ok()),
        };
        number.filter(|number| range.contains(number)).ok_or_else(|| {
            Expected(format!("a whole number from {} to {}", range.start(), range.end()))
        })
    }

    /// `true` or `false`.
    pub(super) fn switch(&self) -> Result<bool, Expected> {
        match (self, self.text()) {
            (Self::Switch(switch), _) => Ok(*switch),
            (_, Some("true")) => Ok(true),
            (_, Some("false")) => Ok(false),
            _ => Err(Expected::new("true or false")),
        }
    }

    /// A number with the unit `ms`, `s`, `m` or `h`, within `range`.
    pub(super) fn duration(&self, range: &RangeInclusive<Duration>) -> Result<Duration, Expected> {
        let duration = self.text().and_then(parse_duration);
        duration.filter(|duration| range.contains(duration)).ok_or_else(|| {
            let (least, most) = (show_duration(*range.start()), show_duration(*range.end()));
            Expected(format!("a duration such as 250ms, 10s, 5m or 1h, from {least} to {most}"))
        })
    }

    /// A number of bytes, alone or with the unit `B`, `KiB` or `MiB`, within `range`.
    pub(super) fn size(&self, range: &RangeInclusive<usize>) -> Result<usize, Expected> {
        let size = match self {
            Self::Whole(number) => usize::try_from(*number).ok(),
            _ => self.text().and_then(parse_size),
        };
        size.filter(|size| range.contains(size)).ok_or_else(|| {
            let (least, most) = (show_size(*range.start()), show_size(*range.end()));
            Expected(format!("a size such as 1024 or 64KiB, from {least} to {most}"))
        })
    }

    /// What the word means that it is, of a closed list of them.
    pub(super) fn word<T: Copy>(&self, words: &[(&str, T)]) -> Result<T, Expected> {
        let found = self.text().and_then(|text| words.iter().find(|(word, _)| *word == text));
        found.map(|(_, meaning)| *meaning).ok_or_else(|| expected_word(words))
    }

    /// The items of a list, which text gives with commas between them; each without blanks around
    /// it, no empty ones.
    pub(super) fn items(&self) -> Option<Vec<&str>> {
        let items: Vec<&str> = match self {
            Self::Text(text) if text.trim().is_empty() => Vec::new(),
            Self::Text(text) => text.split(',').map(str::trim).collect(),
            Self::List(items) => items.iter().map(|item| item.trim()).collect(),
            _ => return None,
        };
        (!items.contains(&"")).then_some(items)
    }
}

/// What is expected where one of `words` must stand.
pub(super) fn expected_word<T>(words: &[(&str, T)]) -> Expected {
    let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    Expected(match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    })
}

fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = number_and_unit(text)?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    Some(Duration::from_millis(number.checked_mul(milliseconds)?))
}

fn parse_size(text: &str) -> Option<usize> {
    let (number, unit) = number_and_unit(text)?;
    let bytes = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        _ => return None,
    };
    usize::try_from(number.checked_mul(bytes)?).ok()
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit))
}

fn show_duration(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    let units = [(3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    match units.iter().find(|(unit, _)| milliseconds.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", milliseconds / unit),
        None => format!("{milliseconds}ms"),
    }
}

fn show_size(size: usize) -> String {
    let units = [(1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.iter().find(|(unit, _)| size.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", size / unit),
        None => format!("{size}B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn a_duration_is_a_number_with_a_unit() {
        let range = Duration::from_millis(1)..=Duration::from_hours(48);
        for (given, milliseconds) in [
            ("250ms", Some(250)),
            ("10s", Some(10_000)),
            (" 5m ", Some(300_000)),
            ("24h", Some(86_400_000)),
            ("0s", None),
            ("49h", None),
            ("10", None),
            ("s", None),
            ("1.5s", None),
            ("-1s", None),
            ("10 s", None),
            ("1h30m", None),
            ("99999999999999999999h", None),
            ("18446744073709551615h", None),
        ] {
            let read = text(given).duration(&range).ok();
            assert_eq!(read, milliseconds.map(Duration::from_millis), "{given}");
        }
        assert!(Value::Whole(10).duration(&range).is_err());
    }

    #[test]
    fn a_size_is_a_number_of_bytes_with_or_without_a_unit() {
        for (given, bytes) in [
            ("1024", Some(1024)),
            ("512B", Some(512)),
            ("64KiB", Some(65_536)),
            ("1MiB", Some(1 << 20)),
            ("2MiB", None),
            ("64KB", None),
            ("64k", None),
            ("15", None),
            ("18446744073709551615KiB", None),
        ] {
            assert_eq!(text(given).size(&(16..=1 << 20)).ok(), bytes, "{given}");
        }
        assert_eq!(Value::Whole(2048).size(&(16..=1 << 20)), Ok(2048));
        let refused = Value::Whole(-1).size(&(16..=1 << 20)).unwrap_err();
        assert_eq!(refused.0, "a size such as 1024 or 64KiB, from 16B to 1MiB");
    }

    #[test]
    fn a_list_is_an_array_or_text_with_commas() {
        for (given, items) in [
            ("", Some(vec![])),
            ("a", Some(vec!["a"])),
            ("a, b ,c", Some(vec!["a", "b", "c"])),
            ("a,,b", None),
            ("a,", None),
        ] {
            assert_eq!(text(given).items(), items, "{given}");
        }
        let list = Value::List(vec!["a,b".to_owned()]);
        assert_eq!(list.items(), Some(vec!["a,b"]));
        assert_eq!(Value::Switch(true).items(), None);
    }

    #[test]
    fn an_address_that_may_hold_a_password_is_not_shown() {
        assert!(!text("postgres://callgate:hunter2@db/callgate").shown().contains("hunter2"));
        assert_eq!(text("line\nend").shown(), "\"line\u{fffd}end\"");
    }

    proptest! {
        #[test]
        fn no_text_makes_a_reader_panic(given in any::<String>()) {
            let value = text(&given);
            let _ = value.duration(&(Duration::ZERO..=Duration::MAX));
            let _ = value.size(&(0..=usize::MAX));
            let _ = value.whole(&(0..=usize::MAX));
            let _ = value.items();
            prop_assert_eq!(value.shown().lines().count(), 1);
        }

        #[test]
        fn a_duration_is_read_as_it_is_shown(milliseconds in 1_u64..=10_000_000) {
            let duration = Duration::from_millis(milliseconds);
            prop_assert_eq!(parse_duration(&show_duration(duration)), Some(duration));
        }
    }
}
