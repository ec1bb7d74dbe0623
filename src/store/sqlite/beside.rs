//! Files of ours beside the database. They belong to whoever the database belongs to: what root does by
//! hand must not leave files there that the service cannot open. SQLite treats its own files so.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::Path;

use crate::store::error::OpenError;

/// Opens `file` for reading and writing, made for its owner only, who is that of `database`, when there is
/// none.
///
/// # Errors
///
/// What the operating system says; [`why`] tells what to do.
pub(crate) fn open_owned_like(database: &Path, file: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    // Only what is new is given away: what is there may be a link to something else.
    match options.clone().create_new(true).open(file) {
        Ok(made) => {
            give_to_owner_of(database, &made);
            Ok(made)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => options.open(file),
        Err(error) => Err(error),
    }
}

/// Gives a file that was just made to the owner of another one, if that is there.
pub(super) fn give_to_owner_of(other: &Path, made: &File) {
    if let Ok(owner) = other.metadata() {
        // Only root may give a file away. What anybody else makes is theirs.
        let _ = fchown(made, Some(owner.uid()), Some(owner.gid()));
    }
}

/// Why a file beside `database` could not be opened or written, and what to do.
pub(crate) fn why(database: &Path, file: &Path, error: &io::Error) -> OpenError {
    let path = file.display().to_string();
    let database = database.display().to_string();
    match error.kind() {
        ErrorKind::PermissionDenied if file.symlink_metadata().is_ok() => OpenError::Beside(path),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            OpenError::ReadOnly(database)
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => OpenError::Full(database),
        _ => OpenError::Unavailable { path, message: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, chown};

    use super::*;

    #[test]
    fn what_is_made_belongs_to_the_owner_of_the_database_and_what_is_there_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let [database, file, before] =
            ["callgate.db", "callgate.db.mark", "before"].map(|name| folder.path().join(name));
        fs::write(&before, "").unwrap();
        fs::write(&database, "").unwrap();
        // Whoever is not root owns all of it anyway.
        let _ = chown(&database, Some(65_534), Some(65_534));
        let owners = |path: &Path| {
            let about = path.metadata().unwrap();
            (about.uid(), about.gid())
        };
        open_owned_like(&database, &file).unwrap();
        assert_eq!(owners(&file), owners(&database));
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let owner = owners(&before);
        open_owned_like(&database, &before).unwrap();
        assert_eq!(owners(&before), owner);
    }

    #[test]
    fn the_fault_is_of_the_file_that_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let [database, file] =
            ["callgate.db", "callgate.db.lock"].map(|name| folder.path().join(name));
        let said = |kind| why(&database, &file, &io::Error::from(kind)).to_string();
        assert!(said(ErrorKind::PermissionDenied).contains("callgate.db cannot be written"));
        assert!(said(ErrorKind::StorageFull).contains("is full: make room"));
        fs::write(&file, "").unwrap();
        let theirs = said(ErrorKind::PermissionDenied);
        assert!(theirs.contains("callgate.db.lock cannot be written"), "{theirs}");
        assert!(theirs.contains("or delete it while nothing runs"), "{theirs}");
    }
}
