//! News in any order, doubled and dropped, against a model that is written anew: sets of what was
//! delivered, of which the registry has to hold the highest, the first or the union.
//!
//! `NEWS_SEQUENCES=10000000 cargo test --lib in_any_order` runs more of them.

mod history;
mod model;

use rusqlite::{Connection, params};

use self::history::{History, TENANTS};
use self::model::{Delivered, Seen};
use super::{CallNews, FOREIGN, apply};
use crate::id::TenantId;
use crate::model::change::CallChange;
use crate::store::fixture::{NOW, asked_for};
use crate::store::records::Applied;
use crate::store::schema;
use crate::store::sqlite::model_test::Dice;

/// How many calls' deliveries are made, when the environment does not say.
const SEQUENCES: u64 = 100_000;
/// Calls whose deliveries are mixed with each other.
const CALLS: usize = 5;

#[test]
fn news_in_any_order_doubled_and_dropped_lead_to_the_same_registry() {
    let sequences = asked_for("NEWS_SEQUENCES").unwrap_or(SEQUENCES);
    let connection = database();
    let mut seen = Seen::default();
    for seed in 0..sequences / u64::try_from(CALLS).unwrap() {
        let mut dice = Dice::new(seed);
        let histories: Vec<_> = (0..CALLS).map(|n| History::new(&mut dice, n)).collect();
        let mut deliveries = deliveries(&mut dice, &histories);
        let mut delivered: Vec<_> = histories.iter().map(Delivered::new).collect();
        connection.execute_batch("BEGIN").unwrap();
        let mut now = NOW;
        while !deliveries.is_empty() {
            let tenant = deliveries[0].0 % TENANTS;
            let size = deliveries.iter().take_while(|one| one.0 % TENANTS == tenant).count();
            let post: Vec<_> = deliveries.drain(..size.min(1 + dice.roll(3))).collect();
            now.0 += 1;
            for (call, change) in &post {
                delivered[*call].add(change, now);
            }
            let changes = post.into_iter().map(|(_, change)| change).collect();
            let tenant = TenantId::new(&format!("tenant-{tenant}"));
            let news = CallNews { tenant, app_id: None, changes, now: now.into() };
            let (applied, _) = apply(&connection, &news).unwrap();
            assert!(matches!(applied, Applied::Merged { .. }), "seed {seed}");
            if dice.one_in(8) {
                let call = dice.roll(CALLS);
                delivered[call].delete(&connection, now);
            }
        }
        for one in &delivered {
            one.check(&connection, &mut seen, seed);
        }
        connection.execute_batch("ROLLBACK").unwrap();
    }
    // Every kind of call was met often enough to mean something.
    assert!(seen.is_enough(sequences / 100), "{seen:?}");
}

#[test]
fn looking_for_a_call_of_another_tenant_walks_through_no_calls() {
    let connection = database();
    let mut plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {FOREIGN}")).unwrap();
    let steps = plan.query_map(params![1, "a"], |row| row.get::<_, String>(3)).unwrap();
    for step in steps.map(Result::unwrap) {
        // Neither through the calls nor through the tenants.
        let finds = step.contains("(graph_id=? AND tenant=?)") || step.contains("(graph_id=?)");
        let walks = step.starts_with("SCAN c") || step.starts_with("SEARCH") && !finds;
        assert!(!walks && !step.contains("tenants"), "{step}");
    }
}

/// What the senders of all histories deliver: some of it not at all, some twice, in some order.
fn deliveries(dice: &mut Dice, histories: &[History]) -> Vec<(usize, CallChange)> {
    let mut deliveries = Vec::new();
    for (call, history) in histories.iter().enumerate() {
        let keeps_order = history.keeps_order;
        let mut of_call: Vec<_> = Vec::new();
        for change in &history.told {
            for _ in 0..[0, 1, 1, 1, 2][dice.roll(5)] {
                of_call.push((call, change.clone()));
            }
        }
        if !keeps_order {
            shuffle(dice, &mut of_call);
        }
        // Mixed with the others', each call's in its own order.
        let mut mixed = Vec::new();
        let (mut before, mut own) =
            (deliveries.into_iter().peekable(), of_call.into_iter().peekable());
        while before.peek().is_some() || own.peek().is_some() {
            mixed.extend(if dice.one_in(2) { before.next() } else { own.next() });
        }
        deliveries = mixed;
    }
    deliveries
}

fn shuffle<T>(dice: &mut Dice, items: &mut [T]) {
    for last in (1..items.len()).rev() {
        items.swap(last, dice.roll(last + 1));
    }
}

/// A database in memory: no commit, no disk, the same statements.
fn database() -> Connection {
    let mut connection = Connection::open_in_memory().unwrap();
    connection.set_prepared_statement_cache_capacity(256);
    schema::migrate(&mut connection, std::path::Path::new("memory")).unwrap();
    connection
}
