//! What Graph or its login asked to wait still counts when an operator tries again.

use super::*;
use crate::clock::Moment;

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
