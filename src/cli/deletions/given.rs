//! Ids of deletions from standard input: one on each line, or JSON as `deletions list` and
//! `deletions export` print it.
//!
//! All of it is read and checked before anything is changed: half of a list is no list.

use std::fmt;
use std::io::{self, Read};

use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::error::Category;

use crate::cli::error::CliError;
use crate::cli::file::unreadable;
use crate::cli::ids;
use crate::id::DeletionId;

/// Ids that are taken at once: they are changed in one transaction.
pub(super) const MOST: usize = 1000;
/// No list of so many ids is longer.
const LONGEST: u64 = 64 << 20;
/// What JSON has to be that begins as an array does, and what any other line of it has to be.
const ARRAY: &str =
    "expected an array of ids, or of objects with an `id`, as `deletions list --json` prints it";
const LINE: &str = "expected an object with an `id` on one line, as `deletions export` prints it";
/// What is wrong with an object.
const NO_ID: &str = "an object without an `id`";
const TWO_IDS: &str = "an object with more than one `id`";

/// Reads standard input.
///
/// # Errors
///
/// When it cannot be read, or is no list of ids; the line is named.
pub(super) fn from_standard_input() -> Result<Vec<DeletionId>, CliError> {
    let mut text = String::new();
    let read = io::stdin().lock().take(LONGEST).read_to_string(&mut text);
    match read {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(CliError::Input("standard input: not valid UTF-8; nothing was changed".to_owned()))
        }
        Err(error) => Err(unreadable("standard input", error)),
        Ok(_) => ids_of(&text).map_err(|(line, problem)| {
            CliError::Input(format!("standard input, line {line}: {problem}; nothing was changed"))
        }),
    }
}

/// The ids in a text; of one that is wrong, the line and what is wrong with it.
fn ids_of(text: &str) -> Result<Vec<DeletionId>, (usize, String)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let at = |first: usize, expected: &'static str| {
        move |error: serde_json::Error| (first + error.line().max(1), problem(&error, expected))
    };
    if text.trim_start().starts_with('[') {
        let named: Vec<Named> = serde_json::from_str(text).map_err(at(0, ARRAY))?;
        return Ok(named.into_iter().map(|named| named.0).collect());
    }
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(before, line)| {
            if line.trim_start().starts_with('{') {
                serde_json::from_str::<Named>(line).map(|named| named.0).map_err(at(before, LINE))
            } else {
                ids::deletion(line).map_err(|problem| (before + 1, problem.to_owned()))
            }
        })
        .collect()
}

/// What is wrong, in our own words, and what was `expected`.
fn problem(error: &serde_json::Error, expected: &str) -> String {
    let text = error.to_string();
    let own = text.split_once(" at line ").map_or(text.as_str(), |(own, _)| own);
    match error.classify() {
        Category::Eof => format!("the JSON ends too early: {expected}"),
        Category::Syntax | Category::Io => format!("no valid JSON: {expected}"),
        Category::Data if [NO_ID, TWO_IDS].contains(&own) => format!("{own}: {expected}"),
        Category::Data if own.starts_with("expected ") => own.to_owned(),
        Category::Data => expected.to_owned(),
    }
}

/// An id, or an object that has one.
#[derive(Debug)]
struct Named(DeletionId);

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(NamedVisitor)
    }
}

struct NamedVisitor;

impl<'de> Visitor<'de> for NamedVisitor {
    type Value = Named;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an id or an object with an `id`")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Named, E> {
        ids::deletion(text).map(Named).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Named, A::Error> {
        let mut id = None;
        while let Some(name) = members.next_key::<String>()? {
            if name != "id" {
                members.next_value::<IgnoredAny>()?;
            } else if id.is_some() {
                return Err(A::Error::custom(TWO_IDS));
            } else {
                let text: String = members.next_value()?;
                id = Some(ids::deletion(&text).map_err(A::Error::custom)?);
            }
        }
        id.map(Named).ok_or_else(|| A::Error::custom(NO_ID))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ONE: &str = "0192f3a0-0000-7000-8000-000000000001";
    const TWO: &str = "0192f3a0-0000-7000-8000-000000000002";

    #[track_caller]
    fn check(text: &str, expected: Result<&[&str], (usize, &str)>) {
        let found = ids_of(text);
        let found = found.as_ref().map(|ids| ids.iter().map(ToString::to_string).collect());
        let found = found.map_err(|(line, problem)| (*line, problem.as_str()));
        let expected = expected.map(|ids| ids.iter().map(|id| (*id).to_owned()).collect());
        assert_eq!(found, expected as Result<Vec<String>, _>, "{text}");
    }

    #[test]
    fn ids_come_on_lines_in_objects_and_in_an_array() {
        check("", Ok(&[]));
        check(&format!("{ONE}\r\n\n  {TWO}"), Ok(&[ONE, TWO]));
        check(
            &format!("{{\"state\":\"failed\",\"id\":\"{ONE}\",\"steps\":[{{\"id\":7}}]}}\n{TWO}\n"),
            Ok(&[ONE, TWO]),
        );
        check(&format!("\u{feff}\n[\n{{\"id\": \"{ONE}\"}},\n\"{TWO}\"]\n"), Ok(&[ONE, TWO]));
        check("[]", Ok(&[]));
    }

    #[test]
    fn what_is_half_written_is_told_by_its_line() {
        check(&format!("{ONE}\n0192"), Err((2, "expected an id as `deletions list` shows it")));
        let half = format!("{{\"id\":\"{ONE}\"}}\n\n{{\"id\":\"{TWO}\"");
        let after = |what: &str, expected: &str| format!("{what}: {expected}");
        check(&half, Err((3, &after("the JSON ends too early", LINE))));
        check("{\n\"id\":", Err((1, &after("the JSON ends too early", LINE))));
        check(&format!("[\n\"{ONE}\",\n"), Err((3, &after("the JSON ends too early", ARRAY))));
        check(&format!("[\n\"{ONE}\",\n]"), Err((3, &after("no valid JSON", ARRAY))));
        check(&format!("{ONE}\n{{]"), Err((2, &after("no valid JSON", LINE))));
        check("[\n{\"state\":\"open\"}]", Err((2, &after(NO_ID, ARRAY))));
        let two = format!("{{\"id\":\"{ONE}\",\"id\":\"{ONE}\"}}");
        check(&two, Err((1, &after(TWO_IDS, LINE))));
        check("{\"id\":7}", Err((1, LINE)));
        check("{\"id\":\"x\"}", Err((1, "expected an id as `deletions list` shows it")));
        check("[7]", Err((1, ARRAY)));
    }

    proptest! {
        #[test]
        fn no_text_panics_and_a_wrong_line_is_one_of_the_text(text in "[\\[\\]{}\":,a-f0-9\n \\PC-]{0,200}") {
            if let Err((line, problem)) = ids_of(&text) {
                prop_assert!(line >= 1 && line <= text.split('\n').count());
                prop_assert!(!problem.is_empty());
            }
        }
    }
}
