//! A TOML text as a flat list of names, lines and values.
//!
//! It knows no keys and refuses nothing that is TOML. Its errors never quote the text, because a
//! configuration file may hold secrets.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use crate::config::error::ConfigError;
use crate::config::value::Value;

/// One value of a file.
pub(super) struct Line {
    /// The parts with dots between them; a part that holds a dot itself stays in quotes, so that
    /// it cannot pass for two.
    pub(super) name: String,
    /// Counted from one.
    pub(super) number: usize,
    pub(super) value: Value,
}

/// The values of `text`, in its order.
///
/// # Errors
///
/// The first place where `text` is no TOML; `path` is what the error calls it.
pub(super) fn read(path: &Path, text: &str) -> Result<Vec<Line>, ConfigError> {
    let table = DeTable::parse(text).map_err(|error| ConfigError::FileSyntax {
        path: path.to_owned(),
        line: line_number(text, error.span().map_or(0, |span| span.start)),
        message: error.message().to_owned(),
    })?;
    let mut lines = Vec::new();
    flatten(text, "", table.get_ref(), &mut lines);
    lines.sort_by_key(|line| line.number);
    Ok(lines)
}

fn flatten(text: &str, section: &str, table: &DeTable<'_>, lines: &mut Vec<Line>) {
    for (part, value) in table {
        let name = join(section, part.get_ref());
        match value.get_ref() {
            DeValue::Table(inner) if !inner.is_empty() => flatten(text, &name, inner, lines),
            _ => {
                let number = line_number(text, part.span().start);
                lines.push(Line { name, number, value: read_value(value.get_ref()) });
            }
        }
    }
}

fn join(section: &str, part: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let part = if part.chars().all(is_bare) { part.to_owned() } else { format!("{part:?}") };
    if section.is_empty() { part } else { format!("{section}.{part}") }
}

fn read_value(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.clone().into_owned()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Value::Whole(number),
            Err(_) => Value::Other("a number that is too large"),
        },
        DeValue::Boolean(switch) => Value::Switch(*switch),
        DeValue::Array(items) => read_list(items),
        DeValue::Table(_) => Value::Section,
        DeValue::Float(_) => Value::Other("a number with a fraction"),
        DeValue::Datetime(_) => Value::Other("a date or time"),
    }
}

fn read_list(items: &DeArray<'_>) -> Value {
    let text = |item: &Spanned<DeValue<'_>>| match item.get_ref() {
        DeValue::String(text) => Some(text.clone().into_owned()),
        _ => None,
    };
    match items.iter().map(text).collect() {
        Some(items) => Value::List(items),
        None => Value::Other("a list of something else than text"),
    }
}

fn line_number(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
    before.split(|byte| *byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expected: &[(&str, usize, &str)]) {
        let lines = read(Path::new("test.toml"), text).unwrap_or_else(|error| panic!("{error}"));
        let found: Vec<_> = lines
            .iter()
            .map(|line| (line.name.as_str(), line.number, line.value.shown()))
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(name, number, shown)| (*name, *number, (*shown).to_owned()))
            .collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn every_way_to_write_a_table_gives_the_same_names() {
        check("[a]\nb.c = 1_000\n", &[("a.b.c", 2, "1000")]);
        check("a = { b = { c = 0x10 } }", &[("a.b.c", 1, "16")]);
        check("\n[a.b]\n\nc = true", &[("a.b.c", 4, "true")]);
        check("[a]\n[a.b]\n", &[("a.b", 2, "a section")]);
    }

    #[test]
    fn a_dot_in_quotes_separates_nothing() {
        check("\"a.b\" = 'x'", &[("\"a.b\"", 1, "\"x\"")]);
    }

    #[test]
    fn what_no_key_can_be_is_named() {
        check("a = 1.5", &[("a", 1, "a number with a fraction")]);
        check("a = 2026-11-22", &[("a", 1, "a date or time")]);
        check("a = [1]", &[("a", 1, "a list of something else than text")]);
        check("[[a]]\nb = 1", &[("a", 1, "a list of something else than text")]);
        check("a = 99999999999999999999", &[("a", 1, "a number that is too large")]);
    }

    #[test]
    fn an_error_names_the_line_and_quotes_nothing() {
        for text in [
            "[graph]\nclient_secret = hunter2",
            "[graph]\nclient_secret = \"hunter2",
            "[graph]\nclient_secret = 'hunter2' hunter2",
            "hunter2 = 1\nhunter2 = 2",
            "[graph]\nclient_secret = \"hunter2\\q\"",
        ] {
            let error = read(Path::new("callgate.toml"), text).map(|_| ()).unwrap_err().to_string();
            assert!(error.starts_with("callgate.toml, line 2: not valid TOML: "), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn nesting_without_end_is_refused() {
        for unit in ["[", "{a="] {
            let text = format!("a = {}", unit.repeat(50_000));
            assert!(read(Path::new("test.toml"), &text).is_err());
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(?s)[\\[\\]{}=.,\"'a-c0-9#\\\\ \n\u{e4}-]{0,60}|.{0,60}") {
            let _ = read(Path::new("test.toml"), &text);
        }
    }
}
