//! From the start of the program to the first request it takes, with much to find on disk.

use std::fmt::Write as _;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::json;
use tokio::time::Instant;

use super::{amount, figure};
use crate::support::{Process, Site, call, until};

/// Calls that are imported at once.
const IMPORTED: usize = 50_000;

#[tokio::test]
async fn a_start_takes_up_what_is_open_however_much_there_is() {
    let calls = amount("RELIABILITY_CALLS", 2_000);
    let open = amount("RELIABILITY_OPEN", 200);
    // Only scripts/reliability holds the time against a limit, on a quiet machine.
    let limit = amount("RELIABILITY_START_MS", u64::MAX);
    let site = Site::with("legacy.wait = \"1ms\"\nlog.level = \"error\"").await;
    site.graph.fault(json!({"method": "DELETE", "delayMs": 600_000})).await;
    let first = site.call("8856").await;
    for begin in (0..calls).step_by(IMPORTED) {
        site.import(&lines(IMPORTED.min(calls - begin))).await;
    }
    let process = Process::start(&site, &[]).await;
    let answer = process.get(&site, &site.key.query(&format!("callID={}", first.id))).await;
    assert_eq!(answer.code(), 0);
    process.kill().await;
    leave_open(&site.database(), open);
    let recorded: u32 = site.value("SELECT count(*) FROM deletions WHERE state = 'open'");
    assert_eq!(usize::try_from(recorded).expect("a count"), open + 1);
    let before = site.graph.deletes().await.len();

    let began = Instant::now();
    let process = Process::start(&site, &[]).await;
    let probe = async || process.health().await.starts_with("ready").then_some(());
    until("the gateway is ready", probe).await;
    let took = began.elapsed();
    figure(format_args!("start to ready with {calls} calls and {open} open entries: {took:?}"));
    assert!(took <= Duration::from_millis(limit), "{took:?}");
    // It is not only ready: it is at work on what it found.
    site.graph.has_deletes(before + open.min(200)).await;
}

/// So many calls, every other one over.
fn lines(count: usize) -> String {
    let mut lines = String::new();
    for number in 0..count {
        let more =
            if number % 2 == 0 { json!({}) } else { json!({"endedAt": "2026-11-22T05:40:00Z"}) };
        let call = call(&format!("+4930{:07}", number % 10_000_000), more);
        writeln!(lines, "{call}").expect("a String takes every write");
    }
    lines
}

/// Makes of the one deletion that is open so many more, each of another call that runs.
fn leave_open(database: &Connection, count: usize) {
    let columns = |table: &str, but: &[&str]| -> String {
        let mut names = database
            .prepare(&format!("SELECT name FROM pragma_table_info('{table}')"))
            .expect("it is a query");
        let names = names.query_map((), |row| row.get::<_, String>(0)).expect("a name each");
        let names = names.map(|name| name.expect("a name is text"));
        let names: Vec<_> = names.filter(|name| !but.contains(&name.as_str())).collect();
        names.join(", ")
    };
    let deletions = columns("deletions", &["deletion", "deletion_id", "call"]);
    let steps = columns("steps", &["deletion"]);
    let attempts = columns("attempts", &["deletion"]);
    let uuid = "lower(printf('%s-%s-4%s-8%s-%s', hex(randomblob(4)), hex(randomblob(2)), \
        substr(hex(randomblob(2)), 2), substr(hex(randomblob(2)), 2), hex(randomblob(6))))";
    let qualified = |columns: &str| format!("t.{}", columns.replace(", ", ", t."));
    let script = format!(
        "BEGIN;
         INSERT INTO deletions (deletion_id, call, {deletions})
         SELECT {uuid}, c.call, {} FROM deletions AS t, calls AS c
         WHERE c.ended_at IS NULL AND c.call <> t.call LIMIT {count};
         INSERT INTO steps (deletion, {steps}) SELECT d.deletion, {} FROM deletions AS d, steps AS t
         WHERE d.deletion <> t.deletion;
         INSERT INTO attempts (deletion, {attempts}) SELECT d.deletion, {}
         FROM deletions AS d, attempts AS t WHERE d.deletion <> t.deletion;
         COMMIT;",
        qualified(&deletions),
        qualified(&steps),
        qualified(&attempts),
    );
    database.execute_batch(&script).expect("the tables are those of the program");
}
