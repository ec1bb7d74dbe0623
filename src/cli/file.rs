//! Opens what a command was told to read.

use std::fs::File;
use std::io;
use std::path::Path;

use super::error::CliError;

/// Opens a file; gives what it is called in messages as well.
///
/// # Errors
///
/// When there is no such file, or it is a directory.
pub(super) fn open(path: &Path) -> Result<(String, File), CliError> {
    let name = path.display().to_string();
    let unusable = |problem: &str| CliError::Usage(format!("{name}: {problem}"));
    let file = File::open(path).map_err(|error| unusable(&format!("cannot be opened: {error}")))?;
    let kind = file.metadata().map_err(|error| unreadable(&name, error))?;
    if kind.is_dir() {
        return Err(unusable("is a directory, not a file"));
    }
    Ok((name, file))
}

/// The error for an input that could be opened and not read.
pub(super) fn unreadable(name: &str, error: io::Error) -> CliError {
    CliError::Unavailable(format!("{name} cannot be read"), error)
}
