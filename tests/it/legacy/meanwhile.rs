//! What becomes of a deletion while its client waits, and nobody tells the gateway: commands beside it, a
//! hold, a deadline. The answer is what is true on disk when the wait is over.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::{Answer, Call, Client, Gateway, Key, until};

const MODES: [&str; 2] = ["success", "error"];

fn request(key: &Key, call: &Call) -> String {
    let query = key.query(&format!("nativeID={}&detail=1", call.graph_id));
    format!("GET /verba/api?{query} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// Two clients that wait for the same deletion: its own, and one who has joined by another key.
struct Waiting {
    gateway: Gateway,
    call: Call,
    clients: [Client; 2],
    deletion: String,
}

impl Waiting {
    /// The first attempt meets this fault.
    async fn for_graph(lines: &str, mut fault: Value) -> Self {
        let gateway = Gateway::with(lines).await;
        let other = gateway.new_key(&[]).await;
        let call = gateway.call("8856").await;
        fault["method"] = json!("DELETE");
        gateway.graph.fault(fault).await;
        let mut clients = [gateway.connect().await, gateway.connect().await];
        clients[0].send(request(&gateway.key, &call)).await;
        gateway.graph.has_deletes(1).await;
        clients[1].send(request(&other, &call)).await;
        gateway.audited("somebody joined", |record| record["result"] == "joined").await;
        let deletion = gateway.value("SELECT deletion_id FROM deletions");
        Self { gateway, call, clients, deletion }
    }

    /// Graph has them wait for longer than anybody does here.
    async fn throttled(lines: &str) -> Self {
        let all = Self::for_graph(lines, json!({"status": 429, "retryAfter": 3600})).await;
        let answered = "SELECT count(*) FROM attempts WHERE status = 429";
        until("Graph's answer is known", async || {
            (all.gateway.value::<i64>(answered) == 1).then_some(())
        })
        .await;
        all
    }

    async fn answers(&mut self) -> [Answer; 2] {
        let [own, joined] = &mut self.clients;
        [own.answer().await, joined.answer().await]
    }

    /// What both are told when the gateway is to stop.
    async fn stop(&mut self) -> [Answer; 2] {
        self.gateway.order_stop();
        self.answers().await
    }

    async fn is_told(&mut self, expected: [(i32, &str); 2], case: &str) {
        let answers = self.stop().await;
        self.is(&answers, expected, case);
    }

    fn is(&self, answers: &[Answer; 2], expected: [(i32, &str); 2], case: &str) {
        for (answer, expected) in answers.iter().zip(expected) {
            assert_eq!((answer.code(), answer.word()), expected, "{case}: {}", answer.body);
            assert_eq!(answer.element("DeletionID"), self.deletion, "{case}");
        }
    }

    fn state(&self) -> String {
        self.gateway.value("SELECT state FROM deletions")
    }
}

#[tokio::test]
async fn what_an_operator_cancels_while_its_clients_wait_is_no_success() {
    let mut all = Waiting::throttled("legacy.wait = \"8s\"").await;
    all.gateway.run(&["deletions", "cancel", &all.deletion]).await;
    let answers = all.answers().await;
    all.is(&answers, [(2, "unavailable"); 2], "the wait is over");
    assert_eq!(all.state(), "cancelled");
    let text = answers[0].element("ErrorMessage");
    assert!(
        !text.contains("did not answer") && text.contains("nothing more will be sent"),
        "{text}"
    );
}

#[tokio::test]
async fn what_an_operator_has_cancelled_is_no_success_when_the_gateway_stops() {
    for mode in MODES {
        let lines = format!("legacy.wait = \"60s\"\nlegacy.on_pending = \"{mode}\"");
        let mut all = Waiting::throttled(&lines).await;
        all.gateway.run(&["deletions", "cancel", &all.deletion]).await;
        all.is_told([(2, "unavailable"); 2], mode).await;
    }
}

#[tokio::test]
async fn what_an_operator_cancels_and_tries_again_is_still_accepted() {
    let mut all = Waiting::throttled("legacy.wait = \"60s\"").await;
    all.gateway.run(&["deletions", "cancel", &all.deletion]).await;
    all.gateway.run(&["deletions", "retry", &all.deletion]).await;
    all.is_told([(0, "accepted"), (0, "joined")], "tried again").await;
    assert_eq!(all.state(), "open");
}

#[tokio::test]
async fn what_a_hold_covers_meanwhile_is_refused_and_never_sent() {
    for mode in MODES {
        let lines = format!("legacy.wait = \"60s\"\nlegacy.on_pending = \"{mode}\"");
        let mut all = Waiting::throttled(&lines).await;
        all.gateway.hold();
        all.is_told([(2, "policy"); 2], mode).await;
        assert_eq!(all.state(), "held", "{mode}");
        let site = all.gateway.stop().await;
        site.graph.heal().await;
        site.change("DELETE FROM holds");
        let gateway = Gateway::serve(site).await;
        // Graph asked for an hour, whoever asks anew.
        gateway.clock.advance(Duration::from_hours(1));
        let again = gateway.delete(&format!("nativeID={}&detail=1", all.call.graph_id)).await;
        assert_eq!((again.code(), again.word()), (0, "sent"), "{mode}: {}", again.body);
        assert_ne!(again.element("DeletionID"), all.deletion, "{mode}");
        assert_eq!(gateway.graph.deletes().await.len(), 2, "{mode}");
    }
}

#[tokio::test]
async fn what_can_only_be_sent_after_its_deadline_is_no_success_whoever_asks() {
    let lines = "legacy.wait = \"60s\"\ngraph.deadline = \"10m\"";
    let mut all = Waiting::throttled(lines).await;
    let query = format!("nativeID={}&detail=1", all.call.graph_id);
    let began = Instant::now();
    // Whoever joins is told, which ends it, and so is whoever comes after that.
    for _ in 0..2 {
        let again = all.gateway.delete(&query).await;
        assert_eq!((again.code(), again.word()), (2, "unavailable"), "{}", again.body);
    }
    assert!(began.elapsed() < Duration::from_secs(30), "there is nothing to wait for");
    let states: String = all.gateway.value("SELECT group_concat(DISTINCT state) FROM deletions");
    assert_eq!(states, "obsolete");
    for answer in all.stop().await {
        assert_eq!((answer.code(), answer.word()), (2, "unavailable"), "{}", answer.body);
    }
    assert_eq!(all.gateway.graph.deletes().await.len(), 1);
}

#[tokio::test]
async fn what_was_begun_before_a_hold_may_still_end_the_call() {
    let lines = "legacy.wait = \"60s\"\nlisten.drain = \"1s\"";
    let mut all = Waiting::for_graph(lines, json!({"delayMs": 600_000})).await;
    all.gateway.hold();
    all.is_told([(0, "accepted"), (0, "joined")], "begun").await;
    assert_eq!(all.state(), "open");
}

#[tokio::test]
async fn what_reaches_its_deadline_meanwhile_is_no_success() {
    let mut all = Waiting::throttled("legacy.wait = \"60s\"").await;
    all.gateway.clock.advance(Duration::from_hours(25));
    all.is_told([(2, "unavailable"); 2], "its deadline").await;
    assert_eq!(all.state(), "obsolete");
}

fn rename_column(gateway: &Gateway, from: &str, to: &str) {
    let statement = format!("ALTER TABLE deletions RENAME COLUMN {from} TO {to}");
    gateway.database().execute_batch(&statement).expect("it can be renamed");
}

#[tokio::test]
async fn what_cannot_be_read_when_the_wait_is_over_is_neither_a_success_nor_refused() {
    for mode in MODES {
        let lines = format!("legacy.wait = \"60s\"\nlegacy.on_pending = \"{mode}\"");
        let mut all = Waiting::throttled(&lines).await;
        rename_column(&all.gateway, "failure", "lost");
        all.is_told([(2, "unknown_outcome"); 2], mode).await;
        rename_column(&all.gateway, "lost", "failure");
        assert_eq!(all.state(), "open", "{mode}");
    }
}

#[tokio::test]
async fn nobody_waits_for_what_is_kept_back() {
    let gateway = Gateway::with("legacy.wait = \"60s\"").await;
    let other = gateway.new_key(&[]).await;
    let call = gateway.call("8856").await;
    gateway.run(&["pause"]).await;
    let began = Instant::now();
    for (key, word) in [(&gateway.key, "accepted"), (&other, "joined")] {
        let answer = gateway.ask(request(key, &call)).await;
        assert_eq!((answer.code(), answer.word()), (0, word), "{}", answer.body);
    }
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert!(gateway.graph.deletes().await.is_empty());
    gateway.run(&["resume"]).await;
    gateway.graph.has_deletes(1).await;
}

#[tokio::test]
async fn a_resumption_within_the_wait_saves_what_would_be_an_error() {
    let gateway = Gateway::with("legacy.wait = \"60s\"\nlegacy.on_pending = \"error\"").await;
    let call = gateway.call("8856").await;
    gateway.run(&["pause"]).await;
    let mut client = gateway.connect().await;
    client.send(request(&gateway.key, &call)).await;
    until("it is recorded", async || (gateway.recorded() == 1).then_some(())).await;
    gateway.run(&["resume"]).await;
    let answer = client.answer().await;
    assert_eq!((answer.code(), answer.word()), (0, "sent"), "{}", answer.body);
}

#[tokio::test]
async fn whoever_joins_what_was_begun_before_the_pause_hears_what_graph_says() {
    let gateway = Gateway::with("legacy.wait = \"60s\"").await;
    let other = gateway.new_key(&[]).await;
    let call = gateway.call("8856").await;
    gateway.graph.fault(json!({"method": "DELETE", "delayMs": 5_000, "status": 400})).await;
    let joined = async {
        gateway.graph.has_deletes(1).await;
        gateway.run(&["pause"]).await;
        gateway.ask(request(&other, &call)).await
    };
    let (own, joined) = tokio::join!(gateway.ask(request(&gateway.key, &call)), joined);
    for answer in [own, joined] {
        assert_eq!((answer.code(), answer.word()), (2, "refused_by_graph"), "{}", answer.body);
    }
}
