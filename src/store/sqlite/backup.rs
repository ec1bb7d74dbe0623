//! Copies of the database while it is used, and whether a copy is whole.
//!
//! Pages are copied by SQLite's backup interface and not by `VACUUM INTO`: a copy of pages needs no
//! memory and little of a processor, can say how far it is, and can be stopped to write out what it has,
//! so that the commits of a running gateway do not wait behind a gigabyte at the end. The reading
//! transaction stays open throughout; without it each commit would start the copy anew.

mod verify;

use std::fs::{File, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::rand;
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use tempfile::NamedTempFile;

pub(crate) use self::verify::{Counts, Verified, VerifyError, verify};
use super::{inspect, mark as commits, reading, unavailable};
use crate::clock::Timestamp;
use crate::store::error::OpenError;

/// Pages that are copied before the next look: about 4 MiB.
const PAGES: i32 = 1024;
/// Steps after which what was copied is written out.
const WRITTEN_OUT: usize = 4;
/// The length of a seal.
const SEAL: usize = 32;

/// How far a copy is, in pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) done: u64,
    pub(crate) all: u64,
}

/// What was copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Copied {
    pub(crate) bytes: u64,
    /// The fingerprints of the peppers that its hashes are made with.
    pub(crate) peppers: Vec<String>,
    /// It starts paused; a schema of before that cannot say so.
    pub(crate) is_paused: bool,
}

/// Copies the database at `path`, which may be in use, to `to`, which must not exist: consistent, whole or
/// not at all, on disk when this returns, for its owner only, and paused. `told` hears how far it is.
///
/// # Errors
///
/// [`OpenError`]; there is no file at `to` that was not there before.
pub(crate) fn back_up(
    path: &Path,
    to: &Path,
    now: Timestamp,
    told: impl FnMut(Progress),
) -> Result<Copied, OpenError> {
    if !path.try_exists().unwrap_or(false) {
        return Err(commits::absence(path));
    }
    inspect::schema_state(path)?;
    let (source, _) = reading::open(path)?;
    copy(&source, path, to, now, told)
}

/// As [`back_up`], from a connection to `path`.
pub(super) fn copy(
    source: &Connection,
    path: &Path,
    to: &Path,
    now: Timestamp,
    told: impl FnMut(Progress),
) -> Result<Copied, OpenError> {
    let failed = |error: &(dyn std::error::Error + 'static)| not_written(to, error);
    let folder = match to.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    if !folder.is_dir() {
        let message = format!("there is no folder {}, make it", folder.display());
        return Err(OpenError::Copy { path: to.display().to_string(), message });
    }
    let name = to.file_name().unwrap_or_default().to_string_lossy();
    let file = tempfile::Builder::new()
        .prefix(&format!(".{name}."))
        .suffix(".partial")
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(folder)
        .map_err(|error| failed(&error))?;
    copy_pages(source, path, to, &file, told)?;
    let (peppers, place) = mark(file.path(), now).map_err(|error| failed(&*error))?;
    let written = write_seal(file.as_file(), place).and_then(|bytes| {
        file.as_file().sync_all()?;
        file.persist_noclobber(to)?;
        File::open(folder)?.sync_all()?;
        Ok(bytes)
    });
    let bytes = written.map_err(|error| failed(&error))?;
    Ok(Copied { bytes, peppers, is_paused: place.is_some() })
}

/// What is wrong with the place of the copy, not with the database.
fn not_written(to: &Path, error: &(dyn std::error::Error + 'static)) -> OpenError {
    match unavailable(to, error) {
        OpenError::ReadOnly(path) | OpenError::Unavailable { path, .. } => {
            OpenError::Copy { path, message: error.to_string() }
        }
        error => error,
    }
}

fn copy_pages(
    source: &Connection,
    path: &Path,
    to: &Path,
    file: &NamedTempFile,
    mut told: impl FnMut(Progress),
) -> Result<(), OpenError> {
    let read = |error: rusqlite::Error| unavailable(path, &error);
    let write = |error: &(dyn std::error::Error + 'static)| not_written(to, error);
    // Dropped, it is rolled back, and there is nothing to undo.
    let snapshot = source.unchecked_transaction().map_err(read)?;
    // What is read first fixes what is copied.
    snapshot.query_row("SELECT count(*) FROM sqlite_schema", (), |_| Ok(())).map_err(read)?;
    let mut target = Connection::open(file.path()).map_err(|error| write(&error))?;
    // It is written out below, and thrown away when anything fails before.
    target.pragma_update(None, "synchronous", "off").map_err(|error| write(&error))?;
    let backup = Backup::new(&snapshot, &mut target).map_err(|error| write(&error))?;
    for step in 1_usize.. {
        let result = backup.step(PAGES).map_err(|error| write(&error))?;
        let progress = backup.progress();
        let all = u64::try_from(progress.pagecount).unwrap_or_default();
        let left = u64::try_from(progress.remaining).unwrap_or_default();
        told(Progress { done: all.saturating_sub(left), all });
        match result {
            StepResult::Done => break,
            StepResult::More => {}
            _ => return Err(write(&io::Error::other("the database is locked"))),
        }
        if step.is_multiple_of(WRITTEN_OUT) {
            file.as_file().sync_data().map_err(|error| write(&error))?;
        }
    }
    drop(backup);
    // One file, without a write-ahead log beside it.
    let mode: String = target
        .pragma_update_and_check(None, "journal_mode", "delete", |row| row.get(0))
        .map_err(|error| write(&error))?;
    if mode == "delete" {
        Ok(())
    } else {
        Err(write(&io::Error::other("the copy kept its write-ahead log")))
    }
}

/// Marks the copy as one that starts paused, with a place for its seal, where its schema can say so.
fn mark(
    copy: &Path,
    now: Timestamp,
) -> Result<(Vec<String>, Option<u64>), Box<dyn std::error::Error>> {
    let mut connection = Connection::open(copy)?;
    let peppers = inspect::peppers(&connection).unwrap_or_default();
    if !connection.table_exists(None, "backup_seal")? {
        return Ok((peppers, None));
    }
    let mut seal = [0; SEAL];
    rand::fill(&mut seal)?;
    connection.pragma_update(None, "synchronous", "off")?;
    let transaction = connection.transaction()?;
    transaction.execute("DELETE FROM backup_seal", ())?;
    transaction.execute("INSERT INTO backup_seal VALUES (1, ?1)", [seal])?;
    let reason = format!(
        "restored from a backup of {now}: it revives revoked keys and knows nothing of newer holds"
    );
    transaction.execute(
        "INSERT INTO paused VALUES (1, ?1, 'callgate backup', ?2, ?1) ON CONFLICT DO UPDATE SET \
         backup_at = excluded.backup_at, reason = excluded.reason || '; paused before by ' \
         || paused_by || coalesce(': ' || reason, '')",
        params![now.0, reason],
    )?;
    commits::new_lineage(&transaction)?;
    transaction.commit()?;
    let place = place_of_seal(&connection, &File::open(copy)?)?;
    Ok((peppers, Some(place.ok_or("the copy has no place for its seal")?)))
}

/// Puts the digest of the file in the place of its seal; gives the length of the file.
fn write_seal(mut file: &File, place: Option<u64>) -> io::Result<u64> {
    if let Some(place) = place {
        let digest = digest_around(file, place)?;
        file.seek(SeekFrom::Start(place))?;
        file.write_all(&digest)?;
    }
    Ok(file.metadata()?.len())
}

/// Where in the file the seal is; none when it has none.
fn place_of_seal(
    connection: &Connection,
    mut file: &File,
) -> Result<Option<u64>, Box<dyn std::error::Error>> {
    let Some(seal) = seal(connection)? else { return Ok(None) };
    let page_size: u32 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let page: u32 = connection.query_row(
        "SELECT rootpage FROM sqlite_schema WHERE name = 'backup_seal'",
        (),
        |row| row.get(0),
    )?;
    let start = u64::from(page.saturating_sub(1)) * u64::from(page_size);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(page_size.into()).read_to_end(&mut bytes)?;
    let found = bytes.windows(SEAL).position(|window| window == seal);
    Ok(found.map(|at| start + at as u64))
}

/// The seal that the database has.
fn seal(connection: &Connection) -> rusqlite::Result<Option<[u8; SEAL]>> {
    connection.query_row("SELECT digest FROM backup_seal", (), |row| row.get(0)).optional()
}

/// The file's digest, with zeros where the seal is.
fn digest_around(mut file: &File, place: u64) -> io::Result<[u8; SEAL]> {
    let mut context = Context::new(&SHA256);
    file.rewind()?;
    io::copy(&mut file.take(place), &mut Hashing(&mut context))?;
    context.update(&[0; SEAL]);
    file.seek(SeekFrom::Start(place + SEAL as u64))?;
    io::copy(&mut file, &mut Hashing(&mut context))?;
    let mut digest = [0; SEAL];
    digest.copy_from_slice(context.finish().as_ref());
    Ok(digest)
}

struct Hashing<'a>(&'a mut Context);

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Removes the seal of a copy that is about to be changed, and begins a history with it: the same backup
/// may be restored again, which must not look as if commits were lost.
pub(super) fn unseal(connection: &mut Connection) -> rusqlite::Result<()> {
    if connection.query_row("SELECT EXISTS (SELECT 1 FROM backup_seal)", (), |row| row.get(0))? {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute("DELETE FROM backup_seal", ())?;
        commits::new_lineage(&transaction)?;
        transaction.commit()?;
    }
    Ok(())
}
