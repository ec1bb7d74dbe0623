//! A disk without room, and one that cannot be written.

use std::fs;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::disk::SmallDisk;
use super::{beside, is_ready};
use crate::support::{LONG, Process, Site, TENANT, call, until};

/// The ends of a wait for room: it is looked for every 16 s at last.
const LOOKS: u32 = 3;
/// What `/readyz` says meanwhile.
const FULL: &str =
    "store: the disk is full: make room; it goes on once 6 MiB are free beside the database";

/// Waits until the gateway has found that there is room again.
async fn has_room(process: &Process) {
    let deadline = Instant::now() + LONG * LOOKS;
    while !process.health().await.starts_with("ready") {
        assert!(Instant::now() < deadline, "it never found the room");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// A site that was served on this disk and stopped.
async fn stopped(site: &Site) -> SmallDisk {
    let disk = SmallDisk::of(site);
    let process = disk.start(site).await;
    is_ready(&process).await;
    process.signal("TERM").await;
    assert!(process.end().await.success());
    let reserve = fs::metadata(beside(site, ".reserve")).expect("it was made");
    assert_eq!(reserve.len(), 4 << 20);
    assert!(!beside(site, "-wal").exists() && !beside(site, "-shm").exists());
    disk
}

#[tokio::test]
async fn while_the_disk_is_full_nothing_is_promised_and_what_graph_took_is_written() {
    let site = Site::with("legacy.wait = \"1ms\"").await;
    let made: Vec<Value> = (0..3).map(|n| call(&format!("885{n}"), json!({}))).collect();
    let calls = site.calls(&made).await;
    site.graph.fault(json!({"method": "DELETE", "delayMs": 4_000, "times": 1})).await;
    let disk = SmallDisk::of(&site);
    let process = disk.start(&site).await;
    is_ready(&process).await;
    let delete = async |n: usize| {
        process.get(&site, &site.key.query(&format!("callID={}&detail=1", calls[n].id))).await
    };
    assert_eq!(delete(0).await.word(), "accepted");
    site.graph.has_deletes(1).await;

    // While somebody reads, the log is not used again from its beginning; and after something long there is
    // nothing in its file behind its end. So the next commit needs room.
    let reader = site.database();
    reader.execute_batch("BEGIN; SELECT count(*) FROM deletions").unwrap();
    site.database()
        .execute_batch("CREATE TABLE long (b BLOB); INSERT INTO long VALUES (zeroblob(4194304))")
        .unwrap();
    disk.fill();
    for n in [1, 2, 1, 2] {
        let answer = delete(n).await;
        assert_eq!((answer.status, answer.code()), (503, -1));
    }
    let unready = process.health().await;
    assert!(unready.contains(FULL), "{unready}");
    let metrics = process.admin("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").await;
    for series in [
        format!("callgate_sending_state{{tenant=\"{TENANT}\",state=\"flowing\"}} 0\n"),
        format!("callgate_sending_state{{tenant=\"{TENANT}\",state=\"sender_stopped\"}} 1\n"),
        "callgate_store_state{state=\"disk_full\"} 1\n".to_owned(),
    ] {
        assert!(metrics.contains(&series), "{series} in {metrics}");
    }
    let failed = "callgate_store_commits_total{result=\"failed\"} ";
    assert!(!metrics.contains(&format!("{failed}0\n")) && metrics.contains(failed), "{metrics}");
    let state = |n: usize| {
        let query = format!(
            "SELECT coalesce((SELECT state FROM deletions WHERE call = (SELECT call FROM calls WHERE \
             call_id = '{}')), 'none')",
            calls[n].id
        );
        site.value::<String>(&query)
    };
    assert_eq!([state(1), state(2)], ["none", "none"]);
    // Graph answers only now, and that is still written.
    until("what Graph took is settled", async || (state(0) == "sent").then_some(())).await;
    assert!(process.health().await.contains("the disk is full"));
    // What was kept for that is not taken by a copy.
    let (code, said) = disk.run(&site, &["backup", copy(&site).to_str().unwrap()]).await;
    assert!(code == 69 && said.contains("needs for what it owes"), "{code} {said}");
    let (code, said) = disk.run(&site, &["check"]).await;
    assert!(
        code == 0 && said.contains("refuses everything until there is room, 6 MiB"),
        "{code} {said}"
    );

    disk.grow();
    drop(reader);
    has_room(&process).await;
    assert_eq!(fs::metadata(beside(&site, ".reserve")).unwrap().len(), 4 << 20);
    assert_eq!(delete(2).await.code(), 0);
    let (_, said) = disk.run(&site, &["check"]).await;
    assert!(!said.contains("room"), "{said}");
    let log = fs::read_to_string(&process.log).unwrap();
    assert_eq!(log.matches("the disk is full").count(), 1, "{log}");
    assert!(log.contains("nothing is sent until 6 MiB are free beside the database"), "{log}");
    let of_the_store = |line: &&str| {
        let is_failure = line.contains("ERROR") || line.contains("WARN");
        is_failure
            && ["callgate::store", "callgate::journal"].iter().any(|part| line.contains(part))
    };
    assert!(log.lines().filter(of_the_store).count() <= 2, "{log}");
}

fn copy(site: &Site) -> std::path::PathBuf {
    site.folder().join("copy.db")
}

#[tokio::test]
async fn a_start_on_a_full_disk_uses_the_reserve_and_goes_on_by_itself_when_there_is_room() {
    let site = Site::new().await;
    let disk = stopped(&site).await;
    disk.fill();
    let (code, said) = disk.run(&site, &["check"]).await;
    assert!(code == 0 && said.contains("is full: make room"), "{code} {said}");
    let (code, said) = disk.run(&site, &["deletions", "list"]).await;
    assert_eq!(code, 0, "{said}");
    let process = disk.start(&site).await;
    let unready = process.health().await;
    assert!(unready.contains(FULL), "{unready}");
    disk.grow();
    has_room(&process).await;
}

#[tokio::test]
async fn without_a_reserve_a_start_on_a_full_disk_says_to_make_room() {
    let site = Site::new().await;
    let disk = stopped(&site).await;
    for is_there in [true, false] {
        if is_there {
            fs::write(beside(&site, ".reserve"), "").unwrap();
        } else {
            fs::remove_file(beside(&site, ".reserve")).unwrap();
        }
        disk.fill();
        for command in [
            &["serve"][..],
            &["check"],
            &["pause"],
            &["resume"],
            &["keys", "create", "--name", "phones"],
        ] {
            let (code, said) = disk.run(&site, command).await;
            let full = said.contains("is full: make room") && said.contains(", 6 MiB at least");
            assert!(code == 69 && full, "{command:?} {code} {said}");
        }
        // What is only read needs no room.
        for command in [
            &["keys", "list"][..],
            &["users", "list"],
            &["calls", "list"],
            &["deletions", "list"],
            &["migrate", "--check"],
        ] {
            let (code, said) = disk.run(&site, command).await;
            assert_eq!(code, 0, "{command:?} {said}");
        }
    }
    let (code, said) = disk.run(&site, &["backup", copy(&site).to_str().unwrap()]).await;
    assert_eq!(code, 0, "{said}");
    disk.grow();
    is_ready(&disk.start(&site).await).await;
}

#[tokio::test]
async fn where_only_the_reserve_is_missing_check_and_backup_take_no_disk_for_full() {
    let site = Site::new().await;
    fs::create_dir(beside(&site, ".reserve")).unwrap();
    let process = Process::start(&site, &[]).await;
    is_ready(&process).await;
    let health = process.health().await;
    assert!(health.contains("degraded: store.reserve: "), "{health}");
    let check = site.command(&["check"]).output().await.unwrap();
    let said = String::from_utf8(check.stderr).unwrap();
    assert!(check.status.success() && said.contains("no whole"), "{said}");
    assert!(said.contains("/readyz") && !said.contains("refuses"), "{said}");
    site.run(&["backup", copy(&site).to_str().unwrap()]).await;
}

#[tokio::test]
async fn what_only_reads_works_where_nothing_can_be_written_and_the_rest_says_what_must_be() {
    let site = Site::new().await;
    let disk = stopped(&site).await;
    disk.read_only(true);
    let copy = copy(&site);
    for command in [
        &["keys", "list"][..],
        &["deletions", "list"],
        &["migrate", "--check"],
        &["backup", copy.to_str().unwrap()],
    ] {
        let (code, said) = disk.run(&site, command).await;
        assert_eq!(code, 0, "{command:?} {said}");
    }
    for command in [&["pause"][..], &["keys", "create", "--name", "phones"], &["serve"], &["check"]]
    {
        let (code, said) = disk.run(&site, command).await;
        let advice = "cannot be written: file, folder and disk must be writable for the user";
        assert!(code == 69 && said.contains(advice), "{command:?} {code} {said}");
    }
    disk.read_only(false);
    assert_eq!(disk.run(&site, &["pause"]).await.0, 0);
}

#[tokio::test]
async fn a_disk_that_turns_read_only_is_as_a_full_one_and_a_start_on_it_is_refused() {
    let site = Site::with("legacy.wait = \"1ms\"").await;
    let call = site.call("8856").await;
    let disk = SmallDisk::of(&site);
    let process = disk.start(&site).await;
    is_ready(&process).await;
    let query = site.key.query(&format!("callID={}", call.id));
    disk.read_only(true);
    let answer = process.get(&site, &query).await;
    assert_eq!((answer.status, answer.code()), (503, -1));
    let unready = process.health().await;
    assert!(unready.contains("store: the disk cannot be written"), "{unready}");
    assert_eq!(site.value::<i64>("SELECT count(*) FROM deletions"), 0);
    disk.read_only(false);
    is_ready(&process).await;
    assert_eq!(process.get(&site, &query).await.code(), 0);
    process.kill().await;

    disk.read_only(true);
    let (code, said) = disk.run(&site, &["serve"]).await;
    assert_eq!(code, 69, "{said}");
    let end = said.lines().last().unwrap();
    assert!(end.starts_with("callgate: ") && end.contains("cannot be written"), "{said}");
}
