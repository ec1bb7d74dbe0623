//! Power loss: the disk keeps what was synced, and of the rest what chance has it.
//!
//! One run of the real program under load is noted by `power_loss.c` and played back as often as
//! there are seeds, each to another moment. Whatever a caller was told before that moment, and
//! whatever Graph was sent, must be in what a power cut leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

use super::disk::{Disk, Left, Without, put};
use super::trace::{self, Record, Tracer};
use super::witness::Witness;
use super::{amount, figure};
use crate::support::{Call, Process, Seeded, Site, all_of, call, until};

/// Calls of one story, and those who delete them at the same time.
const CALLS: usize = 120;
const CALLERS: usize = 6;
/// Power cuts of one story at most, so that many seeds see many stories.
const CUTS: usize = 1_000;
/// Power cuts of one story without a guard.
const CONTROLS: u64 = 100;

/// A run of the program, from the empty folder on.
struct Story {
    site: Site,
    trace: Vec<u8>,
    /// When the folder was ready: database, pepper, key, calls.
    ready: usize,
    /// By the position at which the caller had the answer.
    promised: Vec<Promise>,
    /// By the position at which Graph received it.
    sent: Vec<Promise>,
}

/// What must be on disk from a position on.
struct Promise {
    at: usize,
    /// Graph's id of the call.
    call: String,
}

/// What is on disk after a power cut.
struct Found {
    /// Calls with a deletion that is on its way or done.
    recorded: BTreeSet<String>,
    /// Calls with an attempt.
    attempted: BTreeSet<String>,
}

impl Story {
    /// The trace begins with the first command, so nothing is on disk that it does not know.
    async fn tell() -> Self {
        let mut site = Site::with("legacy.wait = \"20ms\"").await;
        for name in std::fs::read_dir(site.folder()).expect("it is a folder") {
            let path = name.expect("it can be read").path();
            if path.to_string_lossy().contains("callgate.db") {
                std::fs::remove_file(path).expect("it is ours");
            }
        }
        let tracer = Tracer::new(site.folder());
        site.environment = tracer.environment();
        site.run(&["migrate"]).await;
        site.key = site.key(&[]).await;
        let made: Vec<Value> = (0..CALLS).map(|_| call("8856", json!({}))).collect();
        let calls = site.calls(&made).await;
        let ready = tracer.position();
        // Some are still under way when the others are done.
        let fault = json!({"method": "DELETE", "delayMs": 60, "times": CALLS / 3});
        site.graph.fault(fault).await;

        let witness = Witness::start(&site.graph.url(), tracer.file()).await;
        let url = format!("http://{}", witness.address);
        let graph = [format!("graph.base_url={url}"), format!("graph.login_url={url}")];
        let process = Process::start(&site, &["--set", &graph[0], "--set", &graph[1]]).await;
        let shares = calls.chunks(CALLS.div_ceil(CALLERS));
        let asking = shares.map(|calls| delete(&process, &site, calls, || tracer.position()));
        let promised = all_of(asking).await.into_iter().flatten().collect();
        site.graph.has_deletes(CALLS).await;
        process.kill().await;
        let sent = witness.seen().into_iter().map(|one| Promise { at: one.at, call: one.graph_id });
        let sent: Vec<_> = sent.collect();
        assert_eq!(sent.len(), site.graph.deletes().await.len(), "the witness has missed some");
        site.environment.clear();
        let trace = std::fs::read(tracer.file()).expect("the trace is there");
        Self { site, trace, ready, promised, sent }
    }

    /// Cuts the power once for each seed, and gives each time what is left to `look`.
    fn cut(
        &self,
        without: Without,
        seeds: &[u64],
        moments: (usize, usize),
        mut look: impl FnMut(u64, usize, &Left),
    ) {
        let records = trace::read(&self.trace);
        let ends: Vec<usize> = records.iter().map(|record| record.end).collect();
        assert_eq!(ends.last(), Some(&self.trace.len()), "the trace was read to its end");
        let first = ends.partition_point(|end| *end < moments.0);
        let last = ends.partition_point(|end| *end < moments.1);
        let mut cuts: BTreeMap<usize, Vec<(u64, Seeded)>> = BTreeMap::new();
        for seed in seeds {
            let mut seeded = Seeded::new(*seed);
            let moment = first + seeded.below(last - first);
            cuts.entry(moment).or_default().push((*seed, seeded));
        }
        let mut disk = Disk::new(without);
        for (number, record) in records.iter().enumerate() {
            disk.ask(record);
            for (seed, mut seeded) in cuts.remove(&number).into_iter().flatten() {
                look(seed, record.end, &disk.cut(&mut seeded));
            }
        }
    }

    /// What was promised and what is recorded, held against each other after each power cut: what
    /// is missing.
    fn missing(&self, without: Without, seeds: &[u64]) -> Vec<String> {
        let mut missing = Vec::new();
        self.cut(without, seeds, (self.ready, self.trace.len()), |seed, at, left| {
            let found = match found(left) {
                Ok(found) => found,
                Err(error) => return missing.push(format!("seed {seed} at {at}: {error}")),
            };
            for promise in self.promised.iter().filter(|promise| promise.at <= at) {
                if !found.recorded.contains(&promise.call) {
                    missing.push(format!("seed {seed} at {at}: promised {}", promise.call));
                }
            }
            for sent in self.sent.iter().filter(|sent| sent.at <= at) {
                if !found.attempted.contains(&sent.call) {
                    missing.push(format!("seed {seed} at {at}: sent {}", sent.call));
                }
            }
        });
        missing
    }
}

/// Deletes one call after the other.
async fn delete(
    process: &Process,
    site: &Site,
    calls: &[Call],
    position: impl Fn() -> usize,
) -> Vec<Promise> {
    let mut client = process.connect(site).await;
    let mut promised = Vec::new();
    for call in calls {
        let query = site.key.query(&format!("callID={}&detail=1", call.id));
        let request = format!("GET /verba/api?{query} HTTP/1.1\r\nHost: a\r\n\r\n");
        let answer = client.ask(request).await;
        let at = position();
        assert_eq!(answer.code(), 0, "{}", answer.body);
        promised.push(Promise { at, call: call.graph_id.clone() });
    }
    promised
}

/// Opens what is left as the program would, and reads it.
fn found(left: &Left) -> Result<Found, String> {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    put(left, folder.path());
    read(folder.path()).map_err(|error| error.to_string())
}

fn read(folder: &Path) -> rusqlite::Result<Found> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
    let database = Connection::open_with_flags(folder.join("callgate.db"), flags)?;
    let calls = |from: &str| -> rusqlite::Result<BTreeSet<String>> {
        let query = format!(
            "SELECT c.graph_id FROM {from} JOIN calls AS c ON c.call = d.call \
             WHERE d.state IN ('open', 'sent', 'confirmed', 'gone')"
        );
        let mut query = database.prepare(&query)?;
        query.query_map((), |row| row.get(0))?.collect()
    };
    let found = Found {
        recorded: calls("deletions AS d")?,
        attempted: calls("attempts AS a JOIN deletions AS d ON d.deletion = a.deletion")?,
    };
    let whole: String = database.query_row("PRAGMA integrity_check", (), |row| row.get(0))?;
    // A deletion is there with its step and its audit record, or not at all.
    let halves: i64 = database.query_row(
        "SELECT count(*) FROM deletions AS d WHERE NOT EXISTS \
         (SELECT 1 FROM steps AS s WHERE s.deletion = d.deletion) OR NOT EXISTS \
         (SELECT 1 FROM audit AS a WHERE instr(CAST(a.canonical AS TEXT), d.deletion_id))",
        (),
        |row| row.get(0),
    )?;
    match (whole.as_str(), halves) {
        ("ok", 0) => Ok(found),
        _ => Err(rusqlite::Error::InvalidParameterName(format!("{whole}, {halves} halves"))),
    }
}

/// Whether the database names a pepper whose file is not there, so that no key is ever recognised.
fn lacks_its_pepper(left: &Left) -> bool {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    put(left, folder.path());
    let Ok(database) = Connection::open(folder.path().join("callgate.db")) else { return false };
    let named = database.query_row("SELECT count(*) FROM peppers", (), |row| row.get::<_, i64>(0));
    named.is_ok_and(|named| named > 0) && !left.contains_key("callgate.db.pepper")
}

#[tokio::test]
async fn no_power_cut_loses_what_was_promised_or_sent_and_no_guard_is_one_too_many() {
    let seeds: u64 = amount("RELIABILITY_POWER_CUTS", 200);
    let seeds: Vec<u64> = (0..seeds).collect();
    for seeds in seeds.chunks(CUTS) {
        let story = Story::tell().await;
        assert_eq!(story.missing(Without::Nothing, seeds), Vec::<String>::new());
        // The same story on a disk without one of the guards.
        let few: Vec<u64> = (0..CONTROLS).collect();
        for without in
            [Without::SyncsOfCommits, Without::SyncsOfTheDatabase, Without::SyncsOfTheFolder]
        {
            let missing = story.missing(without, &few);
            let lost = missing.iter().filter_map(|line| line.split(" at ").next());
            let lost = lost.collect::<BTreeSet<_>>().len();
            figure(format_args!("power cuts {without:?}: {lost} of {CONTROLS} lose something"));
            assert!(!missing.is_empty(), "{without:?} is not missed");
        }
    }
    figure(format_args!(
        "power cuts: {}, nothing lost, nothing sent without a record",
        seeds.len()
    ));
}

#[tokio::test]
async fn a_power_cut_while_the_database_is_made_leaves_what_can_be_begun_again() {
    let cuts: u64 = amount("RELIABILITY_POWER_CUTS", 200) / 10;
    let story = Story::tell().await;
    let mut left = Vec::new();
    let seeds: Vec<u64> = (0..cuts).collect();
    story.cut(Without::Nothing, &seeds, (0, story.ready), |seed, at, found| {
        left.push((seed, at, found.clone()));
    });
    // The same on a disk that forgets names shows what the program is spared.
    let mut orphans = 0;
    let many: Vec<u64> = (0..200).collect();
    story.cut(Without::SyncsOfTheFolder, &many, (0, story.ready), |_, _, found| {
        orphans += usize::from(lacks_its_pepper(found));
    });
    assert!(orphans > 0, "the sync of the folder is not missed");
    for (seed, at, left) in left {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        put(&left, folder.path());
        let url = format!("store.url=sqlite:{}", folder.path().join("callgate.db").display());
        let names: Vec<_> = left.keys().collect();
        for arguments in [&["migrate"][..], &["keys", "create", "--name", "phones"][..]] {
            let arguments = [arguments, &["--set", &url]].concat();
            let output = story.site.command(&arguments).output().await.expect("it is built");
            let talk = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "seed {seed} at {at}, {names:?}: {talk}");
        }
    }
}

#[tokio::test]
async fn the_program_finishes_after_a_power_cut_what_it_had_promised() {
    let cuts: u64 = amount("RELIABILITY_POWER_CUTS", 200) / 50;
    let story = Story::tell().await;
    let mut left = Vec::new();
    let seeds: Vec<u64> = (0..cuts).collect();
    story.cut(Without::Nothing, &seeds, (story.ready, story.trace.len()), |_, at, found| {
        left.push((at, found.clone()));
    });
    for (at, left) in left {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        put(&left, folder.path());
        let url = format!("store.url=sqlite:{}", folder.path().join("callgate.db").display());
        let process = Process::start(&story.site, &["--set", &url]).await;
        until("nothing is open any more", async || {
            let database = Connection::open(folder.path().join("callgate.db")).ok()?;
            let open = "SELECT count(*) FROM deletions WHERE state = 'open'";
            let open: i64 = database.query_row(open, (), |row| row.get(0)).ok()?;
            (open == 0).then_some(())
        })
        .await;
        process.kill().await;
        let found = read(folder.path()).expect("the database is whole");
        for promise in story.promised.iter().filter(|promise| promise.at <= at) {
            assert!(found.recorded.contains(&promise.call), "at {at}: {}", promise.call);
            assert_eq!(story.site.graph.state(&promise.call).await, "terminated");
        }
    }
}

#[test]
fn the_records_are_played_back_as_they_were_asked() {
    use super::trace::Asked;

    let record = |file, what| Record { end: 0, thread: 1, file, what };
    let write = |offset, bytes| Asked::Write { offset, bytes };
    let mut disk = Disk::new(Without::Nothing);
    for record in [
        record(7, Asked::Make("callgate.db")),
        record(7, write(0, b"synced")),
        record(7, Asked::Sync),
        record(1, Asked::SyncFolder("7 callgate.db\n9 other\n")),
        record(7, write(6, b" or not")),
        record(8, Asked::Make("callgate.db-wal")),
        record(8, write(0, b"lost")),
    ] {
        disk.ask(&record);
    }
    let left: BTreeSet<Left> = (0..200).map(|seed| disk.cut(&mut Seeded::new(seed))).collect();
    for left in &left {
        assert!(left["callgate.db"].starts_with(b"synced"), "{left:?}");
    }
    let has = |name: &str, content: &[u8]| {
        left.iter().any(|left| left.get(name).is_some_and(|found| found == content))
    };
    assert!(has("callgate.db", b"synced") && has("callgate.db", b"synced or not"));
    assert!(has("callgate.db-wal", b"") && has("callgate.db-wal", b"lost"));
    assert!(left.iter().any(|left| !left.contains_key("callgate.db-wal")));
}
