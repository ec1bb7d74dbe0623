//! Where an import comes from: a file, or a stream that is kept so that it can be read twice.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Seek};
use std::path::Path;

use super::reader::Format;
use crate::cli::error::CliError;
use crate::cli::file::{self, unreadable};
use crate::cli::output::Terminal;

/// What is imported, so that it can be read twice.
#[derive(Debug)]
pub(super) struct Input {
    file: File,
    name: String,
    format: Format,
}

impl Input {
    /// Opens the file, or takes all of standard input.
    ///
    /// # Errors
    ///
    /// When there is no such file, or it cannot be read.
    pub(super) fn open(
        path: Option<&Path>,
        format: Option<Format>,
        terminal: Terminal,
    ) -> Result<Self, CliError> {
        let path = path.filter(|path| *path != Path::new("-"));
        let (name, mut file) = match path {
            None => {
                let input = io::stdin();
                if input.is_terminal() {
                    terminal.say("reading calls from standard input");
                }
                ("standard input".to_owned(), spool("standard input", input.lock())?)
            }
            Some(path) => {
                let (name, file) = file::open(path)?;
                let kind = file.metadata().map_err(|error| unreadable(&name, error))?;
                let file = if kind.is_file() { file } else { spool(&name, file)? };
                (name, file)
            }
        };
        let by_name = path.and_then(Path::extension).and_then(|extension| {
            match extension.to_str()?.to_ascii_lowercase().as_str() {
                "csv" => Some(Format::Csv),
                "jsonl" | "ndjson" | "json" => Some(Format::Jsonl),
                _ => None,
            }
        });
        let format = match format.or(by_name) {
            Some(format) => format,
            None => look(&mut file).map_err(|error| unreadable(&name, error))?,
        };
        Ok(Self { file, name, format })
    }

    /// What it is called in messages.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What it is.
    pub(super) const fn format(&self) -> Format {
        self.format
    }

    /// Reads it from its beginning; one reader at a time.
    ///
    /// # Errors
    ///
    /// When the file cannot be used.
    pub(super) fn reader(&self) -> io::Result<BufReader<File>> {
        let mut file = self.file.try_clone()?;
        file.rewind()?;
        Ok(BufReader::with_capacity(256 << 10, file))
    }
}

/// What cannot be read twice goes into a file that nobody else can open and that is gone with us.
fn spool(name: &str, mut input: impl Read) -> Result<File, CliError> {
    let copied = tempfile::tempfile().and_then(|mut file| {
        io::copy(&mut input, &mut file)?;
        Ok(file)
    });
    copied.map_err(|error| unreadable(name, error))
}

/// JSON begins with a brace; a header does not.
fn look(file: &mut File) -> io::Result<Format> {
    file.rewind()?;
    let mut start = Vec::new();
    BufReader::new(file).fill_buf()?.clone_into(&mut start);
    let text = start.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&start);
    let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
    Ok(if matches!(first, Some(b'{' | b'[')) { Format::Jsonl } else { Format::Csv })
}
