//! Calls that ring: rejected in time, hung up otherwise, and two deletions of one that take turns.

use crate::model::plan::Order;
use std::time::Duration;

use super::news::{nothing, state};
use super::{SECOND, SENT};
use crate::clock::Timestamp;
use crate::id::DeletionId;
use crate::model::call::CallState;
use crate::model::change::CallChange;
use crate::model::deletion::DeletionState::{self, Gone, Obsolete, Sent, Unknown};
use crate::model::deletion::{DeletionKind, ENDED_BEFORE, PAUSE_TOO_LONG, RINGS_NO_MORE};
use crate::model::plan::{Operation, RejectReason};
use crate::store::Due;
use crate::store::admission::{Ask, AttemptEnd, Leased, Next};
use crate::store::fixture::{DEADLINE, Fixture, LEASE, NOW, answered, by_call_id, over};

const RINGS: CallState = CallState::Incoming;

impl Fixture {
    /// A call that began to ring at `NOW`.
    async fn ringing(&self) {
        self.apply(vec![state("a", RINGS)], NOW).await;
    }

    async fn begin_rejection(&self, now: Timestamp) -> (DeletionId, Option<Leased>) {
        let mut ask = self.ask(by_call_id("a"), now).await;
        ask.question.kind = DeletionKind::RejectCall(RejectReason::Busy);
        let decided = self.admit(Ask { lease: Some(self.lease(now)), ..ask }).await;
        (decided.recorded.unwrap(), decided.leased)
    }

    async fn lease_at(&self, now: Timestamp) -> Due {
        self.store.lease_due(now, self.lease(now), 10, Vec::new()).await.unwrap()
    }

    async fn ends(&self, deletion: DeletionId) -> (DeletionState, Option<String>) {
        let row = self.store.deletion(deletion).await.unwrap().unwrap().row;
        (row.state, row.failure)
    }
}

#[tokio::test]
async fn a_call_rings_from_its_first_news_for_15_seconds_or_5_and_only_when_that_was_told() {
    let recorded = CallChange { observed: Some("o".to_owned()), ..state("a", RINGS) };
    for (news, deadline) in [
        (vec![state("a", RINGS)], Some(15)),
        (vec![recorded.clone()], Some(5)),
        (vec![state("a", RINGS), recorded], Some(5)),
        (vec![nothing("a"), state("a", RINGS)], Some(15)),
        (vec![nothing("a")], None),
        (vec![state("a", RINGS), state("a", CallState::Established)], None),
        (vec![state("a", CallState::Established), state("a", RINGS)], None),
    ] {
        let there = Fixture::new().await;
        for (change, seconds) in news.iter().zip(0..) {
            there.apply(vec![change.clone()], NOW + SECOND * seconds).await;
        }
        let leased = there.begin("a", NOW + SECOND * 2).await;
        let rejected_until =
            (leased.order.operation() == Operation::Reject).then_some(leased.deadline);
        assert_eq!(rejected_until, deadline.map(|seconds| NOW + SECOND * seconds), "{news:?}");
    }
}

#[tokio::test]
async fn a_step_that_comes_too_late_is_a_hang_up_that_knows_of_lost_rejections() {
    // A call that was answered was not rejected, whatever became of the attempt.
    for (status, is_answered, possible) in
        [(429, true, false), (503, true, false), (429, false, false), (503, false, true)]
    {
        let there = Fixture::new().await;
        there.ringing().await;
        let first = there.begin("a", NOW).await;
        let again = NOW + SECOND * if is_answered { 3 } else { 20 };
        let settled = there.store.settle(first, answered(NOW, status, Next::At(again))).await;
        assert_eq!(settled.unwrap(), None);
        if is_answered {
            there.apply(vec![state("a", CallState::Established)], NOW + SECOND).await;
        }
        let leased = there.lease_at(again).await.leased.remove(0);
        assert_eq!((leased.order.operation(), leased.step.position), (Operation::HangUp, 2));
        assert_eq!((leased.attempt, leased.earlier_effect_possible), (2, possible));
        let settled =
            there.store.settle(leased, answered(again, 204, SENT)).await.unwrap().unwrap();
        assert_eq!((settled.state, settled.operation), (Sent, Some(Operation::HangUp)));
    }
}

#[tokio::test]
async fn what_would_be_rejected_after_its_deadline_is_hung_up_when_graph_asked_for_it() {
    let there = Fixture::new().await;
    there.ringing().await;
    let leased = there.begin("a", NOW).await;
    let later = NOW + SECOND * 40;
    there.store.settle(leased, answered(NOW, 429, Next::At(later))).await.unwrap();
    let early = there.lease_at(later - Duration::from_millis(1)).await;
    assert!(early.leased.is_empty() && early.next == Some(later), "{early:?}");
    assert_eq!(there.lease_at(later).await.leased[0].order.operation(), Operation::HangUp);
}

#[tokio::test]
async fn a_rejection_that_graph_puts_off_for_too_long_says_so_and_not_that_the_call_was_answered() {
    for (status, state, more) in
        [(429, Obsolete, ""), (503, Unknown, ", and an earlier attempt may have taken effect")]
    {
        let there = Fixture::new().await;
        there.ringing().await;
        let (deletion, leased) = there.begin_rejection(NOW).await;
        let pause = answered(NOW + SECOND, status, Next::At(NOW + SECOND * 30));
        let pause = AttemptEnd { effect_possible: status == 503, ..pause };
        there.store.settle(leased.unwrap(), pause).await.unwrap();
        assert_eq!(there.ends(deletion).await, (state, Some(format!("{PAUSE_TOO_LONG}{more}"))));
    }
}

#[tokio::test]
async fn what_is_open_says_why_it_is_tried_again() {
    let there = Fixture::new().await;
    there.ringing().await;
    let (deletion, leased) = there.begin_rejection(NOW).await;
    let busy = answered(NOW + SECOND, 429, Next::At(NOW + SECOND * 2));
    let busy = AttemptEnd { error: Some("too many requests".to_owned()), ..busy };
    there.store.settle(leased.unwrap(), busy).await.unwrap();
    let known = there.store.deletion(deletion).await.unwrap().unwrap();
    assert_eq!(known.row.state, DeletionState::Open);
    for failure in [&known.row.failure, &known.steps[0].failure] {
        assert_eq!(failure.as_deref(), Some("too many requests"));
    }
}

#[tokio::test]
async fn a_rejection_alone_ends_when_it_comes_too_late() {
    for (status, news, expected) in [
        (429, CallState::Established, (Obsolete, RINGS_NO_MORE.to_owned())),
        (429, CallState::Terminated, (Obsolete, ENDED_BEFORE.to_owned())),
        (503, CallState::Established, (Obsolete, RINGS_NO_MORE.to_owned())),
        (
            503,
            CallState::Terminated,
            (Unknown, format!("{ENDED_BEFORE}, and an earlier attempt may have taken effect")),
        ),
    ] {
        let there = Fixture::new().await;
        there.ringing().await;
        let (deletion, leased) = there.begin_rejection(NOW).await;
        let leased = leased.unwrap();
        assert_eq!(leased.order, Order::Reject(RejectReason::Busy));
        let again = NOW + SECOND * 3;
        there.store.settle(leased, answered(NOW, status, Next::At(again))).await.unwrap();
        there.apply(vec![state("a", news)], NOW + SECOND).await;
        let due = there.lease_at(again).await;
        assert!(due.leased.is_empty());
        let (state, failure) = there.ends(deletion).await;
        assert_eq!((state, failure.unwrap()), expected);
    }
}

#[tokio::test]
async fn a_call_that_was_answered_was_not_rejected_whatever_graph_said() {
    for news_come_first in [false, true] {
        let there = Fixture::new().await;
        there.ringing().await;
        let leased = there.begin("a", NOW).await;
        let deletion = leased.deletion_id;
        assert_eq!(leased.order.operation(), Operation::Reject);
        let answered_call = vec![state("a", CallState::Established)];
        if news_come_first {
            there.apply(answered_call.clone(), NOW + SECOND).await;
        }
        let settled = there.store.settle(leased, answered(NOW + SECOND, 202, SENT)).await.unwrap();
        assert_eq!(settled.is_none(), news_come_first);
        if !news_come_first {
            there.apply(answered_call, NOW + SECOND * 2).await;
        }
        let none = "SELECT count(*) FROM calls WHERE deleted_by IS NOT NULL";
        assert_eq!(there.look::<i64>(none), 0, "it runs, and `ongoing` finds it");
        assert_eq!(there.ends(deletion).await, (DeletionState::Open, None), "it is open again");
        let second = there.lease_at(NOW + SECOND * 60).await.leased.remove(0);
        assert_eq!((second.deletion_id, second.step.position), (deletion, 2));
        assert_eq!((&second.order, second.earlier_effect_possible), (&Order::HangUp, false));
        let settled = there.store.settle(second, answered(NOW + SECOND * 61, 204, SENT)).await;
        assert_eq!(settled.unwrap().unwrap().state, Sent);
        assert_eq!(there.look::<i64>(none), 1);
    }
}

#[tokio::test]
async fn a_deletion_is_opened_again_until_its_deadline_only() {
    let there = Fixture::new().await;
    there.ringing().await;
    let leased = there.begin("a", NOW).await;
    let deletion = leased.deletion_id;
    there.store.settle(leased, answered(NOW, 202, SENT)).await.unwrap();
    let late = NOW + DEADLINE;
    there.apply(vec![state("a", CallState::Established)], late).await;
    assert!(there.lease_at(late).await.leased.is_empty());
    assert_eq!(there.ends(deletion).await.0, Obsolete);
}

#[tokio::test]
async fn what_only_relied_on_a_rejection_is_open_again_and_the_rejection_came_too_late() {
    let there = Fixture::new().await;
    there.ringing().await;
    let (rejection, leased) = there.begin_rejection(NOW).await;
    let second = there.record("a", NOW).await;
    there.store.settle(leased.unwrap(), answered(NOW, 202, SENT)).await.unwrap();
    assert_eq!(there.lease_at(NOW).await.over[0].state, Gone);
    there.apply(vec![state("a", CallState::Established)], NOW + SECOND).await;
    assert_eq!(there.ends(rejection).await, (Obsolete, Some(RINGS_NO_MORE.to_owned())));
    assert_eq!(there.ends(second).await.0, DeletionState::Open);
    assert_eq!(there.lease_at(NOW + SECOND).await.leased[0].order, Order::HangUp);
}

#[tokio::test]
async fn a_rejection_is_not_gone_with_what_another_deletion_hung_up() {
    for ended in [false, true] {
        let there = Fixture::new().await;
        there.ringing().await;
        let late = NOW + SECOND * 14;
        let (rejection, leased) = there.begin_rejection(late).await;
        let again = Next::At(late + Duration::from_millis(900));
        there.store.settle(leased.unwrap(), answered(late, 429, again)).await.unwrap();
        // Its own rejection had no time left.
        let hang_up = there.begin("a", late).await;
        there.by_hand(
            "UPDATE steps SET operation = 'hang-up' WHERE state = 'open' AND deletion = 2",
        );
        let hang_up = Leased { order: Order::HangUp, ..hang_up };
        let settled = there.store.settle(hang_up, answered(late, 204, SENT)).await.unwrap();
        assert_eq!(settled.unwrap().state, Sent);
        if ended {
            there.apply(vec![state("a", CallState::Terminated)], late).await;
        }
        there.lease_at(late + SECOND * 2).await;
        let why = if ended { ENDED_BEFORE } else { RINGS_NO_MORE };
        assert_eq!(there.ends(rejection).await, (Obsolete, Some(why.to_owned())));
    }
}

#[tokio::test]
async fn a_rejection_that_was_given_back_ended_nothing() {
    let there = Fixture::new().await;
    there.ringing().await;
    let leased = there.begin("a", NOW).await;
    there.apply(vec![state("a", CallState::Terminated)], NOW + SECOND).await;
    there.store.give_back(leased, NOW + SECOND, NOW + SECOND).await.unwrap();
    let second = there.lease_at(NOW + SECOND).await.leased.remove(0);
    assert_eq!(second.order, Order::HangUp);
    let settled = there.store.settle(second, answered(NOW + SECOND, 204, SENT)).await.unwrap();
    assert_eq!(settled.unwrap().state, Sent, "somebody else ended it before");
}

#[tokio::test]
async fn what_is_learned_of_the_time_to_reject_counts_at_once_and_no_clock_makes_it_longer() {
    let there = Fixture::new().await;
    there.ringing().await;
    let step = there.begin("a", NOW).await.step;
    let left = async |now| there.store.still_rings(step, now).await.unwrap();
    assert_eq!(left(NOW + SECOND * 3).await, Some(SECOND * 12));
    let recorded = CallChange { observed: Some("o".to_owned()), ..state("a", RINGS) };
    there.apply(vec![recorded], NOW + SECOND * 3).await;
    assert_eq!(left(NOW + SECOND * 3).await, Some(SECOND * 2), "5 s for policy recording");
    assert_eq!(left(NOW + SECOND * 5).await, None);
    let ahead = format!("UPDATE calls SET rings_since = {}", (NOW + SECOND * 1000).0);
    there.by_hand(&ahead);
    assert_eq!(left(NOW).await, Some(SECOND * 5), "the clock was ahead when it began");
}

#[tokio::test]
async fn a_404_does_not_end_a_call_that_was_to_be_rejected() {
    let there = Fixture::new().await;
    there.ringing().await;
    let (deletion, leased) = there.begin_rejection(NOW).await;
    let never_there = over(DeletionState::Failed, Some("never there"), true);
    there.store.settle(leased.unwrap(), answered(NOW, 404, never_there)).await.unwrap();
    assert_eq!(there.ends(deletion).await, (Obsolete, Some(RINGS_NO_MORE.to_owned())));
    assert_eq!(there.known("a").await.row.ended_at, None);
}

#[tokio::test]
async fn two_deletions_of_a_call_take_turns_and_the_second_is_over_with_the_first() {
    let there = Fixture::new().await;
    there.ringing().await;
    let (_, rejection) = there.begin_rejection(NOW).await;
    let ask = there.ask(by_call_id("a"), NOW).await;
    let second = there.admit(Ask { lease: Some(there.lease(NOW)), ..ask }).await;
    assert_eq!(second.leased, None, "the other is being sent");
    let waits = there.lease_at(NOW).await;
    assert!(waits.leased.is_empty() && waits.next > Some(NOW), "{waits:?}");
    let now = NOW + SECOND;
    there.store.settle(rejection.unwrap(), answered(now, 202, SENT)).await.unwrap();
    let due = there.lease_at(now).await;
    assert!(due.leased.is_empty(), "Graph took the other");
    assert_eq!(due.over[0].state, Gone);
    assert_eq!(there.look::<i64>("SELECT count(*) FROM attempts"), 1);
    let taken = "SELECT kind FROM deletions JOIN calls ON deleted_by = deletion";
    assert_eq!(there.look::<String>(taken), "RejectCall");
}

#[tokio::test]
async fn a_deletion_whose_turn_comes_after_a_late_rejection_hangs_up() {
    let there = Fixture::new().await;
    there.ringing().await;
    let (rejection, leased) = there.begin_rejection(NOW).await;
    let ask = there.ask(by_call_id("a"), NOW).await;
    there.admit(Ask { lease: Some(there.lease(NOW)), ..ask }).await;
    there.apply(vec![state("a", CallState::Established)], NOW).await;
    there.store.settle(leased.unwrap(), answered(NOW, 404, Next::Replan)).await.unwrap();
    assert_eq!(there.ends(rejection).await.0, Obsolete);
    let leased = there.lease_at(NOW).await.leased.remove(0);
    assert_eq!((leased.order.operation(), leased.step.position), (Operation::HangUp, 2));
    assert!(!there.is_due(NOW + LEASE - SECOND).await);
}
