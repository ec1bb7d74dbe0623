//! What is sent twice, not at all, or judged late: stops, jumps of the clock, answers out of order.

use super::*;
use crate::model::deletion::DeletionState::{Cancelled, Failed, Gone, Sent};
use crate::model::plan::Operation;
use crate::store::admission::{Leased, Next};
use crate::store::fixture::{LEASE, answered};

const NO_SUCH_CALL: &str = "404 Not Found\r\nconnection: close\r\ncontent-length: 25\r\n\r\n\
                            {\"error\":{\"code\":\"8522\"}}";

#[tokio::test]
async fn a_stopping_sender_gives_back_what_it_has_not_begun() {
    let running = Running::start(1).await;
    let leased = running.there.begin("a", NOW).await;
    let place = running.place().await;
    running.stop.send_replace(true);
    running.journal.ready.send(Ready { leased, began: Instant::now(), place }).unwrap();
    let there = running.stop().await;
    let unsent =
        "SELECT count(*) FROM attempts WHERE effect_possible = 0 AND error LIKE 'not sent%'";
    assert_eq!(there.look::<i64>(unsent), 1);
    assert_eq!(there.look::<i64>("SELECT next_attempt_at FROM steps"), NOW.0);
}

#[tokio::test]
async fn a_stopped_sender_gets_nothing_to_begin() {
    let mut running = Running::start(1).await;
    running.stop.send_replace(true);
    running.sender.join_next().await.unwrap().unwrap();
    let (decided, _wait) = running.admit(by_call_id("a")).await;
    assert!(decided.recorded.is_some() && decided.leased.is_none());
    assert_eq!(running.count("SELECT count(*) FROM attempts"), 0);
}

#[tokio::test]
async fn a_jump_of_the_clock_does_not_send_again_what_is_under_way() {
    let mut running = Running::start(4).await;
    let (_, wait) = running.admit(by_call_id("a")).await;
    assert_eq!(running.graph.next().await, "a");
    running.clock.advance(running.journal.rules.lease());
    running.there.record("b", running.clock.now()).await;
    running.journal.wake.notify_one();
    assert_eq!(running.graph.next().await, "b");
    assert_eq!(running.count("SELECT count(*) FROM attempts"), 2);
    running.graph.answer(TAKEN);
    running.graph.answer(TAKEN);
    let mut wait = wait.unwrap();
    assert_eq!(wait.settled().await.state, Sent);
    wait.answered();
    let there = running.stop().await;
    assert_eq!(there.look::<i64>("SELECT count(*) FROM deletions WHERE state = 'sent'"), 2);
    assert_eq!(there.look::<i64>("SELECT count(*) FROM attempts"), 2);
}

#[tokio::test]
async fn an_earlier_attempt_counts_as_it_is_known_when_the_answer_comes() {
    for (earlier_was_throttled, expected) in [(true, Failed), (false, Gone)] {
        let mut running = Running::start(1).await;
        let first = running.there.begin("a", NOW).await;
        let lapsed = NOW + LEASE;
        let store = &running.there.store;
        let due = store.lease_due(lapsed, running.there.lease(lapsed), 1, Vec::new()).await;
        let leased = due.unwrap().leased.remove(0);
        assert!(leased.earlier_effect_possible);
        let place = running.place().await;
        running.journal.ready.send(Ready { leased, began: Instant::now(), place }).unwrap();
        assert_eq!(running.graph.next().await, "a");
        if earlier_was_throttled {
            let throttled = answered(lapsed, 429, Next::At(lapsed));
            assert_eq!(running.there.store.settle(first, throttled).await.unwrap(), None);
        }
        running.graph.answer(NO_SUCH_CALL);
        let there = running.stop().await;
        assert_eq!(there.look::<String>("SELECT state FROM deletions"), expected.as_str());
    }
}

#[tokio::test]
async fn whoever_joined_is_told_of_a_withdrawal_whose_caller_is_gone() {
    let mut running = Running::start(1).await;
    let (_, first) = running.admit(by_call_id("a")).await;
    assert_eq!(running.graph.next().await, "a");
    let (decided, own) = running.admit(by_call_id("b")).await;
    let (_, joined) = running.admit(by_call_id("our-b")).await;
    let first_go = running.hold_the_store().await;
    let (second_go, held) = running.hold_later().await;
    let mut withdraw = Box::pin(running.journal.withdraw(decided.recorded.unwrap()));
    poll_once(&mut withdraw).await;
    // Both are committed together; then the first of them keeps the reply of the other back.
    drop(first_go);
    held.await.unwrap();
    drop(withdraw);
    drop(second_go);
    let mut joined = joined.unwrap();
    assert_eq!(joined.settled().await.state, Cancelled);
    drop((first, own, joined));
    running.graph.answer(TAKEN);
    running.stop().await;
}

#[tokio::test]
async fn a_call_that_was_answered_or_rang_too_long_since_the_lease_is_hung_up() {
    for is_answered in [true, false] {
        let mut running = Running::start(1).await;
        let rings = format!("UPDATE calls SET state = 'incoming', rings_since = {}", NOW.0);
        running.there.by_hand(&rings);
        let leased = running.there.begin("a", NOW).await;
        assert_eq!(leased.order.operation(), Operation::Reject);
        if is_answered {
            running.there.by_hand("UPDATE calls SET state = 'established'");
        } else {
            running.clock.advance(Duration::from_secs(15));
        }
        let place = running.place().await;
        running.journal.ready.send(Ready { leased, began: Instant::now(), place }).unwrap();
        assert_eq!(running.graph.next().await, "a", "a hang-up");
        let unsent = "SELECT count(*) FROM attempts WHERE position = 1 AND error LIKE 'not sent%'";
        assert_eq!(running.count(unsent), 1);
        running.graph.answer(TAKEN);
        let there = running.stop().await;
        assert_eq!(there.look::<String>("SELECT state FROM deletions"), "sent");
    }
}

#[tokio::test]
async fn what_belongs_to_another_app_is_not_sent_and_waits_for_the_operator() {
    let running = Running::start(1).await;
    let leased = running.there.begin("a", NOW).await;
    let leased = Leased { app_id: Some("another".to_owned()), ..leased };
    let place = running.place().await;
    running.journal.ready.send(Ready { leased, began: Instant::now(), place }).unwrap();
    let refused = "SELECT count(*) FROM attempts WHERE error LIKE '%another app%' \
                   AND status IS NULL AND effect_possible = 0";
    while running.count(refused) == 0 {
        tokio::task::yield_now().await;
    }
    let there = running.stop().await;
    let waits =
        format!("SELECT count(*) FROM steps WHERE state = 'open' AND next_attempt_at > {}", NOW.0);
    assert_eq!(there.look::<i64>(&waits), 1);
}

#[tokio::test]
async fn nobody_is_told_of_one_step_of_several_before_it_is_settled() {
    let mut running = Running::start(1).await;
    let (decided, wait) = running.admit(by_call_id("a")).await;
    assert_eq!(running.graph.next().await, "a");
    let mut wait = wait.unwrap();
    // The same deletion, as the last step of `scope=all`: its end is told with the counts.
    running.there.by_hand("UPDATE deletions SET scope = 'all'");
    running.graph.answer("429 Too Many Requests");
    while running.count("SELECT count(*) FROM attempts WHERE status = 429") == 0 {
        tokio::task::yield_now().await;
    }
    running.there.by_hand(
        "INSERT INTO steps (deletion, position, tenant, operation, state, deadline_at) \
         SELECT deletion, 2, tenant, 'read-roster', 'sent', deadline_at FROM deletions",
    );
    running.clock.advance(Duration::from_secs(3));
    running.graph.answer(TAKEN);
    running.journal.wake.notify_one();
    assert_eq!(running.graph.next().await, "a");
    let told = wait.settled().await;
    assert_eq!((Some(told.deletion_id), told.state), (decided.recorded, Sent));
    assert_eq!(told.progress, Some(crate::model::plan::Progress { removed: 0, of: 0 }));
    wait.answered();
    running.stop().await;
}

#[tokio::test]
async fn whoever_waits_is_told_that_graph_took_it_before_that_is_written() {
    let mut running = Running::start(1).await;
    let (_, wait) = running.admit(by_call_id("a")).await;
    assert_eq!(running.graph.next().await, "a");
    running.there.by_hand(
        "CREATE TRIGGER refuse BEFORE UPDATE ON attempts BEGIN SELECT raise(ABORT, 'not now'); END",
    );
    let mut wait = wait.unwrap();
    let (journal, id) = (running.journal.clone(), wait.deletion());
    assert_eq!(journal.taken_ahead(id), None);
    running.graph.answer(TAKEN);
    assert_eq!(wait.settled().await.state, Sent);
    // Whoever asks now is told the same.
    assert_eq!(running.count("SELECT count(*) FROM deletions WHERE state = 'open'"), 1);
    assert_eq!(journal.taken_ahead(id), Some(NOW));
    wait.answered();
    running.there.by_hand("DROP TRIGGER refuse");
    let there = running.stop().await;
    assert_eq!(there.look::<String>("SELECT state FROM deletions"), "sent");
    assert_eq!(journal.taken_ahead(id), None);
    assert_eq!(there.look::<i64>("SELECT count(*) FROM attempts"), 1, "it was sent once");
}

#[tokio::test]
async fn a_stopping_sender_finishes_what_it_has_begun_and_leaves_the_rest() {
    let mut running = Running::start(1).await;
    let (_, first) = running.admit(by_call_id("a")).await;
    let (_, second) = running.admit(by_call_id("b")).await;
    assert_eq!(running.graph.next().await, "a");
    running.stop.send_replace(true);
    running.graph.answer(TAKEN);
    let mut first = first.unwrap();
    assert_eq!(first.settled().await.state, Sent);
    drop((first, second));
    let there = running.stop().await;
    assert_eq!(there.look::<i64>("SELECT count(*) FROM deletions WHERE state = 'open'"), 1);
}
