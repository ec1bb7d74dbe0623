//! Clients that go away at every stage, and answers that come before Graph's: who asked nothing whole has
//! asked nothing, what was recorded goes on, and what was answered with an error is never begun
//! afterwards.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Call, Gateway, Key, Process, Seeded, Site, all_of, call, until};

const MODES: [&str; 2] = ["success", "error"];

/// Where a client goes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// In the middle of the head.
    Head,
    /// In the middle of a form.
    Body,
    /// As soon as the request is whole.
    Request,
    /// When it is recorded.
    Recorded,
    /// When Graph is asked.
    Asked,
    /// He closes his sending side only.
    HalfClosed,
}

const STAGES: [Stage; 6] =
    [Stage::Head, Stage::Body, Stage::Request, Stage::Recorded, Stage::Asked, Stage::HalfClosed];

impl Stage {
    fn is_before_the_end_of_the_request(self) -> bool {
        matches!(self, Self::Head | Self::Body)
    }

    /// Asks and goes away.
    async fn cut(self, gateway: &Gateway, call: &Call) {
        let selector = format!("nativeID={}", call.graph_id);
        let query = gateway.query(&selector);
        let whole = format!("GET /verba/api?{query} HTTP/1.1\r\nHost: a\r\n\r\n");
        let form = crate::support::post("", &query);
        let mut stream = TcpStream::connect(gateway.legacy).await.expect("the gateway listens");
        let bytes = match self {
            Self::Head => &whole[..whole.len() - 2],
            Self::Body => &form[..form.len() - 1],
            _ => &whole,
        };
        stream.write_all(bytes.as_bytes()).await.expect("it is read");
        let of_it =
            format!("deletions JOIN calls USING (call) WHERE graph_id = '{}'", call.graph_id);
        let recorded = format!("SELECT count(*) FROM {of_it}");
        match self {
            Self::Recorded => {
                until("it is recorded", async || {
                    (gateway.value::<i64>(&recorded) == 1).then_some(())
                })
                .await;
            }
            Self::Asked => {
                until("Graph is asked", async || {
                    gateway.graph.deletes().await.contains(&call.graph_id).then_some(())
                })
                .await;
            }
            Self::HalfClosed => {
                stream.shutdown().await.expect("it is open");
                let mut rest = Vec::new();
                // Who closes his sending side counts as gone, and may get no answer.
                let _gone = stream.read_to_end(&mut rest).await;
            }
            Self::Head | Self::Body | Self::Request => {}
        }
    }
}

#[tokio::test]
async fn whatever_was_asked_whole_goes_on_and_nothing_else_begins() {
    for mode in MODES {
        for restarts in [false, true] {
            let lines = format!("legacy.on_pending = \"{mode}\"\nlegacy.wait = \"5s\"");
            let mut gateway = Gateway::with(&lines).await;
            gateway.graph.fault(json!({"method": "DELETE", "delayMs": 300})).await;
            let made: Vec<_> = STAGES.iter().map(|_| call("8856", json!({}))).collect();
            let calls = gateway.calls(&made).await;
            for (stage, call) in STAGES.into_iter().zip(&calls) {
                stage.cut(&gateway, call).await;
            }
            if restarts {
                gateway = Gateway::serve(gateway.stop().await).await;
            }
            // Before that, a request that is whole may not have been read when its line was cut.
            let sure = |stage: Stage| matches!(stage, Stage::Recorded | Stage::Asked);
            for (stage, call) in STAGES.into_iter().zip(&calls) {
                let case = format!("{mode}, restart {restarts}, {stage:?}");
                let of_it = format!(
                    "deletions JOIN calls USING (call) WHERE graph_id = '{}'",
                    call.graph_id
                );
                if sure(stage) {
                    until(&format!("it is done: {case}"), async || {
                        let done =
                            format!("SELECT count(*) FROM {of_it} AND deletions.state = 'sent'");
                        (gateway.value::<i64>(&done) == 1).then_some(())
                    })
                    .await;
                } else if stage.is_before_the_end_of_the_request() {
                    let recorded: i64 = gateway.value(&format!("SELECT count(*) FROM {of_it}"));
                    assert_eq!(recorded, 0, "{case}");
                    assert!(!gateway.graph.deletes().await.contains(&call.graph_id), "{case}");
                }
                // Whoever comes back is told what is true, and the call ends once.
                let again = gateway.delete(&format!("nativeID={}&detail=1", call.graph_id)).await;
                assert_eq!(again.code(), 0, "{case}: {}", again.body);
                assert_eq!(gateway.graph.state(&call.graph_id).await, "terminated", "{case}");
                let deletes = gateway.graph.deletes().await;
                let count = deletes.iter().filter(|id| **id == call.graph_id).count();
                assert_eq!(count, 1, "{case}");
            }
        }
    }
}

/// What one client of many was told; nothing when it went away before.
struct Told {
    call: String,
    word: Option<String>,
    /// When the answer was there.
    at: i64,
}

impl Told {
    fn is_an_error(&self) -> bool {
        matches!(self.word.as_deref(), Some("unavailable" | "unknown_outcome"))
    }
}

fn now() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "the gateway's clock is the system's here")]
    jiff::Timestamp::now().as_millisecond()
}

/// Asks, and goes away after so many milliseconds if there is no answer yet.
async fn ask_for(gateway: &Gateway, call: &Call, patience: Option<u64>) -> Told {
    let selector = format!("nativeID={}&detail=1", call.graph_id);
    let answer = gateway.delete(&selector);
    let word = match patience {
        None => Some(answer.await.word().to_owned()),
        Some(patience) => {
            let answer = tokio::time::timeout(Duration::from_millis(patience), answer).await;
            answer.ok().map(|answer| answer.word().to_owned())
        }
    };
    Told { call: call.graph_id.clone(), word, at: now() }
}

/// The calls whose first attempt began after they had been answered with an error.
fn begun_afterwards<'t>(gateway: &Gateway, told: &'t [Told]) -> Vec<&'t str> {
    let begun = |one: &&Told| {
        let first: Option<i64> = gateway.value(&format!(
            "SELECT min(attempts.started_at) FROM attempts JOIN deletions USING (deletion) \
             JOIN calls USING (call) WHERE graph_id = '{}'",
            one.call
        ));
        first.is_some_and(|first| first > one.at)
    };
    let errors = told.iter().filter(|one| one.is_an_error());
    errors.filter(begun).map(|one| one.call.as_str()).collect()
}

/// Many clients, few slots, a wait that ends about when Graph answers.
async fn race(seed: u64) -> (Gateway, Vec<Told>) {
    let gateway = Gateway::with(
        "legacy.on_pending = \"error\"\nlegacy.wait = \"60ms\"\ngraph.concurrency = 2",
    )
    .await;
    gateway.graph.fault(json!({"method": "DELETE", "delayMs": 20})).await;
    let made: Vec<_> = (0..40).map(|_| call("8856", json!({}))).collect();
    let calls = gateway.calls(&made).await;
    let mut seeded = Seeded::new(seed);
    let patience: Vec<_> = calls
        .iter()
        .map(|_| seeded.percent(40).then(|| 20 + u64::try_from(seeded.below(80)).expect("small")))
        .collect();
    let all = calls.iter().zip(patience).map(|(call, patience)| ask_for(&gateway, call, patience));
    let told = all_of(all).await;
    (gateway, told)
}

async fn nothing_is_open(gateway: &Gateway) {
    let open = "SELECT count(*) FROM deletions WHERE state = 'open'";
    until("nothing is open", async || (gateway.value::<i64>(open) == 0).then_some(())).await;
}

#[tokio::test]
async fn what_was_answered_with_an_error_is_never_begun_afterwards() {
    for restarts in [false, true] {
        let (mut gateway, told) = race(u64::from(restarts)).await;
        if restarts {
            gateway = Gateway::serve(gateway.stop().await).await;
        }
        nothing_is_open(&gateway).await;
        assert_eq!(begun_afterwards(&gateway, &told), [""; 0]);
        let deletes = gateway.graph.deletes().await;
        for one in &told {
            let is_sent = deletes.contains(&one.call);
            match one.word.as_deref() {
                Some("unavailable") => assert!(!is_sent, "{} was withdrawn", one.call),
                Some("sent" | "unknown_outcome") => assert!(is_sent, "{}", one.call),
                Some(word) => panic!("{word}"),
                None => {}
            }
        }
        let count = |word| told.iter().filter(|one| one.word.as_deref() == word).count();
        assert!(count(None) > 0 && count(Some("unavailable")) > 0, "nothing was met");
    }
}

#[tokio::test]
async fn what_would_begin_after_its_error_is_noticed() {
    let (gateway, told) = race(2).await;
    nothing_is_open(&gateway).await;
    // As if what was withdrawn stayed open.
    gateway
        .change("UPDATE steps SET state = 'open', next_attempt_at = 1 WHERE state = 'cancelled'");
    gateway
        .change("UPDATE deletions SET state = 'open', settled_at = NULL WHERE state = 'cancelled'");
    until("it begins", async || (!begun_afterwards(&gateway, &told).is_empty()).then_some(()))
        .await;
}

#[tokio::test]
async fn who_joined_what_is_withdrawn_hears_it_and_who_repeats_it_asks_anew() {
    let lines = "legacy.on_pending = \"error\"\nlegacy.wait = \"2s\"";
    let gateway = Gateway::with(lines).await;
    let other = gateway.new_key(&[]).await;
    let call = gateway.call("8856").await;
    // Nothing begins, so whoever asked may withdraw it.
    gateway.run(&["pause"]).await;
    let selector = format!("nativeID={}&detail=1", call.graph_id);
    let request =
        |key: &Key| format!("GET /verba/api?{} HTTP/1.1\r\nHost: a\r\n\r\n", key.query(&selector));
    let (mut own, mut joined) = (gateway.connect().await, gateway.connect().await);
    own.send(request(&gateway.key)).await;
    until("it is recorded", async || (gateway.recorded() == 1).then_some(())).await;
    joined.send(request(&other)).await;
    let (own, joined) = (own.answer().await, joined.answer().await);
    assert_eq!((own.code(), own.word()), (2, "unavailable"), "{}", own.body);
    assert_eq!((joined.code(), joined.word()), (2, "unavailable"), "{}", joined.body);
    assert_eq!(own.element("DeletionID"), joined.element("DeletionID"));
    gateway.run(&["resume"]).await;
    let again = gateway.get(&other.query(&selector)).await;
    assert_eq!((again.code(), again.word()), (0, "sent"), "{}", again.body);
    assert_ne!(again.element("DeletionID"), own.element("DeletionID"));
    gateway.settles(own.element("DeletionID"), "cancelled").await;
    assert_eq!(gateway.graph.deletes().await, [call.graph_id.as_str()]);
}

#[tokio::test]
async fn a_kill_between_request_and_answer_revives_nothing_that_was_withdrawn() {
    let site =
        Site::with("legacy.on_pending = \"error\"\nlegacy.wait = \"100ms\"\ngraph.concurrency = 1")
            .await;
    let made: Vec<_> = (0..3).map(|_| call("8856", json!({}))).collect();
    let calls = site.calls(&made).await;
    site.graph.fault(json!({"method": "DELETE", "delayMs": 600_000, "times": 1})).await;
    let process = Process::start(&site, &["-q"]).await;
    let query = |call: &Call| site.key.query(&format!("nativeID={}&detail=1", call.graph_id));
    let begun = process.get(&site, &query(&calls[0])).await;
    assert_eq!((begun.code(), begun.word()), (2, "unknown_outcome"), "{}", begun.body);
    let withdrawn = process.get(&site, &query(&calls[1])).await;
    assert_eq!((withdrawn.code(), withdrawn.word()), (2, "unavailable"), "{}", withdrawn.body);
    // The third goes away, and hears nothing; when it was slow about it, it was withdrawn before.
    let mut client = process.connect(&site).await;
    client.send(format!("GET /verba/api?{} HTTP/1.1\r\nHost: a\r\n\r\n", query(&calls[2]))).await;
    let three = "SELECT count(*) FROM deletions";
    until("it is recorded", async || (site.value::<i64>(three) == 3).then_some(())).await;
    drop(client);
    process.kill().await;

    let process = Process::start(&site, &["-q"]).await;
    let open = "SELECT count(*) FROM deletions WHERE state = 'open'";
    until("nothing is open", async || (site.value::<i64>(open) == 0).then_some(())).await;
    let deletes = site.graph.deletes().await;
    assert!(!deletes.contains(&calls[1].graph_id), "{deletes:?}");
    assert!(deletes.contains(&calls[0].graph_id), "{deletes:?}");
    let states = "SELECT deletions.state FROM deletions JOIN calls USING (call) WHERE graph_id = ";
    let third: String = site.value(&format!("{states}'{}'", calls[2].graph_id));
    assert_eq!(deletes.contains(&calls[2].graph_id), third != "cancelled", "{third}");
    process.kill().await;
}
