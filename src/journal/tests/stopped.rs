//! A tenant for which nothing can be sent: what waits, what probes, and what goes on.

use super::*;
use crate::journal::report::part_of;
use crate::model::deletion::DeletionState::{Obsolete, Sent};

/// Graph refuses the app in this tenant.
const REFUSED: &str = "403 Forbidden\r\nconnection: close\r\ncontent-length: 25\r\n\r\n\
                       {\"error\":{\"code\":\"7503\"}}";
const SECOND: Duration = Duration::from_secs(1);
const ATTEMPTS: &str = "SELECT count(*) FROM attempts";

impl Running {
    /// Makes and records deletions of calls with these ids, and waits until the sender has seen them.
    async fn record(&self, ids: &[&str]) {
        for id in ids {
            self.there.call(id, "100").await;
            let (decided, wait) = self.admit(by_call_id(id)).await;
            assert!(decided.leased.is_none() && wait.is_some(), "{id}");
        }
    }

    /// Waits until this tenant is stopped, or goes on.
    async fn stands(&self, is_stopped: bool) {
        let tenant = TenantId::new(TENANT);
        while self.journal.budget.is_stopped(&tenant) != is_stopped
            || self.health.report().degraded.contains_key(&*part_of(&tenant)) != is_stopped
        {
            tokio::task::yield_now().await;
        }
    }

    /// Lets time go by, and the sender look.
    fn wait(&self, time: Duration) {
        self.clock.advance(time);
        self.journal.wake.notify_one();
    }

    /// Waits until so many attempts were answered.
    async fn answered(&self, count: i64) {
        let answered = "SELECT count(*) FROM attempts WHERE answered_at IS NOT NULL";
        while self.count(answered) < count {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_refused_app_stops_its_tenant_and_a_probe_that_succeeds_lets_everything_go() {
    let mut running = Running::start(4).await;
    let (_, first) = running.admit(by_call_id("a")).await;
    assert_eq!(running.graph.next().await, "a");
    running.graph.answer(REFUSED);
    running.stands(true).await;
    running.answered(1).await;
    let part = running.health.report().degraded[&*part_of(&TenantId::new(TENANT))].clone();
    assert!(part.starts_with("Graph or its login refuses the app; "), "{part}");

    running.record(&["c", "d", "e"]).await;
    running.wait(Duration::ZERO);
    running.there.flush().await;
    assert_eq!(running.count(ATTEMPTS), 1, "nothing begins");
    for (attempts, wait) in [(2, SECOND * 2), (3, SECOND * 3)] {
        running.wait(wait);
        let probe = running.graph.next().await;
        running.wait(SECOND * 60);
        running.there.flush().await;
        assert_eq!(running.count(ATTEMPTS), attempts, "one probe at a time: {probe}");
        running.graph.answer(REFUSED);
        running.answered(attempts).await;
    }
    running.wait(SECOND * 200);
    let probe = running.graph.next().await;
    running.graph.answer(TAKEN);
    running.stands(false).await;
    let mut rest = vec![probe];
    for _ in 0..3 {
        rest.push(running.graph.next().await);
        running.graph.answer(TAKEN);
    }
    rest.sort();
    assert_eq!(rest, ["a", "c", "d", "e"]);
    let mut first = first.unwrap();
    assert_eq!(first.settled().await.state, Sent);
    drop(first);
    running.stop().await;
}

#[tokio::test]
async fn what_waits_for_a_stopped_tenant_ends_at_its_deadline_and_its_caller_is_told() {
    let mut running = Running::start(4).await;
    let (_, first) = running.admit(by_call_id("a")).await;
    assert_eq!(running.graph.next().await, "a");
    running.graph.answer(REFUSED);
    running.stands(true).await;
    running.answered(1).await;
    let (decided, wait) = running.admit(by_call_id("b")).await;
    assert!(decided.leased.is_none());
    running.wait(DEADLINE);
    let mut wait = wait.unwrap();
    assert_eq!(wait.settled().await.state, Obsolete);
    drop((wait, first));
    let there = running.stop().await;
    assert_eq!(there.look::<i64>(ATTEMPTS), 1, "it was never sent");
}

#[tokio::test]
async fn throttling_of_one_call_keeps_no_other_back() {
    let mut running = Running::start(1).await;
    let (_, first) = running.admit(by_call_id("a")).await;
    for attempt in 1..=12 {
        assert_eq!(running.graph.next().await, "a");
        running.graph.answer("429 Too Many Requests\r\nretry-after: 1");
        running.answered(attempt).await;
        running.wait(SECOND * 150);
    }
    assert_eq!(running.graph.next().await, "a");
    running.graph.answer("429 Too Many Requests\r\nretry-after: 3600");
    running.answered(13).await;
    let (_, second) = running.admit(by_call_id("b")).await;
    assert_eq!(running.graph.next().await, "b");
    running.graph.answer(TAKEN);
    let mut second = second.unwrap();
    assert_eq!(second.settled().await.state, Sent);
    drop((first, second));
    running.stop().await;
}

#[tokio::test]
async fn a_runtime_that_stalled_past_the_lease_sends_nothing_with_it() {
    let mut running = Running::start(1).await;
    let leased = running.there.begin("a", NOW).await;
    let (place, began) = (running.place().await, Instant::now());
    // Nothing runs between the hand-over and the end of the stall.
    tokio::time::pause();
    running.journal.ready.send(Ready { leased, began, place }).unwrap();
    tokio::time::advance(running.journal.rules.lease()).await;
    tokio::time::resume();
    assert_eq!(running.graph.next().await, "a");
    let unsent = "SELECT count(*) FROM attempts WHERE number = 1 AND effect_possible = 0 \
                  AND error LIKE 'not sent%'";
    assert_eq!(
        running.count(unsent),
        1,
        "what is sent is a later attempt, with a lease of its own"
    );
    assert_eq!(running.count(ATTEMPTS), 2);
    running.graph.answer(TAKEN);
    running.stop().await;
}

#[tokio::test]
async fn a_deadline_passes_while_no_place_is_free() {
    let mut running = Running::start(1).await;
    let (_, first) = running.admit(by_call_id("a")).await;
    assert_eq!(running.graph.next().await, "a");
    let (_, second) = running.admit(by_call_id("b")).await;
    running.clock.advance(DEADLINE);
    let mut second = second.unwrap();
    let settled = tokio::time::timeout(Duration::from_secs(10), second.settled()).await;
    assert_eq!(settled.unwrap().state, Obsolete);
    second.answered();
    running.graph.answer(TAKEN);
    let mut first = first.unwrap();
    assert_eq!(first.settled().await.state, Sent);
    first.answered();
    running.stop().await;
}
