//! Histories of two tenants whose calls ring, run, are group calls, or begin only later, while everything that
//! can meet a deletion meets it in any order.
//!
//! Users ask, repeat themselves, go away and withdraw; operators hold, pause, retry, cancel and revoke; news
//! come late, twice and out of order; Graph throttles, refuses, fails and loses answers; the clock is set;
//! leases lapse, processes stop, the database is opened anew. Graph, the people and the time are those of
//! `simulation/graph.rs`, which knows the truth; what is demanded of every step is in
//! `simulation/checks.rs`. A history depends on its seed and on nothing else: `RELIABILITY_SEED=n` tells one
//! alone, with all that happens in it.

mod checks;
mod disk;
mod graph;
mod operator;
mod sender;
mod user;

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Write};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use rusqlite::types::FromSql;
use rusqlite::{Connection, Params};

use self::disk::Disk;
use self::graph::Line;
use self::operator::Hold;
use self::sender::{Kept, Request, Worker};
use self::user::{Asked, Wanted};
use super::model_test::Dice;
use super::sender as store;
use crate::clock::{Clock, Timestamp};
use crate::id::ProcessId;
use crate::model::change::CallChange;
use crate::model::key::ApiKey;
use crate::store::admission::{Claim, StepRef};
use crate::store::fixture::{NOW, asked_for};

/// How many histories are told, when the environment does not say, and how much happens in each.
const SEEDS: u64 = 1_000;
const EVENTS: usize = 70;
const SECOND: Duration = Duration::from_secs(1);
/// Our app.
const OURS: &str = "2891555a-92ff-42e6-80fa-6e1300c6b5c6";
/// What the histories are told for: each is met often enough to mean something.
const MET: &str = "abandoned, another process, cancelled, clock, clock while stopped, confirmed, \
    everybody, failed, fired, gone, held, invited, joined, joined an armed one, \
    late settlement, lied, not decided: access changed, obsolete, opened anew, paused, \
    refused, rejected, removed, resumed, retried, revoked, server error, shut out, \
    superseded, tenant fault, throttled, unknown, withdrawn";

#[test]
fn under_any_order_of_events_only_what_was_asked_for_is_sent_and_everything_comes_to_an_end() {
    let one: Option<u64> = asked_for("RELIABILITY_SEED");
    let seeds = one.map_or(0..asked_for("RELIABILITY_SEEDS").unwrap_or(SEEDS), |n| n..n + 1);
    let (met, _) = tell(seeds, Forgets::Nothing);
    if one.is_some() {
        return;
    }
    let rarely: Vec<_> =
        MET.split(", ").filter(|what| met.get(what).is_none_or(|n| *n < 5)).collect();
    assert!(rarely.is_empty(), "{rarely:?} of {met:?}");
}

#[test]
fn a_history_is_the_same_each_time_it_is_told() {
    for seed in [3, 500, 90_000] {
        let tell = || tell(seed..seed + 1, Forgets::Nothing).1;
        assert_eq!(tell(), tell(), "seed {seed}");
    }
}

/// What is missing, on purpose, so that it is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Forgets {
    Nothing,
    /// Done before every look of the sender, `:now` being the time.
    By(&'static str),
    /// Done before operators intervene, and undone when they have.
    BeforeRetries(&'static str),
    /// Who settles has the newest lease, whichever it was given.
    TheFence,
}

macro_rules! noticed {
    ($($name:ident, $as:literal, $forgets:expr;)*) => {
        $(#[test]
        #[should_panic(expected = $as)]
        fn $name() {
            tell(0..SEEDS, $forgets);
        })*
    };
}

noticed! {
    it_is_noticed_when_it_is_forgotten_that_an_attempt_may_have_had_its_effect, "although it is done",
        Forgets::By("UPDATE attempts SET effect_possible = 0 WHERE EXISTS (SELECT 1 FROM steps AS s \
             WHERE s.deletion = attempts.deletion AND s.operation = 'invite')");
    it_is_noticed_when_attempts_are_not_recorded, "sent without a record",
        Forgets::By("DELETE FROM attempts");
    it_is_noticed_when_holds_are_ignored, "although it is held",
        Forgets::By("UPDATE holds SET lifted_at = 1");
    it_is_noticed_when_pauses_are_ignored, "although it is paused",
        Forgets::By(
            "DELETE FROM paused; UPDATE tenants SET paused_at = NULL; UPDATE steps \
             SET next_attempt_at = parked, parked = NULL WHERE parked IS NOT NULL",
        );
    it_is_noticed_when_retry_after_is_ignored, "before Retry-After",
        Forgets::By(
            "UPDATE steps SET next_attempt_at = 0 WHERE state = 'open' AND lease_owner IS NULL \
             AND parked IS NULL; UPDATE attempts SET not_before = NULL",
        );
    it_is_noticed_when_it_is_forgotten_what_graph_asked_for, "asked anew before Retry-After",
        Forgets::By("UPDATE attempts SET not_before = NULL");
    it_is_noticed_when_the_fence_is_ignored, "settled without its lease", Forgets::TheFence;
    it_is_noticed_when_what_graph_confirmed_is_tried_again, "retried although Graph accepted it",
        Forgets::BeforeRetries(
            "UPDATE OR IGNORE deletions SET state = 'failed' WHERE state IN ('sent', 'confirmed', 'gone'); \
             UPDATE attempts SET status = NULL, effect_possible = 0 WHERE status BETWEEN 200 AND 299",
        );
    it_is_noticed_when_what_was_cancelled_begins, "after it was stopped",
        Forgets::By(
            "UPDATE OR IGNORE deletions SET state = 'open' WHERE state = 'cancelled' AND call IS NOT NULL; \
             UPDATE steps SET state = 'open', next_attempt_at = 0 WHERE state = 'cancelled' \
             AND deletion IN (SELECT deletion FROM deletions WHERE state = 'open')",
        );
    it_is_noticed_when_what_is_armed_stays_so, "fired outside its time",
        Forgets::By(
            "UPDATE deletions SET deadline_at = min(:now + 60000, created_at + 600000) \
             WHERE state = 'armed'",
        );
    it_is_noticed_when_success_is_told_too_early, "a false success",
        Forgets::By(
            "UPDATE deletions SET state = 'sent' WHERE state = 'open' AND kind = 'DeleteCall' \
             AND deletion % 7 = 0; UPDATE steps SET state = 'sent' WHERE deletion IN \
             (SELECT deletion FROM deletions WHERE state = 'sent')",
        );
}

/// Tells these histories; gives how often things were met, and what happened in the last one.
fn tell(seeds: Range<u64>, forgets: Forgets) -> (BTreeMap<&'static str, usize>, String) {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::new(&folder);
    let (mut met, mut told, mut connection) = (BTreeMap::new(), String::new(), disk.open());
    for seed in seeds {
        let mut world = World::begin(&disk, connection, seed, forgets);
        // Whatever fails, inside the store as well, is told with what led to it.
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| world.live())) {
            let why =
                panic.downcast_ref::<String>().map_or("a panic without words", String::as_str);
            panic!("{why}\n{}RELIABILITY_SEED={seed} tells this again", world.told);
        }
        for what in std::mem::take(&mut world.met).into_keys() {
            *met.entry(what).or_insert(0) += 1;
        }
        told = std::mem::take(&mut world.told);
        connection = world.leave();
    }
    (met, told)
}

/// One history.
struct World<'d> {
    disk: &'d Disk,
    connection: Option<Connection>,
    was_opened_anew: bool,
    seed: u64,
    dice: Dice,
    forgets: Forgets,
    told: String,
    met: BTreeMap<&'static str, usize>,
    clock: Clock,
    /// Milliseconds that have passed, whatever the clock says.
    passed: i64,
    clock_set_at: i64,
    clock_set_while_stopped_at: i64,
    events: usize,
    process: ProcessId,
    lines: Vec<Line>,
    /// What Graph has told, and did not arrive yet.
    news: Vec<(usize, CallChange)>,
    people: usize,
    wanted: Vec<Wanted>,
    asked: Vec<Asked>,
    claims: Vec<Claim>,
    /// As they are at the beginning, and their generation.
    keys: Vec<ApiKey>,
    generation: i64,
    revoked: [bool; 4],
    holds: Vec<Hold>,
    /// Of the tenants, and of all.
    paused: [bool; 3],
    /// Until when nothing is sent for a tenant, because it had a fault.
    closed: [i64; 2],
    /// What Graph asked not to be asked again for a while.
    kept: HashMap<Request, Kept>,
    held: Vec<Worker>,
    flying: Vec<(Worker, graph::Answer)>,
    /// Those whose lease lapsed or was voided; their answers may still come.
    lost: Vec<(Worker, Option<graph::Answer>)>,
    /// The newest lease of each step.
    fences: HashMap<StepRef, i64>,
    records: usize,
    is_calm: bool,
}

impl<'d> World<'d> {
    fn begin(disk: &'d Disk, connection: Connection, seed: u64, forgets: Forgets) -> Self {
        connection.execute_batch("BEGIN").unwrap();
        let keys =
            (1..=4).map(|row| super::keys::key(&connection, row).unwrap().unwrap()).collect();
        let clock = Clock::manual(NOW);
        let mut world = Self {
            disk,
            connection: Some(connection),
            was_opened_anew: false,
            seed,
            dice: Dice::new(seed),
            forgets,
            told: String::new(),
            met: BTreeMap::new(),
            clock,
            passed: 0,
            clock_set_at: -1,
            clock_set_while_stopped_at: -1,
            events: 0,
            process: ProcessId::random(),
            lines: Vec::new(),
            news: Vec::new(),
            people: 0,
            wanted: Vec::new(),
            asked: Vec::new(),
            claims: Vec::new(),
            keys,
            generation: 0,
            revoked: [false; 4],
            holds: Vec::new(),
            paused: [false; 3],
            closed: [0; 2],
            kept: HashMap::new(),
            held: Vec::new(),
            flying: Vec::new(),
            lost: Vec::new(),
            fences: HashMap::new(),
            records: 0,
            is_calm: false,
        };
        world.generation = world.generation_now();
        store::take_over(world.connection(), world.process, world.clock.moment()).unwrap();
        world.make_calls();
        world
    }

    fn connection(&self) -> &Connection {
        self.connection.as_ref().expect("it is open between two histories only")
    }

    fn count(&self, sql: &str) -> i64 {
        self.one(sql, ())
    }

    /// The one value that `sql` gives.
    fn one<T: FromSql>(&self, sql: &str, values: impl Params) -> T {
        let mut statement = self.connection().prepare_cached(sql).unwrap();
        statement.query_row(values, |row| row.get(0)).unwrap()
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Writes down what happens, in words that are the same each time.
    fn note(&mut self, what: fmt::Arguments<'_>) {
        writeln!(self.told, "{:>9} {what}", self.passed).expect("a text takes everything");
    }

    fn meet(&mut self, what: &'static str) {
        *self.met.entry(what).or_insert(0) += 1;
        self.note(format_args!("{what}"));
    }

    /// Those who ask, those in the calls, the operators, the clock, the news, or the process.
    fn something_happens(&mut self) {
        self.events += 1;
        match self.dice.roll(28) {
            0..=7 => self.somebody_asks(),
            8..=10 => self.life_goes_on(),
            11..=16 => self.news_arrive(),
            17 | 18 => self.time_passes(),
            19 => self.an_operator_holds_or_pauses(),
            20 | 21 => self.an_operator_intervenes(),
            22 | 23 => self.a_caller_goes_away(),
            24 => self.graph_is_asked(),
            25 => self.somebody_settles_late(),
            26 => self.what_is_held_is_lifted(),
            _ => match self.dice.roll(9) {
                0 | 1 => self.the_process_stops(),
                2 | 3 => self.leases_lapse(),
                4 if self.dice.one_in(2) => self.the_database_is_opened_anew(),
                5 | 6 => self.a_key_is_revoked(),
                _ => drop(self.set_clock()),
            },
        }
    }

    fn time_passes(&mut self) {
        let seconds = [0, 1, 2, 3, 7, 20, 70][self.dice.roll(7)];
        self.pass(SECOND * seconds);
    }

    /// Time passes by every clock, and calls that nobody answers end.
    fn pass(&mut self, by: Duration) {
        self.clock.advance(by);
        self.passed += i64::try_from(by.as_millis()).unwrap();
        self.ringing_stops();
    }

    /// Somebody sets the clock, which is noticed when the store is asked next what is due.
    fn set_clock(&mut self) -> i64 {
        let by = [1_000, 3_600_000, 30 * 86_400_000][self.dice.roll(3)];
        let by = if self.dice.one_in(2) { by } else { -by };
        self.clock.set(by);
        self.clock_set_at = self.passed;
        self.note(format_args!("the clock is set by {by} ms"));
        self.meet("clock");
        by
    }

    fn the_database_is_opened_anew(&mut self) {
        self.connection().execute_batch("COMMIT").unwrap();
        self.connection = None;
        let connection = self.disk.open();
        connection.execute_batch("BEGIN").unwrap();
        self.connection = Some(connection);
        self.was_opened_anew = true;
        self.meet("opened anew");
    }

    fn live(&mut self) {
        for _ in 0..EVENTS {
            self.something_happens();
            self.the_sender_goes_on();
            self.check_rows();
        }
        self.comes_to_an_end();
        self.check_the_end();
    }

    /// Leaves the database as it was before.
    fn leave(mut self) -> Connection {
        self.connection().execute_batch("ROLLBACK").unwrap();
        let connection = self.connection.take();
        if let Some(connection) = connection.filter(|_| !self.was_opened_anew) {
            return connection;
        }
        self.disk.clear();
        self.disk.open()
    }
}
