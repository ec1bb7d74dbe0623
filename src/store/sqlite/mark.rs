//! A file beside the database that says how many commits it has had.
//!
//! SQLite takes a database without its write-ahead log for a whole one, and what was committed to the
//! log alone is gone without a word. So every commit counts itself in the database, and its number is
//! written over the one before in this file, before anybody is told of success. That costs no flush of
//! the disk: the number may be old after a power cut, and is never ahead of what was committed. A
//! database that is behind its mark has lost commits, whoever removed the log, and however.

mod accept;

use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension as _};

pub(crate) use self::accept::accept_loss;
use super::{beside, unavailable};
use crate::store::error::OpenError;

/// What the file begins with, so that nobody takes it for something else.
const TITLE: &str = "callgate commits";
/// Digits of the largest number.
const DIGITS: usize = 19;

/// The open mark of a database that is in use.
#[derive(Debug)]
pub(super) struct Mark {
    file: File,
    lineage: String,
    /// What could not be written was said.
    is_silent: bool,
}

/// What a mark says: which history, and how many commits of it there were.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Marked {
    lineage: String,
    number: i64,
}

impl Mark {
    /// The mark of the database behind `connection`, made when there is none, and brought to what the
    /// database has.
    ///
    /// # Errors
    ///
    /// When the database cannot be read or the file cannot be made.
    pub(super) fn open(connection: &Connection, path: &Path) -> Result<Self, OpenError> {
        let file_path = mark_file(path);
        let known = marked(connection).map_err(|error| unavailable(path, &error))?;
        let Marked { lineage, number } = known.clone().unwrap_or_else(Marked::none);
        let file = beside::open_owned_like(path, &file_path)
            .map_err(|error| beside::why(path, &file_path, &error))?;
        let before = read(&file).map_err(|error| beside::why(path, &file_path, &error))?;
        let mark = Self { file, lineage, is_silent: false };
        // Another process may have gone on meanwhile.
        let is_behind =
            before.is_none_or(|mark| mark.number < number || !mark.is_of(known.as_ref()));
        if is_behind {
            mark.write(number)
                .and_then(|length| mark.file.set_len(length))
                .and_then(|()| mark.file.sync_all())
                .and_then(|()| File::open(folder_of(path))?.sync_all())
                .map_err(|error| unavailable(&file_path, &error))?;
        }
        Ok(mark)
    }

    /// Counts a commit, inside its transaction; gives its number.
    pub(super) fn count(connection: &Connection) -> rusqlite::Result<i64> {
        connection
            .prepare_cached("UPDATE commits SET number = number + 1 RETURNING number")?
            .query_row((), |row| row.get(0))
    }

    /// Takes note of a commit that is on disk. A mark that cannot be written only says less.
    pub(super) fn note(&mut self, number: i64) {
        match self.write(number) {
            Ok(_) => self.is_silent = false,
            Err(error) if !self.is_silent => {
                self.is_silent = true;
                tracing::warn!("the mark beside the database could not be written: {error}");
            }
            Err(_) => {}
        }
    }

    /// Gives how long a mark is.
    fn write(&self, number: i64) -> io::Result<u64> {
        let text = format!("{TITLE} {} {number:0DIGITS$}\n", self.lineage);
        self.file.write_all_at(text.as_bytes(), 0)?;
        Ok(text.len() as u64)
    }
}

impl Marked {
    fn none() -> Self {
        Self { lineage: "-".repeat(16), number: 0 }
    }

    /// Reads the first line, and no further.
    fn parse(text: &str) -> Option<Self> {
        let (line, _) = text.split_once('\n')?;
        let mut words = line.strip_prefix(TITLE)?.strip_prefix(' ')?.split(' ');
        let (lineage, number) = (words.next()?, words.next()?);
        let is_whole = words.next().is_none() && number.len() == DIGITS;
        let is_number = is_whole && number.bytes().all(|byte| byte.is_ascii_digit());
        let number = number.parse().ok().filter(|_| is_number)?;
        Some(Self { lineage: lineage.to_owned(), number })
    }

    fn is_of(&self, database: Option<&Self>) -> bool {
        database.is_some_and(|database| database.lineage == self.lineage)
    }
}

/// What the mark of a database says, to be read before the database is.
#[derive(Clone, Debug)]
pub(super) struct Promised(Option<Marked>);

impl Promised {
    /// Reads the mark beside `path`. One that was never written whole promises nothing.
    ///
    /// # Errors
    ///
    /// It is there and cannot be read, so that nobody knows what it promises.
    pub(super) fn read(path: &Path) -> Result<Self, OpenError> {
        let file = mark_file(path);
        let marked = match File::open(&file) {
            Ok(open) => read(&open).inspect(|marked| {
                if marked.is_none() && open.metadata().is_ok_and(|file| file.len() > 0) {
                    let file = file.display();
                    tracing::warn!("{file} is no mark: whether commits were lost cannot be told");
                }
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        marked.map(Self).map_err(|error| unavailable(&file, &error))
    }

    /// There was a database of ours.
    pub(super) fn is_any(&self) -> bool {
        self.0.is_some()
    }

    /// Nothing was promised that a database which is not there would have.
    ///
    /// # Errors
    ///
    /// [`OpenError::Gone`].
    pub(super) fn of_nothing(&self, path: &Path) -> Result<(), OpenError> {
        match &self.0 {
            Some(marked) if marked.number > 0 => Err(OpenError::Gone(path.display().to_string())),
            _ => Ok(()),
        }
    }

    /// The database has every commit that was promised.
    ///
    /// # Errors
    ///
    /// [`OpenError::LostLog`] when it has not.
    pub(super) fn check(&self, connection: &Connection, path: &Path) -> Result<(), OpenError> {
        let Some(promised) = &self.0 else { return Ok(()) };
        // A schema of before counts no commits, and a copy has a history of its own.
        let known = marked(connection).map_err(|error| unavailable(path, &error))?;
        let Some(known) = known.filter(|known| known.lineage == promised.lineage) else {
            return Ok(());
        };
        if known.number < promised.number {
            let missing = promised.number - known.number;
            return Err(OpenError::LostLog { path: path.display().to_string(), missing });
        }
        Ok(())
    }
}

/// Why there is no database at `path`: there never was one, or it is gone.
pub(super) fn absence(path: &Path) -> OpenError {
    let promised = Promised::read(path).and_then(|promised| promised.of_nothing(path));
    promised.err().unwrap_or_else(|| OpenError::Missing(path.display().to_string()))
}

/// Makes the history of a database that was copied one of its own.
pub(super) fn new_lineage(connection: &Connection) -> rusqlite::Result<()> {
    if connection.table_exists(None, "commits")? {
        connection.execute("UPDATE commits SET lineage = lower(hex(randomblob(8)))", ())?;
    }
    Ok(())
}

/// What the database itself says; none before its schema counts commits.
fn marked(connection: &Connection) -> rusqlite::Result<Option<Marked>> {
    if !connection.table_exists(None, "commits")? {
        return Ok(None);
    }
    connection
        .query_row("SELECT lineage, number FROM commits", (), |row| {
            Ok(Marked { lineage: row.get(0)?, number: row.get(1)? })
        })
        .optional()
}

fn read(file: &File) -> io::Result<Option<Marked>> {
    let mut bytes = Vec::new();
    file.take(200).read_to_end(&mut bytes)?;
    Ok(Marked::parse(&String::from_utf8_lossy(&bytes)))
}

/// Where the mark of a database is.
fn mark_file(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".mark");
    name.into()
}

/// The folder that a file is in.
pub(super) fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(mark: &Marked) -> String {
        format!("{TITLE} {} {:0DIGITS$}\n", mark.lineage, mark.number)
    }

    proptest! {
        #[test]
        fn a_mark_is_read_as_it_was_written_and_half_of_one_is_none(
            lineage in "[0-9a-f]{16}|-{16}",
            number in 0..=i64::MAX,
            cut in 0..40_usize,
        ) {
            let mark = Marked { lineage, number };
            let written = text(&mark);
            prop_assert_eq!(Marked::parse(&written), Some(mark));
            let half = &written[..cut.min(written.len() - 1)];
            prop_assert_eq!(Marked::parse(half), None);
            // What somebody has added by hand takes nothing from it.
            prop_assert_eq!(Marked::parse(&format!("{written}\n")), Marked::parse(&written));
        }

        #[test]
        fn nothing_else_is_a_mark(bytes in ".*") {
            prop_assume!(!bytes.starts_with(TITLE));
            prop_assert_eq!(Marked::parse(&bytes), None);
        }
    }

    #[test]
    fn the_next_number_is_as_long_as_the_one_before() {
        let lengths = [0, 9, 10, i64::MAX]
            .map(|number| text(&Marked { lineage: "0123456789abcdef".to_owned(), number }).len());
        assert!(lengths.iter().all(|length| *length == lengths[0]), "{lengths:?}");
    }
}
