//! Whether the files that are written are still the ones that the next start will find.
//!
//! A database that was moved away, removed or replaced goes on being written by whoever has it open, and
//! whatever is accepted then is lost with the process.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The files of a database that is in use: itself and its write-ahead log.
#[derive(Debug)]
pub(super) struct Place {
    files: [PathBuf; 2],
    /// Device and inode of each, none until it was seen.
    known: [Option<(u64, u64)>; 2],
}

impl Place {
    /// Those of the database at `path`, as far as they are there.
    pub(super) fn of(path: &Path) -> Self {
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        let files = [path.to_owned(), log.into()];
        let known = [identity(&files[0]), identity(&files[1])];
        Self { files, known }
    }

    /// Another file, or none, is where one was before.
    pub(super) fn is_left(&mut self) -> bool {
        self.files.iter().zip(&mut self.known).any(|(file, known)| {
            let found = identity(file);
            let is_other = known.is_some() && *known != found;
            *known = known.or(found);
            is_other
        })
    }
}

fn identity(file: &Path) -> Option<(u64, u64)> {
    file.metadata().ok().map(|file| (file.dev(), file.ino()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_that_is_moved_removed_or_replaced_is_missed_and_one_that_grows_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let [database, log] = ["callgate.db", "callgate.db-wal"].map(|n| folder.path().join(n));
        fs::write(&database, "1").unwrap();
        let mut place = Place::of(&database);
        assert!(!place.is_left());
        // SQLite makes it when it is needed.
        fs::write(&log, "1").unwrap();
        fs::write(&database, "12").unwrap();
        assert!(!place.is_left());
        fs::remove_file(&log).unwrap();
        assert!(place.is_left());
        let moved = folder.path().join("moved");
        for replaced in [false, true] {
            let mut place = Place::of(&database);
            fs::rename(&database, &moved).unwrap();
            if replaced {
                fs::copy(&moved, &database).unwrap();
            }
            assert!(place.is_left(), "{replaced}");
            fs::rename(&moved, &database).unwrap();
            assert!(!place.is_left(), "{replaced}");
        }
    }
}
