//! Whether a `callgate serve` uses the database.
//!
//! The lock is of a file beside the database, not of the database itself: closing a file gives up
//! every lock that this process has on it, SQLite's too.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use crate::store::error::OpenError;

/// Keeps every `serve` away for as long as the file is open.
///
/// # Errors
///
/// [`OpenError::AlreadyServed`] when one runs, [`OpenError::Unavailable`] when it cannot be told.
pub(super) fn take(database: &Path) -> Result<File, OpenError> {
    let path = lock_file(database);
    let unavailable = |error: &dyn std::error::Error| OpenError::Unavailable {
        path: path.display().to_string(),
        message: error.to_string(),
    };
    let opened = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = opened.map_err(|error| unavailable(&error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(OpenError::AlreadyServed(database.display().to_string()))
        }
        Err(TryLockError::Error(error)) => Err(unavailable(&error)),
    }
}

/// Whether a `serve` runs, as far as can be told; makes no file.
///
/// The lock is tried for a moment, shared, so that two who ask do not take each other for a
/// `serve`.
pub(super) fn is_held(database: &Path) -> bool {
    File::open(lock_file(database))
        .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

fn lock_file(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_seen_by_others_until_it_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("callgate.db");
        assert!(!is_held(&database));
        assert!(!lock_file(&database).exists());
        let held = take(&database).unwrap();
        assert!(is_held(&database));
        assert!(matches!(take(&database), Err(OpenError::AlreadyServed(_))));
        drop(held);
        assert!(!is_held(&database));
        take(&database).unwrap();
    }
}
