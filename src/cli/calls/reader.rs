//! Reads the lines of an import, JSON or CSV, into named fields; what they mean is not looked at.
//!
//! Each line is read by itself, and one that is wrong keeps none of the others from being read.

use std::borrow::Cow;
use std::io::{self, BufRead, Read};

use clap::ValueEnum;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::cli::csv::{NOT_TEXT, read_records};

/// The longest line of JSON; what is longer is no call.
const LONGEST_LINE: usize = 1 << 20;

/// What an import can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// One JSON object on each line
    Jsonl,
    /// Comma-separated values with a header row
    Csv,
}

/// A field of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    CallId,
    GraphCallId,
    PlatformCallId,
    NativeId,
    MeetingId,
    TenantId,
    Direction,
    State,
    Source,
    Targets,
    StartedAt,
    EndedAt,
    Subject,
}

impl Field {
    /// All of them with their names, in the order of the variants.
    pub(super) const ALL: [(Self, &'static str); 13] = [
        (Self::CallId, "callID"),
        (Self::GraphCallId, "graphCallID"),
        (Self::PlatformCallId, "platformCallID"),
        (Self::NativeId, "nativeID"),
        (Self::MeetingId, "meetingID"),
        (Self::TenantId, "tenantID"),
        (Self::Direction, "direction"),
        (Self::State, "state"),
        (Self::Source, "source"),
        (Self::Targets, "targets"),
        (Self::StartedAt, "startedAt"),
        (Self::EndedAt, "endedAt"),
        (Self::Subject, "subject"),
    ];

    /// Its name as an object's member and as a column.
    pub(super) fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    fn named(name: &str) -> Result<Self, String> {
        if let Some((field, _)) = Self::ALL.iter().find(|(_, known)| *known == name) {
            return Ok(*field);
        }
        let alike = Self::ALL.iter().find(|(_, known)| known.eq_ignore_ascii_case(name));
        let name: String = name.chars().take(40).collect();
        Err(match alike {
            Some((_, known)) => format!("`{name}`: unknown field; did you mean {known}?"),
            None => format!("`{name}`: unknown field"),
        })
    }
}

/// The fields of one line; what is empty is absent.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Fields<'a> {
    values: [Option<Cow<'a, str>>; Field::ALL.len()],
    pub(super) targets: Vec<Cow<'a, str>>,
}

impl<'a> Fields<'a> {
    /// The value of a field other than the targets.
    pub(super) fn get(&self, field: Field) -> Option<&str> {
        self.values[field as usize].as_deref()
    }

    fn set(&mut self, field: Field, value: Cow<'a, str>) {
        if !value.is_empty() {
            self.values[field as usize] = Some(value);
        }
    }
}

/// Hands each line that is not blank, with its number, to `each`: its fields, or what is wrong
/// with it. Stops when `each` gives false.
///
/// # Errors
///
/// When the input cannot be read any further.
pub(super) fn read(
    input: impl BufRead,
    format: Format,
    each: &mut dyn FnMut(u64, Result<Fields<'_>, String>) -> bool,
) -> io::Result<()> {
    match format {
        Format::Jsonl => read_json(input, each),
        Format::Csv => read_csv(input, each),
    }
}

fn read_json(
    mut input: impl BufRead,
    each: &mut dyn FnMut(u64, Result<Fields<'_>, String>) -> bool,
) -> io::Result<()> {
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        (&mut input).take(LONGEST_LINE as u64 + 1).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            break;
        }
        let mut is_too_long = false;
        while line.len() > LONGEST_LINE && !line.ends_with(b"\n") {
            is_too_long = true;
            line.truncate(LONGEST_LINE);
            if (&mut input).take(LONGEST_LINE as u64).read_until(b'\n', &mut line)? == 0 {
                break;
            }
        }
        let text = match number {
            1 => line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&line),
            _ => &line,
        };
        let text = text.trim_ascii_end();
        let fields = if is_too_long {
            Err(format!("longer than {LONGEST_LINE} bytes"))
        } else if text.is_empty() {
            continue;
        } else {
            std::str::from_utf8(text).map_err(|_error| NOT_TEXT.to_owned()).and_then(json_fields)
        };
        if !each(number, fields) {
            break;
        }
    }
    Ok(())
}

fn json_fields(line: &str) -> Result<Fields<'_>, String> {
    match serde_json::from_str::<Loose<'_>>(line) {
        Ok(Loose::Object(members)) => from_members(members),
        Ok(_) => Err("expected one JSON object on the line, { to }".to_owned()),
        Err(error) => {
            let text = error.to_string();
            let reason = text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason);
            Err(format!("no valid JSON at column {}: {reason}", error.column()))
        }
    }
}

fn from_members<'a>(members: Vec<(Cow<'a, str>, Loose<'a>)>) -> Result<Fields<'a>, String> {
    let mut fields = Fields::default();
    let mut seen = [false; Field::ALL.len()];
    for (name, value) in members {
        let field = Field::named(&name)?;
        if std::mem::replace(&mut seen[field as usize], true) {
            return Err(format!("`{name}`: is there twice"));
        }
        match (field, value) {
            (_, Loose::Null) => {}
            (Field::Targets, Loose::List(items)) => {
                for item in items {
                    match item {
                        Loose::Text(text) => fields.targets.push(text),
                        _ => return Err(format!("`{name}`: expected a list of texts")),
                    }
                }
            }
            (Field::Targets, _) => return Err(format!("`{name}`: expected a list of texts")),
            (_, Loose::Text(text)) => fields.set(field, text),
            _ => return Err(format!("`{name}`: expected a text in quotes")),
        }
    }
    fields.targets.retain(|target| !target.is_empty());
    Ok(fields)
}

/// Any JSON, so that what is wrong is said in our words and by the member's name.
enum Loose<'a> {
    Null,
    Text(Cow<'a, str>),
    List(Vec<Loose<'a>>),
    Object(Vec<(Cow<'a, str>, Loose<'a>)>),
    Other,
}

impl<'de: 'a, 'a> Deserialize<'de> for Loose<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(LooseVisitor)
    }
}

struct LooseVisitor;

impl<'de> Visitor<'de> for LooseVisitor {
    type Value = Loose<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Loose::Null)
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Loose::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Loose::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Loose::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Loose::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Loose::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Loose::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Loose::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut object = Vec::with_capacity(Field::ALL.len());
        while let Some(name) = members.next_key()? {
            match name {
                Loose::Text(name) => object.push((name, members.next_value()?)),
                _ => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Loose::Object(object))
    }
}

fn read_csv(
    input: impl BufRead,
    each: &mut dyn FnMut(u64, Result<Fields<'_>, String>) -> bool,
) -> io::Result<()> {
    let mut columns: Option<Vec<Field>> = None;
    read_records(input, &mut |number, cells| {
        let Some(known) = &columns else {
            return match cells.and_then(|names| header(&names)) {
                Ok(named) => {
                    columns = Some(named);
                    true
                }
                // Without its header nothing of the rest can be read.
                Err(problem) => {
                    each(number, Err(problem));
                    false
                }
            };
        };
        each(number, cells.and_then(|cells| csv_fields(known, &cells)))
    })
}

fn header(names: &[&str]) -> Result<Vec<Field>, String> {
    let mut columns = Vec::with_capacity(names.len());
    for name in names {
        let field = Field::named(name.trim())
            .map_err(|problem| format!("{problem} (the first line names the columns)"))?;
        if columns.contains(&field) {
            return Err(format!("`{}`: two columns have this name", field.name()));
        }
        columns.push(field);
    }
    if !columns.contains(&Field::GraphCallId) {
        return Err("no column is called graphCallID (the first line names the columns)".to_owned());
    }
    Ok(columns)
}

fn csv_fields<'a>(columns: &[Field], cells: &[&'a str]) -> Result<Fields<'a>, String> {
    if cells.len() != columns.len() {
        let (expected, found) = (columns.len(), cells.len());
        return Err(format!("expected {expected} columns as in the first line, found {found}"));
    }
    let mut fields = Fields::default();
    for (field, cell) in columns.iter().zip(cells) {
        match field {
            Field::Targets => fields.targets = split_targets(cell),
            _ => fields.set(*field, Cow::Borrowed(cell)),
        }
    }
    Ok(fields)
}

/// The parts between semicolons; what reads like the parameter of a `tel:` or `sip:` address
/// (`;ext=12`) belongs to the part before it.
fn split_targets(cell: &str) -> Vec<Cow<'_, str>> {
    let is_parameter = |text: &str| {
        text.split_once('=').is_some_and(|(name, _)| {
            !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        })
    };
    let mut targets: Vec<Cow<'_, str>> = Vec::new();
    let mut start = 0;
    let mut end = 0;
    for part in cell.split(';') {
        let next = end + part.len();
        if end == 0 || !is_parameter(part) {
            start = end;
        } else {
            targets.pop();
        }
        targets.push(Cow::Borrowed(&cell[start..next]));
        end = next + 1;
    }
    targets.retain(|target| !target.trim().is_empty());
    targets
}

#[cfg(test)]
mod tests;
