//! The journal and its sender against a Graph that answers when it is told to, and callers that go
//! away at every point.

mod await_points;
mod graph;
mod sending;
mod stopped;
mod witness;

use crate::model::deletion::Scope;
use std::future::ready;

use tokio::sync::watch;
use tokio::task::JoinSet;

use self::graph::Graph;
use super::*;
use crate::access;
use crate::config::graph::{GraphConfig, Outbound, TenantConfig};
use crate::model::deletion::DeletionState;
use crate::store::fixture::{
    DEADLINE, Fixture, NOW, TENANT, by_call_id, by_number, event, selection_rules,
};

const CLIENT_GAVE_UP: &str = "SELECT count(*) FROM deletions WHERE abandoned_at IS NOT NULL";
const RECORDED: &str = "SELECT count(*) FROM deletions";

const TAKEN: &str = "204 No Content";

/// A journal with its sender running beside it.
struct Running {
    there: Fixture,
    graph: Graph,
    journal: Journal,
    actor: Actor,
    clock: Clock,
    health: Health,
    stop: watch::Sender<bool>,
    sender: JoinSet<()>,
}

impl Running {
    /// With calls `a` and `b` of number 100, and room for `concurrency` requests at a time.
    async fn start(concurrency: usize) -> Self {
        let there = Fixture::new().await;
        there.call("a", "100").await;
        there.call("b", "100").await;
        let graph = Graph::start();
        let clock = Clock::manual(NOW);
        let config = GraphConfig {
            tenant: Some(TenantConfig::at(&graph.url, TenantId::new(TENANT), "client", "secret")),
            further: Vec::new(),
            outbound: Outbound::default(),
            rate: None,
            concurrency,
            request_timeout: Duration::from_secs(30),
            deadline: DEADLINE,
            other_host: true,
        };
        let client = GraphClient::new(&config, clock.clone()).unwrap();
        let rules = JournalRules {
            apps: vec![Asking {
                tenant: TenantId::new(TENANT),
                client_id: "2891555a-92ff-42e6-80fa-6e1300c6b5c6".to_owned(),
            }],
            selection: selection_rules(),
            on_ended: OnEnded::Forward,
            deadline: DEADLINE,
            concurrency,
            rate: None,
            request_timeout: config.request_timeout,
        };
        let store = there.store.clone();
        let health = Health::default();
        let (journal, dispatch) = Journal::new(store, client, clock.clone(), rules, health.clone());
        let actor = access::tests::actor(&there).await;
        let (stop, stopped) = watch::channel(false);
        let mut sender = JoinSet::new();
        sender.spawn(dispatch.run(stopped));
        Self { there, graph, journal, actor, clock, health, stop, sender }
    }

    fn request(selector: Selector) -> DeletionRequest {
        let (audit, personal) = (event(), Personal::default());
        let kind = DeletionKind::DeleteCall(Scope::Leg);
        DeletionRequest { kind, selector, dry_run: false, reason: None, audit, personal }
    }

    async fn admit(&self, selector: Selector) -> (Decided, Option<Wait>) {
        match self.journal.admit(&self.actor, Self::request(selector)).await.unwrap() {
            Admitted::Decided(decided, wait) => (*decided, wait),
            Admitted::AccessChanged => panic!("access has not changed"),
        }
    }

    /// Keeps the store's thread busy after a commit, until what is returned is dropped.
    async fn hold_the_store(&self) -> std::sync::mpsc::Sender<()> {
        let (go, held) = self.hold_later().await;
        held.await.unwrap();
        go
    }

    /// Queues an operation that keeps the store's thread busy after its commit: it lasts until the
    /// first part is dropped, and the second tells when it has begun.
    async fn hold_later(
        &self,
    ) -> (std::sync::mpsc::Sender<()>, tokio::sync::oneshot::Receiver<()>) {
        let (started, held) = tokio::sync::oneshot::channel();
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let mut ask = self.there.ask(by_call_id("nobody"), NOW).await;
        ask.question.dry_run = true;
        let store = self.there.store.clone();
        let mut queued = Box::pin(async move {
            let _ = store
                .admit(ask, move |_| {
                    let _ = started.send(());
                    let _ = wait.recv();
                })
                .await;
        });
        poll_once(&mut queued).await;
        // Kept by its own task: an operation that nobody waits for would be skipped.
        let mut tasks = JoinSet::new();
        tasks.spawn(queued);
        tasks.detach_all();
        (go, held)
    }

    /// A place in the budget, as soon as one is free.
    async fn place(&self) -> Place {
        loop {
            if let Some(place) = self.journal.budget.take(&TenantId::new(TENANT)) {
                return place;
            }
            tokio::task::yield_now().await;
        }
    }

    fn count(&self, sql: &str) -> i64 {
        self.there.look(sql)
    }

    fn nobody_waits(&self) -> bool {
        self.journal.waiting.is_empty()
    }

    async fn stop(mut self) -> Fixture {
        self.stop.send_replace(true);
        self.sender.join_next().await.unwrap().unwrap();
        assert!(self.nobody_waits());
        self.there
    }
}

/// Lets `future` begin; it must not be over with that.
async fn poll_once(future: &mut (impl Future + Unpin)) {
    tokio::select! {
        biased;
        _ = future => panic!("it cannot be over yet"),
        () = ready(()) => {}
    }
}

#[tokio::test]
async fn what_is_admitted_is_sent_and_whoever_waits_is_told() {
    let mut running = Running::start(4).await;
    let (decided, wait) = running.admit(by_call_id("a")).await;
    let mut wait = wait.unwrap();
    assert_eq!(running.graph.next().await, "a");
    let (joined, other) = running.admit(by_number("100", "ongoing")).await;
    assert!(
        matches!(joined.decision, Decision::Refuse { .. }) && other.is_none(),
        "two are ongoing"
    );
    let (joined, other) = running.admit(by_call_id("our-a")).await;
    assert!(matches!(joined.decision, Decision::Join(_)), "{joined:?}");
    let mut other = other.unwrap();
    assert_eq!(other.deletion(), wait.deletion());
    running.graph.answer(TAKEN);
    for told in [wait.settled().await, other.settled().await] {
        assert_eq!((Some(told.deletion_id), told.state), (decided.recorded, DeletionState::Sent));
    }
    wait.answered();
    other.answered();
    let there = running.stop().await;
    assert_eq!(there.look::<i64>(CLIENT_GAVE_UP), 0);
}

#[tokio::test]
async fn when_no_slot_is_free_a_deletion_is_recorded_and_sent_later() {
    let mut running = Running::start(1).await;
    let (_, first) = running.admit(by_call_id("a")).await;
    assert_eq!(running.graph.next().await, "a");
    let (decided, second) = running.admit(by_call_id("b")).await;
    assert!(decided.recorded.is_some() && decided.leased.is_none());
    assert_eq!(running.count("SELECT count(*) FROM attempts"), 1);
    running.graph.answer(TAKEN);
    assert_eq!(running.graph.next().await, "b");
    running.graph.answer(TAKEN);
    let (mut first, mut second) = (first.unwrap(), second.unwrap());
    assert_eq!(first.settled().await.state, DeletionState::Sent);
    assert_eq!(second.settled().await.state, DeletionState::Sent);
    drop((first, second));
    running.stop().await;
}

#[tokio::test]
async fn what_is_recorded_after_the_last_slot_came_back_wakes_the_sender() {
    let mut running = Running::start(1).await;
    running.stop.send_replace(true);
    running.sender.join_next().await.unwrap().unwrap();
    let place = running.place().await;
    let (decided, wait) = running.admit(by_call_id("a")).await;
    assert!(decided.leased.is_none() && wait.is_some());
    let woken = tokio::select! {
        biased;
        () = running.journal.wake.notified() => true,
        () = ready(()) => false,
    };
    assert!(woken);
    drop(place);
}

#[tokio::test]
async fn a_lease_that_has_grown_too_short_is_given_back_and_taken_anew() {
    let mut running = Running::start(1).await;
    let leased = running.there.begin("a", NOW).await;
    let place = running.place().await;
    // What is left of the lease is exactly what a request may take.
    let began = Instant::now() + running.journal.rules.request_timeout;
    let began = began.checked_sub(running.journal.rules.lease()).unwrap();
    running.journal.ready.send(Ready { leased, began, place }).unwrap();
    assert_eq!(running.graph.next().await, "a");
    let unsent = "SELECT count(*) FROM attempts WHERE number = 1 AND effect_possible = 0";
    assert_eq!(running.count(unsent), 1);
    assert_eq!(running.count("SELECT attempts FROM steps"), 2);
    running.graph.answer(TAKEN);
    running.stop().await;
}

#[tokio::test]
async fn a_refusal_of_the_moment_is_tried_again_at_the_time_in_its_row() {
    let mut running = Running::start(1).await;
    let (_, wait) = running.admit(by_call_id("a")).await;
    assert_eq!(running.graph.next().await, "a");
    running.graph.answer("429 Too Many Requests\r\nretry-after: 2.128");
    running.graph.answer(TAKEN);
    while running.count("SELECT count(*) FROM attempts WHERE status = 429") == 0 {
        tokio::task::yield_now().await;
    }
    let due = running.there.look::<i64>("SELECT next_attempt_at FROM steps") - NOW.0;
    assert!((2128..=2660).contains(&due), "{due}");
    running.clock.advance(Duration::from_secs(3));
    running.journal.wake.notify_one();
    assert_eq!(running.graph.next().await, "a");
    let mut wait = wait.unwrap();
    assert_eq!(wait.settled().await.state, DeletionState::Sent);
    drop(wait);
    running.stop().await;
}

#[tokio::test]
async fn a_caller_who_goes_before_his_turn_leaves_nothing() {
    let running = Running::start(4).await;
    let go = running.hold_the_store().await;
    let mut admit =
        Box::pin(running.journal.admit(&running.actor, Running::request(by_call_id("a"))));
    poll_once(&mut admit).await;
    drop(admit);
    drop(go);
    running.there.flush().await;
    assert_eq!(running.count(RECORDED), 0);
    let mut places = Vec::new();
    for _ in 0..4 {
        places.push(running.place().await);
    }
    drop(places);
    running.stop().await;
}

#[tokio::test]
async fn a_caller_who_goes_between_the_commit_and_the_reply_is_noted() {
    let mut running = Running::start(4).await;
    let first = running.hold_the_store().await;
    let (second, held) = running.hold_later().await;
    let mut admit =
        Box::pin(running.journal.admit(&running.actor, Running::request(by_call_id("a"))));
    poll_once(&mut admit).await;
    // Both are committed together; then the first of them keeps the reply of the other back.
    drop(first);
    held.await.unwrap();
    assert_eq!(running.count(RECORDED), 1, "it is on disk");
    drop(admit);
    drop(second);
    assert_eq!(running.graph.next().await, "a", "it is sent all the same");
    running.there.flush().await;
    assert_eq!(running.count(CLIENT_GAVE_UP), 1);
    assert!(running.nobody_waits());
    running.graph.answer(TAKEN);
    running.stop().await;
}

#[tokio::test]
async fn a_caller_who_goes_between_the_reply_and_its_receipt_is_noted() {
    let mut running = Running::start(4).await;
    let go = running.hold_the_store().await;
    let mut admit =
        Box::pin(running.journal.admit(&running.actor, Running::request(by_call_id("a"))));
    poll_once(&mut admit).await;
    drop(go);
    running.there.flush().await;
    // The reply lies there and is not read.
    drop(admit);
    assert_eq!(running.graph.next().await, "a");
    running.there.flush().await;
    assert_eq!(running.count(CLIENT_GAVE_UP), 1);
    assert!(running.nobody_waits());
    running.graph.answer(TAKEN);
    running.stop().await;
}

#[tokio::test]
async fn a_caller_who_stops_waiting_is_noted_unless_he_has_his_answer() {
    for answered in [true, false] {
        let mut running = Running::start(4).await;
        let (_, wait) = running.admit(by_call_id("a")).await;
        let mut wait = wait.unwrap();
        poll_once(&mut Box::pin(wait.settled())).await;
        if answered {
            wait.answered();
        } else {
            drop(wait);
        }
        assert!(running.nobody_waits());
        running.there.flush().await;
        assert_eq!(running.count(CLIENT_GAVE_UP), i64::from(!answered));
        assert_eq!(running.graph.next().await, "a");
        running.graph.answer(TAKEN);
        running.stop().await;
    }
}

#[tokio::test]
async fn a_silent_repeat_is_told_the_end_of_what_its_client_left() {
    let mut running = Running::start(4).await;
    running.there.by_hand("UPDATE calls SET ended_at = 1 WHERE graph_id = 'b'");
    let (decided, wait) = running.admit(by_number("100", "ongoing")).await;
    drop(wait);
    assert_eq!(running.graph.next().await, "a");
    running.graph.answer(TAKEN);
    while running.count("SELECT count(*) FROM deletions WHERE state = 'sent'") == 0 {
        tokio::task::yield_now().await;
    }
    running.there.by_hand("UPDATE calls SET ended_at = NULL WHERE graph_id = 'b'");

    let mut dry = Running::request(by_number("100", "ongoing"));
    dry.dry_run = true;
    let admitted = running.journal.admit(&running.actor, dry).await.unwrap();
    assert!(matches!(admitted, Admitted::Decided(_, None)), "a dry run waits for nothing");
    let (repeat, wait) = running.admit(by_number("100", "ongoing")).await;
    assert!(matches!(repeat.decision, Decision::Join(_)), "{repeat:?}");
    let mut wait = wait.unwrap();
    let told = wait.settled().await;
    assert_eq!((Some(told.deletion_id), told.state), (decided.recorded, DeletionState::Sent));
    wait.answered();
    running.stop().await;
}

#[tokio::test]
async fn whoever_joined_a_deletion_is_told_when_it_is_withdrawn() {
    let mut running = Running::start(1).await;
    let (_, first) = running.admit(by_call_id("a")).await;
    assert_eq!(running.graph.next().await, "a");
    let (decided, own) = running.admit(by_call_id("b")).await;
    let (_, joined) = running.admit(by_call_id("our-b")).await;
    let standing = running.journal.withdraw(decided.recorded.unwrap()).await.unwrap();
    assert!(matches!(standing, Standing::Withdrawn(_)), "{standing:?}");
    let mut joined = joined.unwrap();
    assert_eq!(joined.settled().await.state, DeletionState::Cancelled);
    drop((first, own, joined));
    running.graph.answer(TAKEN);
    let there = running.stop().await;
    assert_eq!(there.look::<i64>("SELECT count(*) FROM attempts"), 1);
}

#[tokio::test]
async fn a_settlement_is_written_again_until_the_store_takes_it() {
    let mut running = Running::start(1).await;
    let (_, wait) = running.admit(by_call_id("a")).await;
    assert_eq!(running.graph.next().await, "a");
    running.there.by_hand(
        "CREATE TRIGGER refuse BEFORE UPDATE ON attempts BEGIN SELECT raise(ABORT, 'not now'); END",
    );
    running.graph.answer("400 Bad Request");
    let mut wait = wait.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(150), wait.settled()).await;
    assert!(early.is_err(), "{early:?}");
    running.there.by_hand("DROP TRIGGER refuse");
    assert_eq!(wait.settled().await.state, DeletionState::Failed);
    drop(wait);
    let there = running.stop().await;
    assert_eq!(there.look::<i64>("SELECT count(*) FROM attempts"), 1, "it was sent once");
}
