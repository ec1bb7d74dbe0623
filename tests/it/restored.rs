//! Where the database was, another one is or none: what was restored, twice, and what is gone.

use std::fs;
use std::path::PathBuf;

use crate::support::{Process, Site, soon, until};

/// The exit code and the words of a command.
async fn said(site: &Site, arguments: &[&str]) -> (Option<i32>, String) {
    let output = soon("the end of a command", site.command(arguments).output()).await;
    let output = output.expect("the binary was built");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).expect("text"))
}

fn beside(site: &Site, ending: &str) -> PathBuf {
    site.folder().join(format!("callgate.db{ending}"))
}

/// As the documentation says: the old log is removed, and nothing else.
fn restore(site: &Site, backup: &str) {
    for ending in ["-wal", "-shm"] {
        let _ = fs::remove_file(beside(site, ending));
    }
    fs::copy(site.folder().join(backup), beside(site, "")).expect("there is room");
}

#[tokio::test]
async fn the_same_backup_can_be_restored_twice() {
    let site = Site::new().await;
    let backup = site.folder().join("backup.db");
    site.run(&["backup", backup.to_str().expect("a path is text")]).await;
    for _ in 0..3 {
        restore(&site, "backup.db");
        let process = Process::start(&site, &[]).await;
        assert!(process.readiness().await.contains("paused"));
        // So that the one that is restored next lacks something.
        site.key(&[]).await;
        process.kill().await;
    }
}

#[tokio::test]
async fn an_older_copy_is_taken_for_a_loss_until_its_mark_is_removed() {
    let site = Site::new().await;
    let copy = site.folder().join("copy.db");
    site.database().execute("VACUUM INTO ?1", [copy.to_str()]).expect("it is copied");
    site.key(&[]).await;
    restore(&site, "copy.db");
    let (code, text) = said(&site, &["check"]).await;
    assert_eq!(code, Some(74), "{text}");
    for part in ["callgate.db.mark", "callgate pause", "--accept-lost-wal"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    fs::remove_file(beside(&site, ".mark")).expect("there is one");
    site.run(&["pause", "--reason", "restored"]).await;
    let process = Process::start(&site, &[]).await;
    assert!(process.readiness().await.contains("paused"));
}

#[tokio::test]
async fn every_command_says_that_a_database_is_gone_and_none_makes_another() {
    let site = Site::new().await;
    let backup = site.folder().join("backup.db");
    let backup = backup.to_str().expect("a path is text");
    fs::rename(beside(&site, ""), site.folder().join("moved.db")).expect("it is there");
    let commands: [&[&str]; 6] = [
        &["check"],
        &["serve"],
        &["migrate"],
        &["keys", "list"],
        &["deletions", "list"],
        &["backup", backup],
    ];
    for command in commands {
        let (code, text) = said(&site, command).await;
        assert_eq!(code, Some(74), "{command:?}: {text}");
        let advice = "but there was one: stop `callgate serve` if it still runs; put it back";
        assert!(text.contains(advice), "{command:?}: {text}");
        assert!(!beside(&site, "").exists(), "{command:?}");
    }
}

#[tokio::test]
async fn a_mark_that_cannot_be_read_is_not_taken_for_none() {
    let site = Site::new().await;
    fs::remove_file(beside(&site, ".mark")).expect("there is one");
    fs::create_dir(beside(&site, ".mark")).expect("it can be made");
    let (code, text) = said(&site, &["check"]).await;
    assert_eq!(code, Some(69), "{text}");
    assert!(text.contains("callgate.db.mark"), "{text}");
}

#[tokio::test]
async fn a_mark_that_is_none_is_said() {
    let site = Site::new().await;
    fs::write(beside(&site, ".mark"), "something else\n").expect("it can be written");
    let (code, text) = said(&site, &["keys", "list"]).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("callgate.db.mark is no mark"), "{text}");
}

#[tokio::test]
async fn once_the_database_is_moved_away_nothing_is_promised_any_more() {
    for ending in ["", "-wal"] {
        let site = Site::new().await;
        let call = site.call("8856").await;
        let process = Process::start(&site, &[]).await;
        process.readiness().await;
        fs::rename(beside(&site, ending), site.folder().join("moved")).expect("it is there");
        let is_shown = async || {
            process.health().await.contains("store: the database was moved away: stop, put back")
        };
        let shown = async || is_shown().await.then_some(());
        until("it is noticed", shown).await;
        let answer = process.get(&site, &site.key.query(&format!("callID={}", call.id))).await;
        assert_eq!((answer.status, answer.code()), (503, -1), "{ending}");
        process.kill().await;
        // What is put back is whole.
        fs::rename(site.folder().join("moved"), beside(&site, ending)).expect("it can be moved");
        let process = Process::start(&site, &[]).await;
        let answer = process.get(&site, &site.key.query(&format!("callID={}", call.id))).await;
        assert_eq!(answer.code(), 0, "{ending}");
    }
}
