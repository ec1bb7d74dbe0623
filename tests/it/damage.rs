//! A disk that is full or read-only, a database that is damaged, a write-ahead log that is missing: no
//! false `0`, one clear message, and an end of it by itself where there can be one.

mod disk;
mod full;

use std::fs;
use std::path::PathBuf;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::{Process, Site, soon, until};

/// What `serve` ends with that does not start: its exit code, and what it says.
async fn refused(site: &Site) -> (Option<i32>, String) {
    let output = soon("the end of a refused start", site.command(&["serve"]).output()).await;
    let output = output.expect("the binary was built");
    (output.status.code(), String::from_utf8(output.stderr).expect("text"))
}

fn beside(site: &Site, ending: &str) -> PathBuf {
    site.folder().join(format!("callgate.db{ending}"))
}

async fn is_ready(process: &Process) {
    let probe = async || process.health().await.starts_with("ready").then_some(());
    until("the gateway is ready", probe).await;
}

/// A site whose gateway was killed with an accepted deletion in its log, while another connection kept
/// the log from being moved into the database.
async fn killed() -> Site {
    let site = Site::with("legacy.wait = \"1ms\"").await;
    site.graph.fault(json!({"method": "DELETE", "delayMs": 600_000})).await;
    let call = site.call("8856").await;
    let process = Process::start(&site, &[]).await;
    is_ready(&process).await;
    let reader = site.database();
    reader.execute_batch("BEGIN; SELECT count(*) FROM deletions").expect("it can be read");
    let answer = process.get(&site, &site.key.query(&format!("callID={}&detail=1", call.id))).await;
    assert_eq!((answer.code(), answer.word()), (0, "accepted"));
    process.kill().await;
    // A copy, because whoever closes the database last moves the log.
    for ending in ["", "-wal"] {
        fs::copy(beside(&site, ending), site.folder().join(format!("saved{ending}")))
            .expect("there is room");
    }
    drop(reader);
    site
}

/// Puts the files of the killed gateway back, with its log or without.
fn put_back(site: &Site, with_log: bool) {
    for ending in ["-wal", "-shm"] {
        let _ = fs::remove_file(beside(site, ending));
    }
    fs::copy(site.folder().join("saved"), beside(site, "")).expect("there is room");
    if with_log {
        fs::copy(site.folder().join("saved-wal"), beside(site, "-wal")).expect("there is room");
    }
}

#[tokio::test]
async fn a_start_without_the_log_is_refused_until_it_is_put_back_and_nothing_is_lost() {
    let site = killed().await;
    put_back(&site, false);
    for _ in 0..2 {
        let (code, said) = refused(&site).await;
        assert_eq!(code, Some(74), "{said}");
        for part in ["callgate.db-wal", "put the right one", "--accept-lost-wal"] {
            assert!(said.contains(part), "{part} in {said}");
        }
    }
    put_back(&site, true);
    let _process = Process::start(&site, &[]).await;
    assert_eq!(site.value::<i64>("SELECT count(*) FROM deletions"), 1);
}

#[tokio::test]
async fn a_lost_log_can_be_accepted_and_the_database_then_begins_paused() {
    let site = killed().await;
    put_back(&site, false);
    site.run(&["migrate", "--accept-lost-wal"]).await;
    let process = Process::start(&site, &[]).await;
    assert_eq!(site.value::<i64>("SELECT count(*) FROM deletions"), 0);
    let probe = async || process.health().await.contains("paused").then_some(());
    until("it is paused", probe).await;
    process.kill().await;
    // Nothing is missing any more.
    site.run(&["migrate", "--accept-lost-wal"]).await;
    let accepted = accepted(&site);
    assert_eq!(accepted.len(), 1, "{accepted:?}");
    let lost = &accepted[0]["commits"];
    assert!(lost["found"].as_i64() < lost["marked"].as_i64(), "{lost}");
}

/// The records of losses that were accepted, each with what it says of whoever did it.
fn accepted(site: &Site) -> Vec<Value> {
    let records = site.audit().into_iter();
    let accepted: Vec<Value> = records.filter(|record| record["action"] == "migrate").collect();
    for record in &accepted {
        assert_eq!(record["parameters"], json!(["accept-lost-wal"]));
        let (who, at) = (&record["personal"], &record["at"]);
        assert!(who["user"].is_string() && who["host"].is_string() && at.is_string(), "{record}");
    }
    accepted
}

#[tokio::test]
async fn a_loss_is_not_accepted_where_its_record_cannot_be_written() {
    let site = killed().await;
    put_back(&site, false);
    let database = Connection::open(beside(&site, "")).unwrap();
    database
        .execute_batch(
            "CREATE TRIGGER refuse BEFORE INSERT ON audit BEGIN SELECT raise(ABORT, 'no'); END",
        )
        .unwrap();
    drop(database);
    let output = site.command(&["migrate", "--accept-lost-wal"]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    assert_eq!(refused(&site).await.0, Some(74));
    assert_eq!(site.value::<i64>("SELECT count(*) FROM paused"), 0);
}

#[tokio::test]
async fn after_a_kill_and_after_others_have_moved_the_log_the_start_is_as_ever() {
    let site = killed().await;
    put_back(&site, true);
    // The last to close it moves the log into the database and removes it.
    drop(Connection::open(beside(&site, "")).map(|database| {
        let count: i64 =
            database.query_row("SELECT count(*) FROM deletions", (), |row| row.get(0)).unwrap();
        assert_eq!(count, 1);
    }));
    assert!(!beside(&site, "-wal").exists());
    let process = Process::start(&site, &[]).await;
    process.kill().await;
    let _process = Process::start(&site, &[]).await;
}

#[tokio::test]
async fn copies_without_a_mark_and_backups_are_taken_as_they_are() {
    let site = killed().await;
    put_back(&site, true);
    fs::remove_file(beside(&site, ".mark")).unwrap();
    let process = Process::start(&site, &[]).await;
    let backup = site.folder().join("backup.db");
    site.run(&["backup", backup.to_str().unwrap()]).await;
    // Something that the backup lacks.
    site.key(&[]).await;
    process.kill().await;
    for ending in ["-wal", "-shm"] {
        let _ = fs::remove_file(beside(&site, ending));
    }
    fs::copy(backup, beside(&site, "")).unwrap();
    let _process = Process::start(&site, &[]).await;
}

#[tokio::test]
async fn a_database_that_is_gone_is_not_replaced_by_an_empty_one() {
    let site = Site::new().await;
    fs::remove_file(beside(&site, "")).unwrap();
    let (code, said) = refused(&site).await;
    assert_eq!(code, Some(74), "{said}");
    assert!(said.contains("there was one") && !beside(&site, "").exists(), "{said}");
    let output = site.command(&["migrate", "--accept-lost-wal"]).output().await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("callgate keys create") && said.contains("callgate resume"), "{said}");
    let accepted = accepted(&site);
    assert_eq!(accepted.len(), 1, "{accepted:?}");
    let lost = &accepted[0]["commits"];
    assert!(lost["marked"].as_i64() > Some(0) && lost["found"].is_null(), "{lost}");
    let process = Process::start(&site, &[]).await;
    is_ready(&process).await;
    let health = process.health().await;
    assert!(health.contains("degraded: paused: "), "{health}");
}

#[tokio::test]
async fn a_second_start_says_that_another_has_the_database_also_where_it_has_the_port() {
    let site = Site::new().await;
    let process = Process::start(&site, &[]).await;
    let address = format!("listen.address={}", process.legacy);
    for set in [&["--set", &*address][..], &[]] {
        let command = site.command(&[&["serve"], set].concat()).output();
        let output = soon("the end of a refused start", command).await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(69), "{said}");
        assert!(said.contains("another `callgate serve` uses the database"), "{said}");
    }
}

#[tokio::test]
async fn a_damaged_header_is_refused_with_what_to_do() {
    let site = Site::new().await;
    let mut bytes = fs::read(beside(&site, "")).unwrap();
    bytes[..16].fill(0xA5);
    fs::write(beside(&site, ""), &bytes).unwrap();
    let (code, said) = refused(&site).await;
    assert_eq!(code, Some(74), "{said}");
    assert!(said.contains("restore a backup"), "{said}");
}

#[tokio::test]
async fn a_damage_that_is_met_while_it_starts_is_the_same() {
    let site = Site::new().await;
    let page: u32 =
        site.value("SELECT rootpage FROM sqlite_schema WHERE type = 'table' AND name = 'serving'");
    let length: u32 = site.value("PRAGMA page_size");
    let database = fs::File::options().write(true).open(beside(&site, "")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(
        &database,
        &[0xA5; 512],
        u64::from((page - 1) * length),
    )
    .unwrap();
    let (code, said) = refused(&site).await;
    assert_eq!(code, Some(74), "{said}");
    assert!(said.contains("the database is damaged; restore a backup"), "{said}");
}

#[tokio::test]
async fn a_damage_that_is_met_while_it_runs_is_the_end_of_every_zero() {
    let site = Site::new().await;
    let call = site.call("8856").await;
    let process = Process::start(&site, &[]).await;
    is_ready(&process).await;
    // Every page but the first, which has been read: as a disk does that returns something else.
    let database = fs::File::options().write(true).open(beside(&site, "")).unwrap();
    let length = database.metadata().unwrap().len();
    let rest = vec![0xA5; usize::try_from(length).unwrap() - 4096];
    std::os::unix::fs::FileExt::write_all_at(&database, &rest, 4096).unwrap();
    let query = site.key.query(&format!("callID={}", call.id));
    // What is in memory is good for a while, and then nothing is.
    let probe = async || {
        let answer = process.get(&site, &query).await;
        (answer.status == 503).then_some(answer.code())
    };
    let code = until("nothing is answered any more", probe).await;
    assert_eq!(code, -1);
    let said = async || process.health().await.contains("the database is damaged").then_some(());
    until("it says so", said).await;
    assert_eq!(process.get(&site, &query).await.status, 503);
    let log = fs::read_to_string(&process.log).unwrap();
    assert_eq!(log.matches("the database is damaged: everything is refused").count(), 1, "{log}");
}
