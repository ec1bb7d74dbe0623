//! What commands print: data on standard output, talk on standard error.
//!
//! Nothing printed here is interpreted by a terminal: control characters of what was stored or
//! sent are replaced. Writing never panics, whoever closed the stream.

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};

use serde::Serialize;

use super::error::CliError;
use crate::clock::Timestamp;

/// Where a command talks to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terminal {
    /// Advice is left out.
    pub(super) quiet: bool,
}

impl Terminal {
    /// Prints data and a line end.
    ///
    /// # Errors
    ///
    /// [`CliError::Closed`] when nobody reads it any more.
    #[expect(clippy::unused_self, reason = "data has the same receiver as talk")]
    pub(super) fn print(self, text: &str) -> anyhow::Result<()> {
        write_data(&[text.as_bytes(), b"\n"])
    }

    /// Prints data as it is.
    ///
    /// # Errors
    ///
    /// As [`Terminal::print`].
    #[expect(clippy::unused_self, reason = "data has the same receiver as talk")]
    pub(super) fn print_bytes(self, bytes: &[u8]) -> anyhow::Result<()> {
        write_data(&[bytes])
    }

    /// Prints one JSON document.
    ///
    /// # Errors
    ///
    /// As [`Terminal::print`].
    pub(super) fn print_json<T: Serialize>(self, value: &T) -> anyhow::Result<()> {
        self.print(&serde_json::to_string_pretty(value)?)
    }

    /// Prints a list: as an array, or as a table; says `none` instead of an empty table.
    ///
    /// # Errors
    ///
    /// As [`Terminal::print`].
    pub(super) fn print_list<T: Serialize>(
        self,
        json: bool,
        items: &[T],
        none: &str,
        table: impl FnOnce(&[T]) -> Table,
    ) -> anyhow::Result<()> {
        if json {
            self.print_json(&items)
        } else if items.is_empty() {
            self.say(none);
            Ok(())
        } else {
            self.print_bytes(table(items).to_text().as_bytes())
        }
    }

    /// Says something that may be left out.
    pub(super) fn say(self, text: &str) {
        if !self.quiet {
            say(text);
        }
    }
}

/// Prints a line to standard error, as far as somebody reads it.
pub(super) fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

fn write_data(parts: &[&[u8]]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    let written = parts.iter().try_for_each(|part| out.write_all(part)).and_then(|()| out.flush());
    written.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => CliError::Closed.into(),
        _ => CliError::Unavailable("cannot write to standard output".to_owned(), error).into(),
    })
}

/// Rows whose columns line up.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// One with these headings and no rows yet.
    pub(super) fn new(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(|&heading| heading.to_owned()).collect()] }
    }

    /// Adds a row; an empty cell is shown as a dash.
    pub(super) fn add(&mut self, cells: impl IntoIterator<Item = String>) {
        let shown = |cell: String| if cell.is_empty() { "-".to_owned() } else { printable(&cell) };
        self.rows.push(cells.into_iter().map(shown).collect());
    }

    /// The rows without headings, for what is shown as names and values.
    pub(super) fn without_headings() -> Self {
        Self { rows: Vec::new() }
    }

    /// Two blanks between columns, none at the end of a line.
    pub(super) fn to_text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                write!(line, "{cell:<width$}  ").expect("a String takes every write");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// `text` as one line that no terminal interprets.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// So many of what the noun names, such as `1 deletion`.
pub(super) fn counted<N: Copy + PartialEq + From<u8> + fmt::Display>(
    count: N,
    noun: &str,
) -> String {
    if count == 1.into() { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// A time to the second, for tables.
pub(super) fn short_time(at: Timestamp) -> String {
    let text = at.to_string();
    match text.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => text,
    }
}

/// A time that may not have come.
pub(super) fn short_time_or_none(at: Option<Timestamp>) -> String {
    at.map(short_time).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_by_characters_and_lines_have_no_trailing_blanks() {
        let mut table = Table::new(&["ID", "NAME", "X"]);
        table.add(["1".to_owned(), "Zoë".to_owned(), String::new()]);
        table.add(["22".to_owned(), "a\u{1b}b\nc".to_owned(), "y".to_owned()]);
        assert_eq!(table.to_text(), "ID  NAME   X\n1   Zoë    -\n22  a\u{fffd}b\u{fffd}c  y\n");
    }

    #[test]
    fn a_time_in_a_table_is_cut_to_the_second() {
        let at = Timestamp::parse("2026-11-22T04:32:55.987Z").unwrap();
        assert_eq!(short_time(at), "2026-11-22T04:32:55Z");
        assert_eq!(short_time_or_none(None), "");
    }
}
