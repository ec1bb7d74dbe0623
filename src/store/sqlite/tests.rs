//! The file itself: settings, refusals to open it, other processes at it, and readers' turns.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::*;
use crate::id::TenantId;
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::fixture::{Fixture, NOW, TENANT, database, open};
use crate::store::reconcile::Asking;

fn sqlite(store: &Store) -> &Sqlite {
    let Store::Sqlite(sqlite) = store;
    sqlite
}

/// What opening the store in `folder` is refused with, and whether it left every file as it was.
fn refused(folder: &Path, missing: Missing) -> (OpenError, bool) {
    let before = files(folder);
    let opened = Store::open_sqlite(&database(folder), &folder.join("pepper"), missing);
    let error = opened.map(drop).unwrap_err();
    (error, files(folder) == before)
}

fn files(folder: &Path) -> Vec<(std::ffi::OsString, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name(), fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}

/// A file beside the database.
fn beside(folder: &Path, what: &str) -> PathBuf {
    let mut name = database(folder).into_os_string();
    name.push(what);
    name.into()
}

/// A folder with a store in it that nobody has open.
fn closed() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path(), Missing::Create));
    folder
}

#[tokio::test]
async fn what_is_answered_survives_a_power_cut() {
    let there = Fixture::new().await;
    let settings = sqlite(&there.store).write(|connection| {
        let setting = |name| connection.pragma_query_value(None, name, |row| row.get(0));
        let mode: String = setting_text(connection)?;
        Ok((
            mode,
            setting("synchronous")?,
            setting("foreign_keys")?,
            setting("wal_autocheckpoint")?,
        ))
    });
    let (mode, synchronous, foreign_keys, autocheckpoint): (String, i64, i64, i64) =
        settings.await.unwrap();
    assert_eq!((mode.as_str(), synchronous, foreign_keys, autocheckpoint), ("wal", 2, 1, 0));
}

fn setting_text(connection: &Connection) -> Result<String, StoreError> {
    Ok(connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?)
}

#[tokio::test]
async fn a_reader_cannot_write() {
    let there = Fixture::new().await;
    let written = sqlite(&there.store)
        .read(|connection| Ok(connection.execute("UPDATE keys SET last_used_at = 1", ())?));
    assert!(written.await.is_err());
}

#[test]
fn a_missing_database_is_not_made_unless_it_may_be() {
    let folder = tempfile::tempdir().unwrap();
    let (error, untouched) = refused(folder.path(), Missing::Refuse);
    assert!(matches!(error, OpenError::Missing(_)) && untouched, "{error}");
}

#[test]
fn a_file_that_is_not_ours_is_refused_and_left_as_it_is() {
    for missing in [Missing::Create, Missing::Refuse] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(database(folder.path()), "minutes of the meeting, no database at all").unwrap();
        let (error, untouched) = refused(folder.path(), missing);
        assert!(matches!(error, OpenError::Foreign(_)) && untouched, "{error}");

        let folder = tempfile::tempdir().unwrap();
        let foreign = Connection::open(database(folder.path())).unwrap();
        foreign.execute_batch("CREATE TABLE songs (title TEXT)").unwrap();
        drop(foreign);
        let (error, untouched) = refused(folder.path(), missing);
        assert!(matches!(error, OpenError::Foreign(_)) && untouched, "{error}");
    }
}

#[test]
fn a_damaged_database_is_refused_and_left_as_it_is() {
    type Expected = fn(&OpenError) -> bool;
    let is_damaged: Expected = |error| matches!(error, OpenError::Damaged(_));
    // Without its mark nobody knows that it was ours.
    let is_foreign: Expected = |error| matches!(error, OpenError::Foreign(_));
    for (from, to, is_marked, is_expected) in
        [(0, 16, true, is_damaged), (100, 4096, true, is_damaged), (0, 16, false, is_foreign)]
    {
        let folder = closed();
        if !is_marked {
            fs::remove_file(beside(folder.path(), ".mark")).unwrap();
        }
        let path = database(folder.path());
        let mut bytes = fs::read(&path).unwrap();
        bytes[from..to].fill(0xA5);
        fs::write(&path, bytes).unwrap();
        let (error, untouched) = refused(folder.path(), Missing::Create);
        assert!(is_expected(&error) && untouched, "{from}: {error}");
    }
}

#[test]
fn another_pepper_is_refused_and_a_lost_one_is_not_made_anew() {
    let folder = closed();
    let pepper = folder.path().join("pepper");
    fs::write(&pepper, "ab".repeat(32)).unwrap();
    let (error, _) = refused(folder.path(), Missing::Create);
    assert!(matches!(error, OpenError::WrongPepper(_)), "{error}");
    fs::remove_file(&pepper).unwrap();
    let (error, _) = refused(folder.path(), Missing::Create);
    assert!(matches!(error, OpenError::Pepper { .. }), "{error}");
    assert!(!pepper.exists());
}

#[test]
fn a_schema_that_needs_a_newer_program_is_refused() {
    let folder = closed();
    let connection = Connection::open(database(folder.path())).unwrap();
    connection.execute("UPDATE schema_tolerance SET oldest_program = 99", ()).unwrap();
    drop(connection);
    let (error, _) = refused(folder.path(), Missing::Create);
    assert!(matches!(error, OpenError::TooNew { .. }), "{error}");
}

#[tokio::test]
async fn a_write_waits_for_another_process_and_is_not_starved_by_one() {
    let there = Fixture::new().await;
    let other = there.other_hand();
    other.execute_batch("BEGIN IMMEDIATE; UPDATE keys SET last_used_at = 1").unwrap();
    let mut write = Box::pin(there.store.tenant(TenantId::new("waiting"), NOW));
    let early = tokio::time::timeout(Duration::from_millis(50), &mut write).await;
    assert!(early.is_err(), "another process is writing");
    other.execute_batch("COMMIT").unwrap();
    write.await.unwrap();

    // An import that begins its next transaction as soon as it has ended one.
    let done = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&done);
    let import = std::thread::spawn(move || {
        while !stop.load(Ordering::SeqCst) {
            let _ =
                other.execute_batch("BEGIN IMMEDIATE; UPDATE keys SET last_used_at = 2; COMMIT");
        }
    });
    for n in 0..20 {
        there.store.tenant(TenantId::new(&n.to_string()), NOW).await.unwrap();
    }
    done.store(true, Ordering::SeqCst);
    import.join().unwrap();
}

#[tokio::test]
async fn a_read_that_panics_costs_no_connection() {
    let there = Fixture::new().await;
    let sqlite = sqlite(&there.store);
    for _ in 0..5 {
        let failed = sqlite.read(|_| -> Result<(), _> { panic!("on purpose") }).await;
        assert!(matches!(failed, Err(StoreError::Other(_))), "{failed:?}");
    }
    assert!(there.store.access_generation().await.is_ok());
}

#[tokio::test]
async fn a_reader_whose_caller_went_away_still_has_its_turn() {
    let there = Fixture::new().await;
    let sqlite = sqlite(&there.store);
    let (started, mut running) = tokio::sync::mpsc::unbounded_channel();
    let mut going = Vec::new();
    for _ in 0..READERS {
        let started = started.clone();
        let (go, wait) = std::sync::mpsc::channel::<()>();
        going.push(go);
        let read = sqlite.read(move |_| {
            started.send(()).unwrap();
            let _ = wait.recv();
            Ok(())
        });
        // Dropped while it runs.
        tokio::select! {
            _ = read => panic!("it runs until it is told to end"),
            _ = running.recv() => {}
        }
    }
    let mut next = Box::pin(sqlite.read(|_| Ok(5)));
    let early = tokio::time::timeout(Duration::from_millis(20), &mut next).await;
    assert!(early.is_err(), "every connection is in use: {early:?}");
    drop(going);
    assert_eq!(next.await.unwrap(), 5);
}

#[tokio::test]
async fn looking_for_what_is_due_writes_nothing_when_nothing_is() {
    let there = Fixture::new().await;
    let mut log = there.path().into_os_string();
    log.push("-wal");
    let before = (fs::metadata(&log).unwrap().len(), change_counter(&there));
    for _ in 0..10 {
        there.store.lease_due(NOW, there.lease(NOW), 256, Vec::new()).await.unwrap();
        let app = Asking { tenant: TenantId::new(TENANT), client_id: "app".to_owned() };
        there.store.calls_to_look_at(app, NOW.into(), 256, Vec::new()).await.unwrap();
    }
    assert_eq!((fs::metadata(&log).unwrap().len(), change_counter(&there)), before);
    there.store.tenant(TenantId::new("new"), NOW).await.unwrap();
    assert_ne!(change_counter(&there), before.1, "the counter counts");
    assert_eq!(there.look::<i64>("SELECT count(*) FROM tenants"), 2, "{TENANT}");
}

/// The salt and the size of the log as its header says: it changes with each commit.
fn change_counter(there: &Fixture) -> Vec<u8> {
    let mut log = there.path().into_os_string();
    log.push("-shm");
    fs::read(log).unwrap()[..48].to_vec()
}
