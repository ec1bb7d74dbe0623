//! What callers were told, what is on disk and what Graph received, held against each other.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::Site;

/// All three, by Graph's ids of the calls.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    /// Calls whose caller was answered 0.
    pub(super) promised: BTreeSet<String>,
    /// Calls with a deletion, and its state.
    pub(super) recorded: BTreeMap<String, String>,
    /// How many attempts a call has on disk.
    pub(super) attempts: BTreeMap<String, usize>,
    /// How often Graph was asked to hang a call up.
    pub(super) received: BTreeMap<String, usize>,
}

impl Ledger {
    /// Reads what is on disk and what Graph received. Graph first: what it received has been on
    /// disk before.
    pub(super) async fn read(site: &Site, promised: &BTreeSet<String>) -> Self {
        let mut ledger = Self { promised: promised.clone(), ..Self::default() };
        for call in site.graph.deletes().await {
            *ledger.received.entry(call).or_default() += 1;
        }
        let database = site.database();
        let rows = "SELECT c.graph_id, d.state, count(a.number) FROM deletions AS d \
            JOIN calls AS c ON c.call = d.call \
            LEFT JOIN attempts AS a ON a.deletion = d.deletion GROUP BY d.deletion";
        let mut rows = database.prepare(rows).expect("the tables exist");
        let rows = rows.query_map((), |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, i64>(2)?)));
        for row in rows.expect("the query is valid") {
            let (call, state, attempts): (String, String, i64) = row.expect("text and a number");
            *ledger.attempts.entry(call.clone()).or_default() +=
                usize::try_from(attempts).expect("a count");
            ledger.recorded.insert(call, state);
        }
        ledger
    }

    /// Promises that are not on disk as something that is done or will be.
    pub(super) fn lost(&self) -> Vec<&str> {
        let kept = |call: &&String| {
            let state = self.recorded.get(*call).map(String::as_str);
            matches!(state, Some("open" | "sent" | "gone" | "confirmed"))
        };
        self.promised.iter().filter(|call| !kept(call)).map(String::as_str).collect()
    }

    /// Promises that Graph has not heard of.
    pub(super) fn undone(&self) -> Vec<&str> {
        let undone = self.promised.iter().filter(|call| !self.received.contains_key(*call));
        undone.map(String::as_str).collect()
    }

    /// Requests that Graph received more often than an attempt is on disk.
    pub(super) fn unrecorded(&self) -> Vec<&str> {
        let recorded = |call: &String| self.attempts.get(call).copied().unwrap_or_default();
        let unrecorded = self.received.iter().filter(|(call, times)| **times > recorded(call));
        unrecorded.map(|(call, _)| call.as_str()).collect()
    }

    /// How many requests Graph received beyond one for each call.
    pub(super) fn doubled(&self) -> usize {
        self.received.values().map(|times| times - 1).sum()
    }
}

#[test]
fn whatever_does_not_agree_is_found() {
    let all = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let calls = all(&["a", "b"]);
    let with = |state: &str| calls.iter().map(|call| (call.clone(), state.to_owned())).collect();
    let times = |times: usize| calls.iter().map(|call| (call.clone(), times)).collect();
    let good = Ledger {
        promised: calls.iter().cloned().collect(),
        recorded: with("sent"),
        attempts: times(1),
        received: times(1),
    };
    assert!(good.lost().is_empty() && good.undone().is_empty() && good.unrecorded().is_empty());
    assert_eq!(good.doubled(), 0);

    let cancelled = Ledger { recorded: with("cancelled"), ..good.clone() };
    assert_eq!(cancelled.lost(), ["a", "b"]);
    let never_sent = Ledger { received: BTreeMap::new(), ..good.clone() };
    assert_eq!(never_sent.undone(), ["a", "b"]);
    let twice = Ledger { received: times(2), ..good };
    assert_eq!(twice.unrecorded(), ["a", "b"]);
    assert_eq!(twice.doubled(), 2);
}
