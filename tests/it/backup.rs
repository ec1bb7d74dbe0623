//! Backups of a database that is used, and what is served from one.

#![expect(clippy::unwrap_used, reason = "a helper that panics fails its test")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Process, Site, call, soon, until};

/// Longer than the gateway may take to send what is due.
const NOTICED: Duration = Duration::from_millis(1200);

impl Site {
    async fn output(&self, arguments: &[&str]) -> Output {
        soon("a command", self.command(arguments).output()).await.unwrap()
    }

    fn copy(&self) -> PathBuf {
        self.folder().join("copy.db")
    }

    /// Makes a backup at [`Site::copy`]; gives what was said.
    async fn back_up(&self) -> String {
        let output = self.output(&["backup", self.copy().to_str().unwrap()]).await;
        let talk = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{talk}");
        talk
    }

    /// The exit code of `backup verify`, and all that it says.
    async fn verify(&self, file: &str) -> (i32, String) {
        let path = self.folder().join(file);
        let output = self.output(&["backup", "verify", path.to_str().unwrap()]).await;
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(text).unwrap())
    }

    /// The names of the files beside the database, sorted.
    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

#[tokio::test]
async fn a_backup_under_load_is_whole_and_is_served_paused_until_it_is_resumed() {
    let site = Site::with("legacy.wait = \"1ms\"").await;
    site.graph.fault(json!({"method": "DELETE", "status": 503})).await;
    let made: Vec<_> = (0..40).map(|n| call(&format!("{}", 1000 + n), json!({}))).collect();
    let calls = site.calls(&made).await;
    let process = Process::start(&site, &[]).await;
    let asking = async {
        for call in &calls {
            let query = site.key.query(&format!("callID={}&detail=1", call.id));
            assert_eq!(process.get(&site, &query).await.code(), 0);
        }
    };
    let copying = async {
        site.graph.has_deletes(5).await;
        site.back_up().await
    };
    let ((), said) = tokio::join!(asking, copying);
    let fingerprint: String = site.value("SELECT fingerprint FROM peppers");
    assert!(said.contains(&format!("only with the pepper {fingerprint}, which is in ")), "{said}");
    assert!(said.contains("sends nothing before `callgate resume`"), "{said}");
    let permissions = fs::metadata(site.copy()).unwrap().permissions();
    assert_eq!(permissions.mode() & 0o777, 0o600);
    let (code, text) = site.verify("copy.db").await;
    assert_eq!(code, 0, "{text}");
    for line in [
        &*format!("pepper          {fingerprint}"),
        "sealed          yes",
        "starts paused   yes",
        "keys            1",
        "calls           40",
        "holds           0",
        "nothing is wrong with it",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    process.kill().await;
    site.graph.heal().await;

    let url = format!("store.url=sqlite:{}", site.copy().display());
    let pepper =
        format!("store.pepper_file={}", site.folder().join("callgate.db.pepper").display());
    let of_copy = ["--set", &url, "--set", &pepper];
    let check = site.output(&[&["check"][..], &of_copy].concat()).await;
    let check = String::from_utf8(check.stderr).unwrap();
    assert!(
        check.contains("warning: nothing is sent for any tenant: paused by callgate backup"),
        "{check}"
    );
    let process = Process::start(&site, &of_copy).await;
    let before = site.graph.deletes().await.len();
    let ready = process.readiness().await;
    let degraded =
        "degraded: paused: restored from a backup: nothing is sent before `callgate resume`\n";
    assert!(ready.contains(degraded), "{ready}");
    let log = fs::read_to_string(&process.log).unwrap();
    assert!(log.contains("it revives revoked keys and knows nothing of newer holds"), "{log}");
    tokio::time::sleep(NOTICED * 2).await;
    assert_eq!(site.graph.deletes().await.len(), before, "the copy sent something");
    let resumed = site.output(&[&["resume"][..], &of_copy].concat()).await;
    assert!(resumed.status.success(), "{resumed:?}");
    site.graph.has_deletes(before + 1).await;
    let ended = async || {
        let query = "SELECT count(*) FROM deletions WHERE state = 'open'";
        let copy = rusqlite::Connection::open(site.copy()).unwrap();
        let open: i64 = copy.query_row(query, (), |row| row.get(0)).unwrap();
        (open == 0).then_some(())
    };
    until("what was open in the copy is sent", ended).await;
    // The original knows nothing of it.
    assert_eq!(site.value::<i64>("SELECT count(*) FROM paused"), 0);
}

#[tokio::test]
async fn what_is_in_a_backup_is_told_as_json_and_of_a_damaged_one_nothing() {
    let site = Site::new().await;
    site.call("8856").await;
    site.back_up().await;
    let path = site.copy();
    let verify = ["backup", "verify", "--json", path.to_str().unwrap()];
    let output = site.output(&verify).await;
    assert!(output.status.success(), "{output:?}");
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let version: u32 = site.value("SELECT max(version) FROM refinery_schema_history");
    let expected = json!({
        "madeAt": told["madeAt"],
        "schemaVersion": version,
        "peppers": [site.value::<String>("SELECT fingerprint FROM peppers")],
        "sealed": true,
        "startsPaused": true,
        "keys": 1,
        "calls": 1,
        "deletions": 0,
        "openDeletions": 0,
        "holds": 0,
        "auditRecords": site.value::<i64>("SELECT count(*) FROM audit"),
    });
    assert_eq!(told, expected);
    let made_at = told["madeAt"].as_str().unwrap();
    assert!(made_at.starts_with("20") && made_at.ends_with('Z'), "{made_at}");

    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 4096]).unwrap();
    let output = site.output(&verify).await;
    assert_eq!((output.status.code(), output.stdout), (Some(74), Vec::new()));
    assert!(String::from_utf8(output.stderr).unwrap().contains("the backup is damaged"));
}

#[tokio::test]
async fn a_backup_that_is_killed_leaves_no_file_of_its_name() {
    let site = Site::new().await;
    site.database()
        .execute_batch(
            "INSERT INTO tenants (tenant_id, created_at) VALUES ('big', 0); \
             WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 20000) \
             INSERT INTO calls (tenant, call_id, graph_id, state, subject, first_seen_at, \
             last_seen_at) SELECT (SELECT max(tenant) FROM tenants), n, n, 'terminated', \
             hex(randomblob(2000)), 0, 0 FROM n",
        )
        .unwrap();
    let partial = || site.files().into_iter().find(|name| name.ends_with(".partial"));
    for _ in 0..10 {
        let mut child = site.command(&["backup", site.copy().to_str().unwrap()]).spawn().unwrap();
        let begun = async || {
            let file = site.folder().join(partial()?);
            (fs::metadata(file).ok()?.len() > 0).then_some(())
        };
        until("the copy has begun", begun).await;
        child.start_kill().unwrap();
        let ended = soon("the end", child.wait()).await.unwrap();
        if ended.signal().is_some() {
            assert!(!site.copy().exists());
            let left = partial().unwrap();
            assert!(left.starts_with(".copy.db."), "{left}");
            // What is left is in nobody's way.
            site.back_up().await;
            assert_eq!(site.verify("copy.db").await.0, 0);
            return;
        }
        fs::remove_file(site.copy()).unwrap();
    }
    panic!("the copy was always faster than the kill");
}

#[tokio::test]
async fn a_flipped_byte_is_found_wherever_it_is() {
    let site = Site::new().await;
    site.call("8856").await;
    site.back_up().await;
    let whole = fs::read(site.copy()).unwrap();
    let place = |n: usize| n * 7919 % whole.len();
    for at in (0..40).map(place).chain([0, 16, 100, whole.len() - 1]) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        fs::write(site.folder().join("flipped.db"), bytes).unwrap();
        let (code, text) = site.verify("flipped.db").await;
        // What makes it no SQLite file is told as that.
        assert!(code == 74 || (code == 65 && at < 4096), "byte {at}: {code} {text}");
    }
    fs::write(site.folder().join("short.db"), &whole[..whole.len() - 4096]).unwrap();
    let (code, text) = site.verify("short.db").await;
    assert!(code == 74 && text.ends_with("; take another one\n"), "{text}");
    assert!(!text.contains("restore"), "{text}");
    assert_eq!(site.verify("copy.db").await.0, 0);
}

#[tokio::test]
async fn an_audit_record_that_was_changed_or_removed_before_the_backup_is_found() {
    for change in [
        "UPDATE audit SET personal = '{}' WHERE position = 2",
        "UPDATE audit SET canonical = CAST(replace(canonical, 'allowed', 'refused') AS BLOB) \
         WHERE position = 2",
        "DELETE FROM audit WHERE position = 1",
    ] {
        let site = Site::new().await;
        site.call("8856").await;
        site.change(change);
        site.back_up().await;
        let (code, text) = site.verify("copy.db").await;
        assert_eq!(code, 74, "{change}: {text}");
        assert!(text.contains("record 2 of the audit chain"), "{change}: {text}");
    }
}

#[tokio::test]
async fn a_copy_that_was_used_has_no_seal_any_more_and_still_says_what_it_is() {
    let site = Site::new().await;
    site.back_up().await;
    let url = format!("store.url=sqlite:{}", site.copy().display());
    let pepper =
        format!("store.pepper_file={}", site.folder().join("callgate.db.pepper").display());
    site.run(&["keys", "list", "--set", &url, "--set", &pepper]).await;
    let (code, text) = site.verify("copy.db").await;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("sealed          no") && text.contains("starts paused   yes"), "{text}");
    // A backup of a backup is paused by both.
    site.run(&["backup", site.folder().join("second.db").to_str().unwrap(), "--set", &url]).await;
    let (code, text) = site.verify("second.db").await;
    assert!(code == 0 && text.contains("sealed          yes"), "{text}");
}

#[tokio::test]
async fn what_is_no_backup_is_refused_and_nothing_is_overwritten() {
    let site = Site::new().await;
    let write = |name: &str, bytes: &[u8]| fs::write(site.folder().join(name), bytes).unwrap();
    write("diary.db", &b"Dear diary".repeat(20));
    write("empty.db", b"");
    let other = rusqlite::Connection::open(site.folder().join("other.db")).unwrap();
    other.execute_batch("CREATE TABLE t (n)").unwrap();
    drop(other);
    for (name, expected) in
        [("diary.db", 65), ("empty.db", 65), ("other.db", 65), (".", 65), ("missing.db", 69)]
    {
        let (code, text) = site.verify(name).await;
        assert_eq!(code, expected, "{name}: {text}");
    }
    // A commit that was not finished is rolled back from the journal beside it, which changes it.
    site.back_up().await;
    write("copy.db-journal", b"what was there before");
    assert_eq!(site.verify("copy.db").await.0, 65);
    for name in ["copy.db-journal", "copy.db"] {
        fs::remove_file(site.folder().join(name)).unwrap();
    }
    // One that is in use.
    let busy = site.database();
    busy.execute_batch("UPDATE access_generation SET generation = generation + 1").unwrap();
    assert_eq!(site.verify("callgate.db").await.0, 65);

    let before = site.files();
    let cases = [
        ("diary.db", 65, "exists already"),
        ("callgate.db", 65, "exists already"),
        ("nowhere/copy.db", 69, "/nowhere, make it"),
    ];
    for (file, code, part) in cases {
        let path = site.folder().join(file);
        let output = site.output(&["backup", path.to_str().unwrap()]).await;
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(code) && said.contains(part), "{file}: {said}");
    }
    assert_eq!(site.output(&["backup"]).await.status.code(), Some(64));
    assert_eq!(fs::read(site.folder().join("diary.db")).unwrap(), b"Dear diary".repeat(20));
    assert_eq!(site.files(), before);
}

#[tokio::test]
async fn a_schema_of_before_is_copied_with_a_warning_and_one_of_later_is_left_to_a_newer_program() {
    let site = Site::new().await;
    site.database()
        .execute_batch(
            "DROP TABLE paused; DROP TABLE backup_seal; UPDATE schema_tolerance SET \
             oldest_program = 5; DELETE FROM refinery_schema_history WHERE version > 5",
        )
        .unwrap();
    let said = site.back_up().await;
    assert!(said.contains("warning: its schema is too old to say that it is to start"), "{said}");
    let (code, text) = site.verify("copy.db").await;
    assert_eq!(code, 0, "{text}");
    let warning = "what is served from it would start sending: `callgate pause` first";
    for line in ["schema version  5", "sealed          no", "starts paused   no", warning] {
        assert!(text.contains(line), "{line} in {text}");
    }
    let copy = rusqlite::Connection::open(site.copy()).unwrap();
    copy.execute_batch("UPDATE schema_tolerance SET oldest_program = 99").unwrap();
    drop(copy);
    assert_eq!(site.verify("copy.db").await.0, 78);
}
