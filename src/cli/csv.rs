//! Reads comma-separated values record by record, and knows on which line each begins.
//!
//! What the cells mean is its caller's business. A record that is wrong keeps none of the others
//! from being read.

use std::io::{self, BufRead, Read};

/// What is said of bytes that are no text.
pub(super) const NOT_TEXT: &str = "not valid UTF-8";

/// The cells of a record, or what is wrong with it.
pub(super) type Record<'a> = Result<Vec<&'a str>, String>;

/// Hands the cells of each record that is not blank, with the number of the line that it begins on,
/// to `each`, or what is wrong with it. Stops when `each` gives false.
///
/// # Errors
///
/// When the input cannot be read any further.
pub(super) fn read_records(
    input: impl BufRead,
    each: &mut dyn FnMut(u64, Record<'_>) -> bool,
) -> io::Result<()> {
    // Only a line feed ends a record, and the last one always has one: so the line that a record
    // begins on can be told from where it ends, and what runs into the end of the input is a quote
    // that is not closed.
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .terminator(csv::Terminator::Any(b'\n'))
        .from_reader(Watched { input: input.chain(&b"\n"[..]), has_ended: false });
    let mut record = csv::ByteRecord::new();
    while reader.read_byte_record(&mut record)? {
        let ends = record.iter().flatten().filter(|byte| **byte == b'\n').count();
        let line_feeds = reader.position().line() - ends as u64;
        if reader.get_ref().has_ended {
            each(line_feeds, Err("a quote is not closed".to_owned()));
            return Ok(());
        }
        let Some(cells) = cells(&record) else { continue };
        if !each(line_feeds - 1, cells) {
            break;
        }
    }
    Ok(())
}

/// Remembers that the end was read.
struct Watched<R> {
    input: R,
    has_ended: bool,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.has_ended = count == 0;
        Ok(count)
    }
}

/// The cells of a record as text; none when the line is blank.
fn cells(record: &csv::ByteRecord) -> Option<Record<'_>> {
    let last = record.len().checked_sub(1)?;
    let mut cells = Vec::with_capacity(record.len());
    for (index, cell) in record.iter().enumerate() {
        let cell = if index == last { cell.strip_suffix(b"\r").unwrap_or(cell) } else { cell };
        match std::str::from_utf8(cell) {
            Ok(text) => cells.push(text),
            Err(_) => return Some(Err(NOT_TEXT.to_owned())),
        }
    }
    let is_blank = last == 0 && cells[0].trim().is_empty();
    (!is_blank).then_some(Ok(cells))
}
