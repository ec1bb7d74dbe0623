//! Ids of deletions from standard input: one on each line, or JSON as `deletions list` and
//! `deletions export` print it.
//!
//! All of it is read and checked before anything is changed: half of a list is no list.

use std::fmt;
use std::io::{self, Read};

use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use crate::cli::error::CliError;
use crate::cli::file::unreadable;
use crate::cli::ids;
use crate::id::DeletionId;

/// Ids that are taken at once: they are changed in one transaction.
pub(super) const MOST: usize = 1000;
/// No list of so many ids is longer.
const LONGEST: u64 = 64 << 20;

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
            Err(CliError::Input("standard input: not valid UTF-8".to_owned()))
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
    let at = |first: usize| {
        move |error: serde_json::Error| (first + error.line().max(1), without_place(&error))
    };
    if text.trim_start().starts_with('[') {
        let named: Vec<Named> = serde_json::from_str(text).map_err(at(0))?;
        return Ok(named.into_iter().map(|named| named.0).collect());
    }
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(before, line)| {
            if line.trim_start().starts_with('{') {
                serde_json::from_str::<Named>(line).map(|named| named.0).map_err(at(before))
            } else {
                ids::deletion(line).map_err(|problem| (before + 1, problem.to_owned()))
            }
        })
        .collect()
}

/// What is wrong, without the place, which is told in our own words.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split_once(" at line ").map_or(text.as_str(), |(problem, _)| problem).to_owned()
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
                return Err(A::Error::duplicate_field("id"));
            } else {
                let text: String = members.next_value()?;
                id = Some(ids::deletion(&text).map_err(A::Error::custom)?);
            }
        }
        id.map(Named).ok_or_else(|| A::Error::missing_field("id"))
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
        check(&half, Err((3, "EOF while parsing an object")));
        check(&format!("[\n\"{ONE}\",\n"), Err((3, "EOF while parsing a value")));
        check("[\n{\"state\":\"open\"}]", Err((2, "missing field `id`")));
        check("{\"id\":\"x\"}", Err((1, "expected an id as `deletions list` shows it")));
        check(
            "[7]",
            Err((1, "invalid type: integer `7`, expected an id or an object with an `id`")),
        );
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
