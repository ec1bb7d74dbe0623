//! The worker against a Graph of canned answers, with a clock that only the test moves; and its
//! pace, which follows no such clock.

use super::*;
use crate::graph::responder::{Reaction, Responder, answer, client, grant, tenant};
use crate::model::reconcile::ENDING;
use crate::store::Store;
use crate::store::fixture::{Fixture, NOW, TENANT};

const CLIENT_ID: &str = "2891555a-92ff-42e6-80fa-6e1300c6b5c6";
const GONE: &str = r#"{"error":{"code":"8522","message":"Call not found."}}"#;

/// A store with calls that are due, and a worker that does not run yet.
struct Waiting {
    there: Fixture,
    graph: Responder,
    reconciler: Reconciler,
    health: Health,
}

impl Waiting {
    /// With calls `a`, `b` and so on, as many as there are reactions or more, all of them silent.
    async fn with(calls: usize, reactions: Vec<Reaction>) -> Self {
        let there = Fixture::new().await;
        for name in ('a'..='z').take(calls) {
            there.call(&name.to_string(), "100").await;
        }
        let due = "UPDATE calls SET look_at = 1, last_seen_at = 1";
        there.by_hand(due);
        let mut all = vec![grant("FAKE", 3599)];
        all.extend(reactions);
        let graph = Responder::start(all);
        let clock = Clock::manual(NOW);
        let client = client(&graph.url, &graph.url, &clock);
        let (rules, health) = (ReconcileRules::new(vec![asking(TENANT)]), Health::default());
        assert_eq!(tenant(), TenantId::new(TENANT));
        let registry = Registry::new(there.store.clone(), clock.clone());
        let reconciler = Reconciler::new(registry, client, clock, rules, health.clone());
        Self { there, graph, reconciler, health }
    }

    /// Begins once, and waits until what was begun has ended.
    async fn once(&mut self) {
        self.reconciler.begin().await;
        while let Some(ended) = self.reconciler.asking.join_next_with_id().await {
            self.reconciler.ended(ended);
        }
    }

    /// The request lines that Graph got, but for the login's.
    fn asked(&self) -> Vec<String> {
        let lines = self.graph.requests().into_iter();
        let lines = lines.filter_map(|request| Some(request.lines().next()?.to_owned()));
        lines.filter(|line| !line.starts_with("POST /72f988bf")).collect()
    }

    fn count(&self, condition: &str) -> i64 {
        self.there.look(&format!("SELECT count(*) FROM calls WHERE {condition}"))
    }

    fn is_degraded(&self) -> bool {
        self.health.report().degraded.contains_key(PART)
    }
}

fn asking(tenant: &str) -> Asking {
    Asking { tenant: TenantId::new(tenant), client_id: CLIENT_ID.to_owned() }
}

fn gone() -> Reaction {
    answer("404 Not Found", "", GONE)
}

fn live(id: &str, state: &str) -> Reaction {
    answer("200 OK", "", &format!(r#"{{"id":"{id}","state":"{state}"}}"#))
}

#[tokio::test]
async fn a_call_that_graph_no_longer_has_ends_and_one_that_it_has_goes_on() {
    let mut waiting = Waiting::with(1, vec![gone()]).await;
    waiting.once().await;
    assert_eq!(waiting.asked(), ["GET /v1.0/communications/calls/a HTTP/1.1"]);
    assert_eq!(waiting.count(&format!("ended_at = {} AND state = 'terminated'", NOW.0)), 1);

    let mut waiting = Waiting::with(1, vec![live("a", "established")]).await;
    waiting.once().await;
    let next = format!("ended_at IS NULL AND look_at = {}", (NOW + SILENCE).0);
    assert_eq!(waiting.count(&next), 1);
    assert_eq!(waiting.count(&format!("looked_at = {}", NOW.0)), 1);
}

#[tokio::test]
async fn what_graph_says_of_a_call_is_merged_as_if_it_had_been_told() {
    let body = r#"{"id":"a","state":"Terminated","callChainId":"chain","resultInfo":
                   {"code":200,"subcode":7000,"message":"Ended."},
                   "targets":[{"identity":{"phone":{"id":"+49301"}}}]}"#;
    let mut waiting = Waiting::with(1, vec![answer("200 OK", "", body)]).await;
    waiting.once().await;
    let ended = format!("ended_at = {} AND state = 'terminated' AND look_at IS NULL", NOW.0);
    let why = "end_code = 200 AND end_subcode = 7000 AND chain_id = 'chain'";
    assert_eq!(waiting.count(&format!("{ended} AND {why}")), 1);
    let party = "SELECT count(*) FROM parties WHERE normalised = '+49301'";
    assert_eq!(waiting.there.look::<i64>(party), 1);

    let mut waiting = Waiting::with(1, vec![live("a", "terminating")]).await;
    waiting.once().await;
    let soon = format!("state = 'terminating' AND look_at = {}", (NOW + ENDING).0);
    assert_eq!(waiting.count(&soon), 1, "its end should follow");
}

#[tokio::test]
async fn an_answer_that_says_nothing_of_the_call_changes_nothing_about_it() {
    let minute = NOW + CONFIRMATION;
    for (reaction, again_at, degraded) in [
        (answer("429 Slow", "Retry-After: 7\r\n", ""), minute, true),
        (answer("503 Unavailable", "", ""), minute, true),
        (answer("500 Oops", "", ""), minute, true),
        (answer("404 Not Found", "", "<html>"), minute, true),
        (answer("200 OK", "", "<html>"), minute, true),
        (answer("403 Forbidden", "", r#"{"error":{"code":"7504"}}"#), minute, true),
        (answer("403 Forbidden", "", r#"{"error":{"code":"7505"}}"#), NOW + SILENCE, false),
        (answer("400 Bad", "", ""), NOW + SILENCE, false),
        (Reaction::Silence, minute, true),
    ] {
        let mut waiting = Waiting::with(1, vec![reaction]).await;
        waiting.once().await;
        let same = "ended_at IS NULL AND state = 'established'";
        let row = format!("{same} AND look_at = {}", again_at.0);
        assert_eq!(waiting.count(&row), 1, "{:?}", waiting.asked());
        assert_eq!(waiting.is_degraded(), degraded, "{:?}", waiting.asked());
    }
}

#[tokio::test]
async fn a_row_that_cannot_be_merged_does_not_keep_others_from_their_turn() {
    let mut waiting = Waiting::with(2, vec![live("a", "hold"), live("b", "hold")]).await;
    waiting.there.by_hand("UPDATE calls SET state = 'odd', look_at = 0 WHERE graph_id = 'a'");
    waiting.reconciler.paces[0].per_second = 1;
    waiting.once().await;
    assert_eq!(waiting.count(&format!("look_at = {}", (NOW + CONFIRMATION).0)), 1);
    assert!(waiting.is_degraded());
    waiting.reconciler.paces[0] = Pace::new(&waiting.reconciler.rules);
    waiting.once().await;
    assert_eq!(waiting.count("state = 'hold'"), 1);
}

#[tokio::test]
async fn after_a_failure_one_at_a_time_finds_out_when_graph_answers_again() {
    let slow = || answer("429 Slow", "Retry-After: 1\r\n", "");
    let mut waiting = Waiting::with(3, vec![slow(), slow(), slow(), gone()]).await;
    waiting.once().await;
    assert_eq!(waiting.asked().len(), 3);
    assert!(waiting.is_degraded());
    assert_eq!(waiting.reconciler.paces[0].failures, 1, "what began together fails together");

    waiting.once().await;
    assert!(waiting.asked().is_empty(), "it pauses");

    waiting.reconciler.paces[0].paused_until = Instant::now();
    waiting.there.by_hand("UPDATE calls SET look_at = 1");
    waiting.reconciler.begin().await;
    assert_eq!(waiting.reconciler.under_way.len(), 1);
    waiting.reconciler.begin().await;
    assert_eq!(waiting.reconciler.under_way.len(), 1);
    waiting.once().await;
    assert!(!waiting.is_degraded());
    assert_eq!(waiting.reconciler.free(0), waiting.reconciler.rules.concurrency);
}

#[tokio::test]
async fn however_many_are_due_a_few_are_asked_about_at_a_time_and_none_twice() {
    let silence = || (0..9).map(|_| Reaction::Silence).collect();
    let mut waiting = Waiting::with(26, silence()).await;
    for expected in [8, 8] {
        waiting.reconciler.begin().await;
        assert_eq!(waiting.reconciler.under_way.len(), expected);
    }
    let mut calls: Vec<_> = waiting.reconciler.under_way.values().map(|(_, call)| *call).collect();
    calls.sort_unstable();
    calls.dedup();
    assert_eq!(calls.len(), 8);

    let mut waiting = Waiting::with(26, silence()).await;
    waiting.reconciler.paces[0].per_second = 3;
    waiting.reconciler.begin().await;
    waiting.reconciler.begin().await;
    assert_eq!(waiting.reconciler.under_way.len(), 3, "in one second");
}

#[tokio::test]
async fn without_a_tenant_and_for_the_calls_of_another_nothing_is_asked() {
    for apps in [Vec::new(), vec![asking("other.example")]] {
        let mut waiting = Waiting::with(2, vec![gone(), gone()]).await;
        waiting.reconciler.rules.apps = apps;
        waiting.once().await;
        assert!(waiting.asked().is_empty());
        assert_eq!(waiting.count("look_at = 1 AND ended_at IS NULL"), 2);
    }
}

#[tokio::test]
async fn an_app_that_graph_refuses_does_not_slow_down_another_one() {
    let mut waiting = Waiting::with(2, vec![gone(), gone()]).await;
    let reconciler = &mut waiting.reconciler;
    let mut refused = Pace::new(&reconciler.rules);
    refused.failed(Instant::now(), NOW, Some(Duration::from_hours(1)));
    reconciler.rules.apps.insert(0, asking("other.example"));
    reconciler.paces.insert(0, refused);
    waiting.health.degraded(PART, "the first app");
    assert!(waiting.reconciler.next_look() <= Instant::now());
    waiting.once().await;
    assert_eq!(waiting.asked().len(), 2);
    assert!(waiting.is_degraded(), "the first app is still refused");
    assert_eq!((waiting.reconciler.free(0), waiting.reconciler.paces[1].failures), (1, 0));
}

#[tokio::test]
async fn a_call_of_another_app_is_not_asked_about_and_one_of_ours_is_however_it_is_spelled() {
    let mut waiting = Waiting::with(3, vec![gone(), gone()]).await;
    let other = "1891555a-92ff-42e6-80fa-6e1300c6b5c6";
    for (name, app) in [("a", other.to_owned()), ("b", CLIENT_ID.to_uppercase())] {
        let sql = format!("UPDATE calls SET app_id = '{app}' WHERE graph_id = '{name}'");
        waiting.there.by_hand(&sql);
    }
    waiting.once().await;
    assert_eq!(waiting.asked().len(), 2);
    let left = format!("graph_id = 'a' AND ended_at IS NULL AND look_at = {}", (NOW + SILENCE).0);
    assert_eq!(waiting.count(&left), 1, "it is due later, and in nobody's way until then");
    assert_eq!(waiting.count("ended_at IS NOT NULL"), 2);

    // Nor is it when somebody needs to know.
    waiting.there.by_hand("UPDATE calls SET look_at = 1, look_wanted = 1 WHERE graph_id = 'a'");
    waiting.once().await;
    assert!(waiting.asked().is_empty());
    assert_eq!(waiting.count(&left), 1);
}

#[tokio::test]
async fn a_stop_drops_what_is_under_way_and_leaves_it_due() {
    let waiting = Waiting::with(1, vec![Reaction::Silence]).await;
    let (stop, stopped) = watch::channel(false);
    let mut running = JoinSet::new();
    let Waiting { there, graph, reconciler, .. } = waiting;
    running.spawn(reconciler.run(stopped));
    let mut asked = 0;
    while asked < 2 {
        asked += graph.requests().len();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop.send_replace(true);
    let began = Instant::now();
    running.join_next().await.unwrap().unwrap();
    assert!(began.elapsed() < Duration::from_millis(800), "the request has a second");
    assert_eq!(there.look::<i64>("SELECT count(*) FROM calls WHERE look_at = 1"), 1);
}

#[tokio::test]
async fn a_worker_at_rest_is_woken_by_who_needs_to_know() {
    let waiting = Waiting::with(1, vec![gone()]).await;
    let Waiting { there, mut reconciler, .. } = waiting;
    there.by_hand(&format!("UPDATE calls SET look_at = {}", (NOW + SILENCE).0));
    reconciler.rules.rest = Duration::from_hours(1);
    let (stop, stopped) = watch::channel(false);
    let mut running = JoinSet::new();
    running.spawn(reconciler.run(stopped));
    let row = there.look("SELECT call FROM calls");
    let Store::Sqlite(sqlite) = &there.store;
    sqlite.look_at_candidates(vec![row], NOW.into());
    while there.look::<i64>("SELECT count(*) FROM calls WHERE ended_at IS NULL") > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop.send_replace(true);
    running.join_next().await.unwrap().unwrap();
}

#[tokio::test]
async fn the_pace_is_so_many_in_a_second_and_pauses_longer_with_each_failure() {
    let mut pace = Pace::new(&ReconcileRules { per_second: 2, ..ReconcileRules::new(Vec::new()) });
    let start = pace.second_began;
    let after = |milliseconds| start + Duration::from_millis(milliseconds);
    assert_eq!(pace.room(start), 2);
    pace.begun(start);
    pace.begun(start);
    assert_eq!(pace.room(after(999)), 0);
    assert_eq!(pace.not_before(after(10)), after(1000));
    assert_eq!(pace.room(after(1000)), 2);

    let asked = Some(Duration::from_millis(2_128));
    assert_eq!(pace.failed(after(1000), NOW, asked), asked);
    assert_eq!(pace.not_before(after(1000)), after(3128));
    assert_eq!(pace.failed(after(1500), NOW, Some(Duration::from_secs(9))), None);
    assert_eq!((pace.room(after(3200)), pace.failures), (0, 1));
    assert_eq!(pace.room(after(10_500)), 2);
    assert_eq!(pace.failed(after(10_500), NOW, None), Some(Duration::from_secs(2)));
    let mut now = after(10_500);
    for _ in 0..20 {
        now += Duration::from_mins(3);
        assert!(pace.failed(now, NOW, None).unwrap() <= Duration::from_mins(2));
    }
}
