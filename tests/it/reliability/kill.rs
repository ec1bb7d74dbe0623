//! `kill -9` at random moments under load, again and again on the same database.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::ledger::Ledger;
use super::{amount, figure};
use crate::support::{Call, Process, Seeded, Site, all_of, call, until};

/// Requests to Graph at the same time: what may be sent twice for each kill.
const CONCURRENCY: usize = 8;
/// Callers at the same time, more than can be sent at once.
const CALLERS: usize = 12;
/// Calls for each life of the process, more than it has time for.
const CALLS: usize = 150;
/// No process lives longer than this after its start.
const LIFE: usize = 250;
/// Lives on one database.
const LIVES: u64 = 20;

/// What callers were told; kept outside of them, because they end with the process.
type Promised = RefCell<BTreeSet<String>>;

fn told(promised: &Promised) -> BTreeSet<String> {
    promised.borrow().clone()
}

/// Deletes the calls one after the other, until the process is gone.
async fn delete(process: &Process, site: &Site, calls: &[Call], promised: &Promised) {
    for call in calls {
        if ask(process, site, call, promised).await.is_none() {
            return;
        }
    }
}

/// Asks once. Nothing is known when the answer was cut off.
async fn ask(process: &Process, site: &Site, call: &Call, promised: &Promised) -> Option<()> {
    let mut stream = TcpStream::connect(process.legacy).await.ok()?;
    let query = site.key.query(&format!("callID={}", call.id));
    let request =
        format!("GET /verba/api?{query} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    if answer.contains("<Response code=\"0\"") {
        promised.borrow_mut().insert(call.graph_id.clone());
    } else {
        // Cut off in the middle; any other answer is a defect.
        assert!(!answer.contains("<Response "), "{answer}");
    }
    Some(())
}

/// One life: load, until the process is killed at a random moment.
async fn live(site: &Site, calls: &[Call], seeded: &mut Seeded, promised: &Promised) {
    let process = Process::start(site, &["-q"]).await;
    let life = Duration::from_millis(u64::try_from(seeded.below(LIFE)).expect("it is small"));
    let shares = calls.chunks(CALLS.div_ceil(CALLERS));
    let asking = all_of(shares.map(|calls| delete(&process, site, calls, promised)));
    // They ask until the process ends.
    let _cut_off = tokio::time::timeout(life, asking).await;
    process.kill().await;
}

/// A life in which more calls are deleted than the budget, whatever the others came to.
async fn undisturbed(site: &Site) -> BTreeSet<String> {
    let made: Vec<Value> = (0..=CONCURRENCY).map(|_| call("8856", json!({}))).collect();
    let (calls, promised) = (site.calls(&made).await, Promised::default());
    let process = Process::start(site, &["-q"]).await;
    delete(&process, site, &calls, &promised).await;
    site.graph.has_deletes(calls.len()).await;
    process.kill().await;
    promised.into_inner()
}

/// Some lives on one database, and a last one in peace. Gives what must agree then.
async fn lives(seed: u64, lives: u64) -> (Site, Ledger) {
    let settings = format!("legacy.wait = \"30ms\"\ngraph.concurrency = {CONCURRENCY}");
    let site = Site::with(&settings).await;
    let mut seeded = Seeded::new(seed);
    let promised = Promised::default();
    // Graph takes a moment, so that a kill meets requests under way.
    site.graph.fault(json!({"method": "DELETE", "delayMs": 5})).await;
    for life in 1..=lives {
        let made: Vec<Value> = (0..CALLS).map(|_| call("8856", json!({}))).collect();
        let calls = site.calls(&made).await;
        live(&site, &calls, &mut seeded, &promised).await;
        let ledger = Ledger::read(&site, &told(&promised)).await;
        assert_eq!(ledger.lost(), [""; 0], "seed {seed}, life {life}");
        assert_eq!(ledger.unrecorded(), [""; 0], "seed {seed}, life {life}");
        let budget = CONCURRENCY * usize::try_from(life).expect("it is small");
        assert!(ledger.doubled() <= budget, "seed {seed}, life {life}: {}", ledger.doubled());
    }
    let process = Process::start(&site, &["-q"]).await;
    until("nothing is open any more", async || {
        let open: i64 = site.value("SELECT count(*) FROM deletions WHERE state = 'open'");
        (open == 0).then_some(())
    })
    .await;
    process.kill().await;
    let ledger = Ledger::read(&site, &told(&promised)).await;
    (site, ledger)
}

#[tokio::test]
async fn no_kill_loses_a_promise_or_sends_without_a_record() {
    let kills: u64 = amount("RELIABILITY_KILLS", 20);
    let (mut promised, mut received, mut doubled) = (0, 0, 0);
    for seed in 0..kills.div_ceil(LIVES) {
        let (site, ledger) = lives(seed, LIVES.min(kills - seed * LIVES)).await;
        assert_eq!(ledger.lost(), [""; 0], "seed {seed}");
        assert_eq!(ledger.undone(), [""; 0], "seed {seed}");
        assert_eq!(ledger.unrecorded(), [""; 0], "seed {seed}");
        for call in &ledger.promised {
            assert_eq!(site.graph.state(call).await, "terminated", "seed {seed}");
        }
        promised += ledger.promised.len();
        received += ledger.received.values().sum::<usize>();
        doubled += ledger.doubled();
    }
    assert!(promised > 0 && received > 0, "there was no load");
    figure(format_args!(
        "kills: {kills}; promised {promised}, lost 0; sent {received}, without a record 0, twice \
         {doubled}"
    ));
}

#[tokio::test]
async fn a_record_that_comes_after_the_answer_or_the_request_would_be_noticed() {
    let (site, _) = lives(1, 2).await;
    undisturbed(&site).await;
    let graph_id = site.graph.deletes().await.remove(0);
    let promised = BTreeSet::from([graph_id.clone()]);
    let of_it = format!(
        "(SELECT deletion FROM deletions JOIN calls USING (call) WHERE graph_id = '{graph_id}')"
    );
    let before = Ledger::read(&site, &promised).await;
    assert!(before.lost().is_empty() && before.unrecorded().is_empty());
    // As if the process had sent, and had been killed before it noted that.
    site.change(&format!("DELETE FROM attempts WHERE deletion = {of_it}"));
    assert_eq!(Ledger::read(&site, &promised).await.unrecorded(), [graph_id.as_str()]);
    // As if it had answered before it had recorded.
    site.change(&format!("DELETE FROM steps WHERE deletion = {of_it}"));
    site.change(&format!("UPDATE calls SET deleted_by = NULL WHERE graph_id = '{graph_id}'"));
    site.change(&format!("DELETE FROM deletions WHERE deletion = {of_it}"));
    assert_eq!(Ledger::read(&site, &promised).await.lost(), [graph_id.as_str()]);
}

#[tokio::test]
async fn without_the_note_that_it_was_sent_a_call_is_sent_for_again() {
    let (site, _) = lives(2, 1).await;
    let promised = undisturbed(&site).await;
    // As if no attempt were ever settled: the guard against sending twice is the record.
    site.change("UPDATE deletions SET state = 'open', settled_at = NULL");
    site.change("UPDATE steps SET state = 'open', next_attempt_at = 1");
    let process = Process::start(&site, &["-q"]).await;
    until("more are sent twice than the budget", async || {
        let ledger = Ledger::read(&site, &promised).await;
        (ledger.doubled() > CONCURRENCY).then_some(())
    })
    .await;
    process.kill().await;
}
