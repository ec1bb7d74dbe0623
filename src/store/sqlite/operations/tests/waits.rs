//! What Graph or its login asked to wait still counts when an operator tries again.

use super::*;
use crate::clock::Moment;
use crate::model::deletion::{DeletionKind, Scope, WAIT_TOO_LONG};
use crate::store::fixture::{LEASE, by_call_id};

/// Graph or its login asked for a wait of so many seconds, and the step is due then.
pub(super) fn throttled(now: Timestamp, seconds: u64, by_login: bool) -> AttemptEnd {
    let not_before = now + SECOND * u32::try_from(seconds).unwrap();
    let asked = Some(Asked { not_before, by_login });
    AttemptEnd { asked, ..answered(now, 429, Next::At(not_before)) }
}

#[tokio::test]
async fn the_wait_that_graph_asked_for_outlasts_a_cancellation_an_end_and_a_start() {
    let there = Fixture::new().await;
    there.call("a", "100").await;
    let leased = there.begin("a", NOW).await;
    let id = leased.deletion_id;
    there.store.settle(leased, throttled(NOW, 60, false)).await.unwrap();
    assert_eq!(there.cancel(id, NOW).await, None);
    let judged = there.retry_all(&[id], NOW, Manner::Preview).await.remove(0);
    assert_eq!(judged.due, Some(NOW + SECOND * 60));
    assert_eq!(there.retry(id, NOW).await, None);
    assert!(there.all_due_at(NOW + SECOND * 59).await.is_empty());
    there.store.take_over(ProcessId::random(), NOW + SECOND * 59).await.unwrap();
    assert!(there.all_due_at(NOW + SECOND * 59).await.is_empty());
    let leased = there.all_due_at(NOW + SECOND * 60).await.remove(0);
    assert_eq!(leased.deadline, NOW + SECOND * 60 + DEADLINE, "counted from when it may be sent");

    // Graph asks for more than the deletion has: it ends at its deadline, and the wait goes on.
    let (now, end) = (NOW + SECOND * 60, leased.deadline);
    let wait = DEADLINE.as_secs() + 60;
    there.store.settle(leased, throttled(now, wait, false)).await.unwrap();
    assert!(there.all_due_at(end).await.is_empty());
    assert_eq!(there.state_of(id).await, Obsolete);
    assert_eq!(there.retry(id, end).await, None);
    assert!(there.all_due_at(end + SECOND * 59).await.is_empty());
    assert_eq!(there.all_due_at(end + SECOND * 60).await.len(), 1);
    // A wait that is over is none.
    let past = there.ended("b", 403, Failed).await;
    let judged = there.retry_all(&[past], end, Manner::Preview).await.remove(0);
    assert_eq!(judged.due, None);
}

#[tokio::test]
async fn a_new_request_for_the_same_waits_as_well_and_one_for_something_else_does_not() {
    for (by_login, everybody, is_kept) in
        [(false, false, true), (false, true, false), (true, false, false)]
    {
        let there = Fixture::new().await;
        there.call("a", "100").await;
        let leased = there.begin("a", NOW).await;
        let id = leased.deletion_id;
        there.store.settle(leased, throttled(NOW, 60, by_login)).await.unwrap();
        assert_eq!(there.cancel(id, NOW).await, None);
        let mut ask = there.ask(by_call_id("a"), NOW + SECOND).await;
        ask.lease = Some(there.lease(NOW + SECOND));
        if everybody {
            ask.question.kind = DeletionKind::DeleteCall(Scope::All { most: 9 });
        }
        let decided = there.admit(ask).await;
        assert!(decided.recorded.is_some_and(|recorded| recorded != id));
        assert_eq!(decided.leased.is_none(), is_kept, "{by_login} {everybody}");
        assert!(there.all_due_at(NOW + SECOND * 59).await.is_empty());
        let again = decided.recorded.filter(|_| is_kept);
        let due: Vec<_> = there.all_due_at(NOW + SECOND * 60).await;
        let due: Vec<_> = due.iter().map(|leased| leased.deletion_id).collect();
        assert_eq!(due, again.into_iter().collect::<Vec<_>>(), "{by_login} {everybody}");
    }
}

#[tokio::test]
async fn what_another_request_was_asked_to_wait_keeps_a_retry_back_as_well() {
    let there = Fixture::new().await;
    there.call("a", "100").await;
    let never_sent = there.record("a", NOW).await;
    assert_eq!(there.cancel(never_sent, NOW).await, None);
    let throttled_one = there.begin("a", NOW).await;
    let other = throttled_one.deletion_id;
    there.store.settle(throttled_one, throttled(NOW, 60, false)).await.unwrap();
    assert_eq!(there.cancel(other, NOW).await, None);
    let judged = there.retry_all(&[never_sent], NOW, Manner::AllOrNone).await.remove(0);
    assert_eq!(judged.due, Some(NOW + SECOND * 60));
    assert!(there.all_due_at(NOW + SECOND * 59).await.is_empty());
    assert_eq!(there.all_due_at(NOW + SECOND * 60).await.len(), 1);
}

#[tokio::test]
async fn who_asks_for_what_can_only_be_sent_after_its_deadline_is_told_that_it_is_not_sent() {
    for wait in [DEADLINE.as_secs() + 10, DEADLINE.as_secs() - 10] {
        let is_too_long = wait > DEADLINE.as_secs();
        let there = Fixture::new().await;
        there.call("a", "100").await;
        let leased = there.begin("a", NOW).await;
        let first = leased.deletion_id;
        there.store.settle(leased, throttled(NOW, wait, false)).await.unwrap();
        if is_too_long {
            // Its own caller is told as well.
            assert_eq!(there.store.standing(first, NOW + SECOND).await.unwrap().state, Obsolete);
        } else {
            assert_eq!(there.cancel(first, NOW).await, None);
        }
        let mut ask = there.ask(by_call_id("a"), NOW + SECOND).await;
        ask.lease = Some(there.lease(NOW + SECOND));
        let decided = there.admit(ask).await;
        assert_eq!((decided.leased.is_none(), decided.kept_back), (true, is_too_long));
        let id = decided.recorded.unwrap();
        let settled = there.store.standing(id, NOW + SECOND).await.unwrap();
        assert_eq!(settled.state, if is_too_long { Obsolete } else { Open });
        assert_eq!(settled.failure, is_too_long.then(|| WAIT_TOO_LONG.to_owned()));
        let obstacle = is_too_long.then_some(Obstacle::Denied);
        assert_eq!(there.retry(id, NOW + SECOND).await.filter(|_| is_too_long), obstacle);
    }
}

#[tokio::test]
async fn what_comes_in_place_of_another_step_waits_as_that_one_was_asked_to_whatever_the_login_does()
 {
    let there = Fixture::new().await;
    there.call("a", "100").await;
    let leased = there.begin("a", NOW).await;
    let id = leased.deletion_id;
    // As a rejection that became a hang-up.
    there.store.settle(leased, throttled(NOW, 1800, false)).await.unwrap();
    there.by_hand(
        "UPDATE steps SET operation = 'reject', state = 'obsolete', next_attempt_at = NULL; \
         INSERT INTO steps (deletion, position, tenant, operation, state, attempts, next_attempt_at, \
         deadline_at, fence) SELECT deletion, 2, tenant, 'hang-up', 'open', attempts, \
         (SELECT not_before FROM attempts), deadline_at, fence FROM steps; \
         UPDATE tenants SET login_not_before = 1",
    );
    there.store.take_over(ProcessId::random(), NOW + SECOND * 600).await.unwrap();
    assert!(there.all_due_at(NOW + SECOND * 1799).await.is_empty());
    let due = there.all_due_at(NOW + SECOND * 1800).await;
    assert_eq!(due.iter().map(|leased| leased.deletion_id).collect::<Vec<_>>(), [id]);
}

#[tokio::test]
async fn what_waited_for_a_login_is_due_when_it_lets_us_in_or_may_be_asked_anew() {
    for starts in [true, false] {
        let there = Fixture::new().await;
        let mut waiting = Vec::new();
        for (call, by_login) in [("a", true), ("b", false), ("c", true)] {
            there.call(call, "100").await;
            let leased = there.begin(call, NOW).await;
            waiting.push(leased.deletion_id);
            there.store.settle(leased, throttled(NOW, 3600, by_login)).await.unwrap();
        }
        assert!(there.all_due_at(NOW + SECOND * 600).await.is_empty());
        let now = NOW + SECOND * 601;
        if starts {
            there.store.take_over(ProcessId::random(), now).await.unwrap();
        } else {
            there.call("d", "100").await;
            let leased = there.begin("d", now).await;
            there.store.settle(leased, answered(now, 204, over(Sent, None, false))).await.unwrap();
        }
        let due = there.all_due_at(now).await;
        let due: Vec<_> = due.iter().map(|leased| leased.deletion_id).collect();
        assert_eq!(due, [waiting[0], waiting[2]], "what Graph asked for is waited for: {starts}");
        let judged = there.retry_all(&[waiting[0]], now, Manner::Preview).await.remove(0);
        assert_eq!(judged.due, None);
    }
}

#[tokio::test]
async fn what_the_login_asked_for_keeps_every_deletion_of_the_tenant_back() {
    let there = Fixture::new().await;
    let failed = there.ended("a", 403, Failed).await;
    there.call("b", "100").await;
    let leased = there.begin("b", NOW).await;
    let other = leased.deletion_id;
    there.store.settle(leased, throttled(NOW, 60, true)).await.unwrap();
    assert_eq!(there.cancel(other, NOW).await, None);
    let judged = there.retry_all(&[failed, other], NOW, Manner::AllOrNone).await;
    let due = Some(NOW + SECOND * 60);
    assert_eq!(judged.iter().map(|one| one.due).collect::<Vec<_>>(), [due, due]);
    assert!(there.all_due_at(NOW + SECOND * 59).await.is_empty());
    assert_eq!(there.all_due_at(NOW + SECOND * 60).await.len(), 2);
}

#[tokio::test]
async fn what_a_late_answer_asks_for_is_waited_for_as_well() {
    let there = Fixture::new().await;
    there.call("a", "100").await;
    let stalled = there.begin("a", NOW).await;
    let lapsed = NOW + LEASE;
    let second = there.all_due_at(lapsed).await.remove(0);
    there.store.settle(stalled, throttled(lapsed, 600, false)).await.unwrap();
    let early = lapsed + SECOND;
    there.store.settle(second, answered(lapsed, 503, Next::At(early))).await.unwrap();
    assert!(there.all_due_at(early).await.is_empty());
    assert!(there.all_due_at(lapsed + SECOND * 599).await.is_empty());
    assert_eq!(there.all_due_at(lapsed + SECOND * 600).await.len(), 1);
}

#[tokio::test]
async fn a_clock_that_is_set_makes_the_wait_neither_longer_nor_shorter() {
    for hours in [-5_i64, 5] {
        let there = Fixture::new().await;
        there.store.take_over(there.process, NOW).await.unwrap();
        there.call("a", "100").await;
        let leased = there.begin("a", NOW).await;
        let id = leased.deletion_id;
        there.store.settle(leased, throttled(NOW, 60, true)).await.unwrap();
        assert_eq!(there.cancel(id, NOW).await, None);
        let by = hours * 3_600_000;
        let now = Timestamp(NOW.0 + by);
        there.set_clock(NOW, now).await;
        let judged = there.retry_all(&[id], now, Manner::AllOrNone).await.remove(0);
        assert_eq!(judged.due, Some(now + SECOND * 60), "{hours}");
    }
}

#[tokio::test]
async fn a_wait_that_is_over_stays_so_when_the_clock_is_set() {
    for hours in [-5_i64, 5] {
        let there = Fixture::new().await;
        there.store.take_over(there.process, NOW).await.unwrap();
        there.call("a", "100").await;
        let leased = there.begin("a", NOW).await;
        let id = leased.deletion_id;
        there.store.settle(leased, throttled(NOW, 60, false)).await.unwrap();
        assert_eq!(there.cancel(id, NOW).await, None);
        let over = NOW + SECOND * 61;
        let now = over.moved(hours * 3_600_000);
        there.set_clock(over, now).await;
        let judged = there.retry_all(&[id], now, Manner::Preview).await.remove(0);
        assert_eq!(judged.due, None, "{hours}");
    }
}

#[tokio::test]
async fn what_is_tried_again_waits_for_no_clock_that_the_sender_has_not_seen_yet() {
    for hours in [-5_i64, 5] {
        let there = Fixture::new().await;
        there.store.take_over(there.process, NOW).await.unwrap();
        let failed = there.ended("a", 403, Failed).await;
        there.call("b", "100").await;
        let leased = there.begin("b", NOW).await;
        let waits = leased.deletion_id;
        there.store.settle(leased, throttled(NOW, 60, false)).await.unwrap();
        assert_eq!(there.cancel(waits, NOW).await, None);
        let set = NOW.moved(hours * 3_600_000);
        let judged = there.retry_all(&[failed, waits], set, Manner::AllOrNone).await;
        assert!(judged.iter().all(|one| one.obstacle.is_none()));
        for (passed, expected) in [(0, 1), (59, 0), (60, 1)] {
            let (wall, steady) = (set + SECOND * passed, NOW + SECOND * passed);
            let lease = there.lease(wall + DEADLINE);
            let due = there.store.lease_due(Moment { wall, steady }, lease, 9, Vec::new()).await;
            assert_eq!(due.unwrap().leased.len(), expected, "{hours} h, {passed} s");
        }
    }
}
