//! Somebody sets the machine's clock, while the gateway runs and while it does not: nothing is promised
//! falsely, nothing stops, and the operator is told.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::support::{Gateway, Key, Process, Site, all_of, call, until};

const SECOND: i64 = 1_000;
const HOUR: i64 = 3600 * SECOND;
const DAY: i64 = 24 * HOUR;

/// A gateway with one accepted deletion, which Graph throttled a moment ago.
async fn throttled(seconds: &str) -> (Gateway, String) {
    let gateway = Gateway::with("legacy.wait = \"50ms\"\ngraph.deadline = \"12h\"").await;
    let call = gateway.call("8856").await;
    let answer = json!({"method": "DELETE", "status": 429, "retryAfter": seconds, "times": 1});
    gateway.graph.fault(answer).await;
    let answer = gateway.delete(&format!("callID={}&detail=1", call.id)).await;
    assert_eq!((answer.code(), answer.word()), (0, "accepted"));
    gateway.graph.has_deletes(1).await;
    let waits = "SELECT count(*) FROM steps WHERE lease_owner IS NULL AND state = 'open'";
    let probe = async || (gateway.value::<i64>(waits) == 1).then_some(());
    until("it waits for its next attempt", probe).await;
    (gateway, answer.element("DeletionID").to_owned())
}

async fn says(gateway: &Gateway, what: &str) {
    let probe = async || gateway.readiness().await.contains(what).then_some(());
    until(what, probe).await;
}

#[tokio::test]
async fn a_clock_that_is_set_back_stops_nothing() {
    for by in [SECOND, HOUR, 30 * DAY] {
        let (gateway, deletion) = throttled("2").await;
        gateway.clock.set(-by);
        says(&gateway, "degraded: clock: it was set back").await;
        gateway.settles(&deletion, "sent").await;
        assert_eq!(gateway.graph.deletes().await.len(), 2);
    }
}

#[tokio::test]
async fn a_clock_that_is_set_forward_ends_no_wait_early() {
    for by in [SECOND, HOUR] {
        let (gateway, deletion) = throttled("3").await;
        gateway.clock.set(by);
        says(&gateway, "degraded: clock: it was set forward").await;
        assert_eq!(gateway.graph.deletes().await.len(), 1, "Graph asked for three seconds");
        gateway.settles(&deletion, "sent").await;
    }
}

#[tokio::test]
async fn a_clock_that_is_set_past_the_deadline_ends_it_and_says_why() {
    let (gateway, deletion) = throttled("60").await;
    gateway.clock.set(30 * DAY);
    says(&gateway, "degraded: clock: it was set forward").await;
    gateway.settles(&deletion, "obsolete").await;
    assert_eq!(gateway.graph.deletes().await.len(), 1);
}

#[tokio::test]
async fn a_clock_that_was_set_back_over_a_restart_stops_nothing() {
    for by in [SECOND, HOUR, 30 * DAY] {
        let (gateway, deletion) = throttled("1").await;
        // The next start has the system's time again.
        gateway.clock.set(by);
        if by == 30 * DAY {
            // It ends by its deadline, and no later start takes it up.
            gateway.settles(&deletion, "obsolete").await;
            continue;
        }
        says(&gateway, "degraded: clock").await;
        let site = gateway.stop().await;
        let gateway = Gateway::serve(site).await;
        gateway.settles(&deletion, "sent").await;
    }
}

#[tokio::test]
async fn a_request_on_its_way_is_sent_once_whatever_the_clock_says_of_its_lease() {
    for by in [-30 * DAY, -HOUR, HOUR] {
        let gateway = Gateway::with("legacy.wait = \"50ms\"").await;
        let call = gateway.call("8856").await;
        gateway.graph.fault(json!({"method": "DELETE", "delayMs": 3_000, "times": 1})).await;
        let answer = gateway.delete(&format!("callID={}&detail=1", call.id)).await;
        assert_eq!(answer.word(), "accepted");
        gateway.graph.has_deletes(1).await;
        gateway.clock.set(by);
        says(&gateway, "degraded: clock").await;
        // Graph may have been asked for the end as well by then.
        let taken = "SELECT state IN ('sent', 'confirmed') FROM deletions";
        until("Graph has taken it", async || gateway.value::<bool>(taken).then_some(())).await;
        assert_eq!(gateway.graph.deletes().await.len(), 1, "{by}");
    }
}

/// Stops a gateway, has its clock set while it does not run, and starts it again.
async fn restarted(gateway: Gateway, by: i64) -> Gateway {
    let clock = gateway.clock.clone();
    let site = gateway.stop().await;
    clock.set(by);
    Gateway::serve_by(clock, site).await
}

#[tokio::test]
async fn a_clock_that_is_set_back_while_it_is_stopped_ends_no_wait_early_and_loses_nothing() {
    for by in [-SECOND, -HOUR, -30 * DAY] {
        let began = Instant::now();
        let (gateway, deletion) = throttled("4").await;
        let gateway = restarted(gateway, by).await;
        // Graph asked for it later than that.
        while began.elapsed() < Duration::from_millis(3_900) {
            assert_eq!(gateway.graph.deletes().await.len(), 1, "Graph asked for four seconds");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        gateway.settles(&deletion, "sent").await;
        assert_eq!(gateway.graph.deletes().await.len(), 2);
    }
}

#[tokio::test]
async fn a_clock_that_is_set_forward_while_it_is_stopped_is_taken_for_time_that_passed() {
    let (gateway, deletion) = throttled("60").await;
    let gateway = restarted(gateway, HOUR).await;
    gateway.settles(&deletion, "sent").await;
    assert_eq!(gateway.graph.deletes().await.len(), 2);

    let (gateway, deletion) = throttled("4").await;
    let gateway = restarted(gateway, 30 * DAY).await;
    gateway.settles(&deletion, "obsolete").await;
    let why: String = gateway.value("SELECT failure FROM deletions");
    assert_eq!(why, "its deadline passed before Graph took it");
    assert_eq!(gateway.graph.deletes().await.len(), 1);
    // An operator who sets the clock right has it tried again, when Graph's four seconds are over.
    let gateway = restarted(gateway, -30 * DAY).await;
    gateway.run(&["deletions", "retry", &deletion]).await;
    gateway.settles(&deletion, "sent").await;
}

#[tokio::test]
async fn what_passed_its_deadline_while_it_was_stopped_is_told_in_one_line() {
    let site = Site::with("legacy.wait = \"1ms\"\ngraph.deadline = \"12h\"").await;
    site.graph.fault(json!({"method": "DELETE", "status": 429, "retryAfter": "60"})).await;
    let calls = site.calls(&[call("8856", json!({})), call("8857", json!({}))]).await;
    let process = Process::start(&site, &[]).await;
    for call in &calls {
        process.get(&site, &site.key.query(&format!("callID={}", call.id))).await;
    }
    site.graph.has_deletes(2).await;
    let answered = "SELECT count(*) FROM attempts WHERE answered_at IS NOT NULL";
    until("both wait", async || (site.value::<i64>(answered) == 2).then_some(())).await;
    process.signal("TERM").await;
    process.end().await;
    // To the next process it is as if the clock had been set forward.
    for change in [
        "UPDATE deletions SET created_at = created_at - 2592000000, \
         deadline_at = deadline_at - 2592000000",
        "UPDATE steps SET deadline_at = deadline_at - 2592000000, \
         next_attempt_at = next_attempt_at - 2592000000",
        "UPDATE attempts SET started_at = started_at - 2592000000",
        "UPDATE serving SET started_at = started_at - 2592000000, seen_at = seen_at - 2592000000, \
         seen_as = seen_as - 2592000000",
        "UPDATE audit SET at = at - 2592000000",
    ] {
        site.change(change);
    }
    let process = Process::start(&site, &[]).await;
    let over = "SELECT count(*) FROM deletions WHERE state = 'obsolete'";
    until("both are over", async || (site.value::<i64>(over) == 2).then_some(())).await;
    let log = std::fs::read_to_string(&process.log).expect("a log is text");
    let told: Vec<_> = log.lines().filter(|line| line.contains("the newest record is")).collect();
    assert_eq!(told.len(), 1, "{log}");
    assert!(told[0].contains("reached their deadline while nothing was sent: 2;"), "{told:?}");
    assert_eq!(site.graph.deletes().await.len(), 2);
}

/// Says that a call of 8856 begins, as a bot does, whose key does not depend on the clock.
async fn begins(gateway: &Gateway, bot: &Key, id: &str) {
    let told = json!({"value": [{
        "changeType": "created",
        "resourceUrl": format!("/communications/calls/{id}"),
        "resourceData": {
            "state": "incoming", "targets": [{"identity": {"phone": {"id": "8856"}}}],
        },
    }]});
    let answer = gateway.notify(&[("X-Api-Key", &bot.secret)], &told.to_string()).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
}

/// A gateway with one deletion that is armed, whose id this gives, and the key of a bot.
async fn armed() -> (Gateway, String, Key) {
    let gateway = Gateway::start().await;
    let key = gateway.key_with(&["DeleteCall", "next"]).await;
    let bot = gateway.new_key(&["--right", "Notify"]).await;
    let answer = gateway.get(&key.query("extension=8856&status=next&detail=1")).await;
    assert_eq!(answer.word(), "armed", "{}", answer.body);
    (gateway, answer.element("DeletionID").to_owned(), bot)
}

#[tokio::test]
async fn what_is_armed_fires_for_no_later_call_after_the_clock_was_set_while_it_was_stopped() {
    for by in [HOUR, 30 * DAY, -30 * SECOND, -HOUR, -30 * DAY] {
        let (gateway, deletion, bot) = armed().await;
        let gateway = restarted(gateway, by).await;
        begins(&gateway, &bot, "later").await;
        gateway.settles(&deletion, "obsolete").await;
        assert_eq!(gateway.value::<i64>("SELECT count(*) FROM steps"), 0, "{by}");
        assert!(gateway.graph.requests().await.is_empty(), "{by}");
    }
}

#[tokio::test]
async fn what_is_armed_fires_for_the_next_call_whatever_is_done_to_the_clock_while_it_runs() {
    for by in [-30 * DAY, -HOUR, -30 * SECOND, 2 * SECOND, HOUR, 30 * DAY] {
        for is_noticed in [false, true] {
            let (gateway, deletion, bot) = armed().await;
            gateway.clock.set(by);
            if is_noticed {
                says(&gateway, "degraded: clock").await;
            }
            begins(&gateway, &bot, "first").await;
            let known = format!("SELECT call FROM deletions WHERE deletion_id = '{deletion}'");
            assert!(gateway.value::<Option<i64>>(&known).is_some(), "{by} {is_noticed}");
        }
    }
}

#[tokio::test]
async fn what_is_armed_is_armed_for_a_minute_whatever_is_done_to_the_clock() {
    for by in [-HOUR, HOUR] {
        let (gateway, deletion, bot) = armed().await;
        gateway.clock.set(by);
        says(&gateway, "degraded: clock").await;
        gateway.clock.advance(Duration::from_secs(61));
        gateway.settles(&deletion, "obsolete").await;
        begins(&gateway, &bot, "later").await;
        assert_eq!(gateway.value::<i64>("SELECT count(*) FROM steps"), 0, "{by}");
    }
}

/// Nothing is sent a second time until so long after `began`, and then it is.
async fn keeps_quiet(gateway: &Gateway, began: Instant, milliseconds: u64, calls: usize) {
    while began.elapsed() < Duration::from_millis(milliseconds) {
        assert_eq!(gateway.graph.deletes().await.len(), calls, "after {:?}", began.elapsed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    gateway.graph.has_deletes(2 * calls).await;
}

#[tokio::test]
async fn a_clock_that_is_set_while_an_answer_comes_changes_no_wait() {
    for by in [-HOUR, HOUR] {
        let gateway = Gateway::with("legacy.wait = \"50ms\"\ngraph.deadline = \"12h\"").await;
        let calls =
            all_of((0..8).map(async |number| gateway.call(&format!("885{number}")).await)).await;
        for (call, delay) in calls.iter().zip((900..).step_by(120)) {
            let path = format!("/v1.0/communications/calls/{}", call.graph_id);
            let slow = json!({
                "method": "DELETE", "path": path, "status": 429, "retryAfter": "4",
                "delayMs": delay, "times": 1,
            });
            gateway.graph.fault(slow).await;
        }
        let began = Instant::now();
        for call in &calls {
            gateway.delete(&format!("callID={}", call.id)).await;
        }
        gateway.graph.has_deletes(calls.len()).await;
        tokio::time::sleep_until(began + Duration::from_millis(1_300)).await;
        gateway.clock.set(by);
        // The first was answered after 0.9 s.
        keeps_quiet(&gateway, began, 4_900, calls.len()).await;
    }
}

#[tokio::test]
async fn a_clock_that_is_set_while_nothing_can_be_written_ends_no_wait_early() {
    let began = Instant::now();
    let (gateway, deletion) = throttled("9").await;
    let other_hand = gateway.database();
    other_hand.execute_batch("BEGIN IMMEDIATE").expect("nobody else writes");
    gateway.clock.set(HOUR);
    // Longer than anybody waits for the store.
    tokio::time::sleep(Duration::from_secs(6)).await;
    other_hand.execute_batch("ROLLBACK").expect("it is open");
    keeps_quiet(&gateway, began, 9_000, 1).await;
    gateway.settles(&deletion, "sent").await;
}

#[tokio::test]
async fn a_clock_that_was_wrong_and_is_set_right_before_a_restart_is_corrected_for_once() {
    for by in [HOUR, -HOUR] {
        let gateway = Gateway::with("legacy.wait = \"50ms\"\ngraph.deadline = \"12h\"").await;
        let call = gateway.call("8856").await;
        gateway.clock.set(by);
        says(&gateway, "degraded: clock").await;
        let answer = json!({"method": "DELETE", "status": 429, "retryAfter": "5", "times": 1});
        gateway.graph.fault(answer).await;
        let began = Instant::now();
        let answer = gateway.delete(&format!("callID={}&detail=1", call.id)).await;
        assert_eq!(answer.word(), "accepted");
        gateway.graph.has_deletes(1).await;
        gateway.clock.set(-by);
        let right = if by < 0 {
            "degraded: clock: it was set forward"
        } else {
            "degraded: clock: it was set back"
        };
        says(&gateway, right).await;
        let gateway = restarted(gateway, 0).await;
        keeps_quiet(&gateway, began, 5_000, 1).await;
        gateway.settles(answer.element("DeletionID"), "sent").await;
    }
}

#[tokio::test]
async fn a_wait_beyond_the_deadline_does_not_end_when_the_clock_moves_the_deadline_away() {
    let gateway = Gateway::with(
        "legacy.wait = \"60s\"\ngraph.request_timeout = \"1s\"\ngraph.deadline = \"5s\"",
    )
    .await;
    let call = gateway.call("8856").await;
    let answer = json!({"method": "DELETE", "status": 429, "retryAfter": "7", "times": 1});
    gateway.graph.fault(answer).await;
    let began = Instant::now();
    // Nobody waits for it any more: who does is told that nothing more is sent, and it ends.
    let mut client = gateway.connect().await;
    let query = gateway.key.query(&format!("callID={}", call.id));
    client.send(format!("GET /verba/api?{query} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
    gateway.graph.has_deletes(1).await;
    drop(client);
    gateway.clock.set(-HOUR);
    keeps_quiet(&gateway, began, 7_000, 1).await;
}

#[tokio::test]
async fn keys_and_tokens_expire_by_the_clock_of_the_next_start() {
    let site = Site::new().await;
    let call = site.call("8856").await;
    let lasting = site.key(&["--requires-token", "--right", "GetCallID"]).await;
    let token = site.token(&lasting).await;
    let brief = site.key(&[]).await;
    site.change(&format!(
        "UPDATE keys SET expires_at = (unixepoch() + 86400) * 1000 WHERE key_id = '{}'",
        brief.id
    ));
    let mut gateway = Gateway::serve(site).await;
    for (by, of_token, of_key) in
        [(0, 0, 0), (2 * HOUR, -43, 0), (30 * DAY, -43, -41), (-30 * DAY - 2 * HOUR, 0, 0)]
    {
        gateway = restarted(gateway, by).await;
        let selector = format!("callID={}", call.id);
        let with_token = lasting.ask("GetCallID", &format!("{selector}&token={token}"));
        assert_eq!(gateway.get(&with_token).await.code(), of_token, "{by}");
        let with_key = brief.ask("GetCallID", &selector);
        assert_eq!(gateway.get(&with_key).await.code(), of_key, "{by}");
    }
}
