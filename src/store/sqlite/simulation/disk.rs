//! Where the histories are told: one file, which is as it was before each of them.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::store::sqlite::model_test::database;
use crate::store::sqlite::open_writer;

/// The database, and a copy of it as it is before a history.
pub(super) struct Disk {
    path: PathBuf,
    empty: PathBuf,
}

impl Disk {
    pub(super) fn new(folder: &tempfile::TempDir) -> Self {
        let connection = database(folder);
        connection
            .execute_batch(
                "UPDATE keys SET key_id = printf('00000000-0000-4000-8000-%012d', key); \
                 PRAGMA wal_checkpoint(TRUNCATE)",
            )
            .unwrap();
        drop(connection);
        let disk =
            Self { path: folder.path().join("model.db"), empty: folder.path().join("empty.db") };
        std::fs::copy(&disk.path, &disk.empty).unwrap();
        disk
    }

    /// A connection that does not wait for the disk: no power is cut here.
    pub(super) fn open(&self) -> Connection {
        let connection = open_writer(&self.path).unwrap();
        connection.pragma_update(None, "synchronous", "off").unwrap();
        connection
    }

    pub(super) fn clear(&self) {
        for log in ["-wal", "-shm"] {
            let mut name = self.path.clone().into_os_string();
            name.push(log);
            let _ = std::fs::remove_file(Path::new(&name));
        }
        std::fs::copy(&self.empty, &self.path).unwrap();
    }
}
