//! Whether a `callgate serve` uses the database.
//!
//! The lock is of a file beside the database, not of the database itself: closing a file gives up
//! every lock that this process has on it, SQLite's too.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::store::error::OpenError;
use crate::store::sqlite::beside;

/// How often it is tried to take the lock, and the pause between: who merely asks whether it is held
/// has it for a moment.
const TRIES: usize = 20;
const PAUSE: Duration = Duration::from_millis(10);

/// Keeps every `serve` away for as long as the file is open.
///
/// # Errors
///
/// [`OpenError::AlreadyServed`] when one runs, another when it cannot be told.
pub(super) fn take(database: &Path) -> Result<File, OpenError> {
    let path = lock_file(database);
    let failed = |error| beside::why(database, &path, &error);
    let file = beside::open_owned_like(database, &path).map_err(failed)?;
    for attempt in 0..TRIES {
        if attempt > 0 {
            #[expect(clippy::disallowed_methods, reason = "nothing else runs yet")]
            std::thread::sleep(PAUSE);
        }
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
    }
    Err(OpenError::AlreadyServed(database.display().to_string()))
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
    use std::os::unix::fs::PermissionsExt;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn a_lock_is_seen_by_others_until_it_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("callgate.db");
        assert!(!is_held(&database));
        assert!(!lock_file(&database).exists());
        let held = take(&database).unwrap();
        assert_eq!(held.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(is_held(&database));
        assert!(matches!(take(&database), Err(OpenError::AlreadyServed(_))));
        drop(held);
        assert!(!is_held(&database));
        take(&database).unwrap();
    }

    #[test]
    fn whoever_asks_all_the_time_keeps_nobody_from_it() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("callgate.db");
        drop(take(&database).unwrap());
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    is_held(&database);
                }
            });
            let taken: Vec<_> = (0..50).map(|_| take(&database).map(drop).is_ok()).collect();
            done.store(true, Ordering::Relaxed);
            assert!(taken.iter().all(|taken| *taken), "{taken:?}");
        });
    }
}
