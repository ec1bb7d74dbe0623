//! What is due when there are several tenants, little room, or none; and who may settle it.

use super::news::state;
use super::{SECOND, SENT};
use crate::clock::{Moment, Timestamp};
use crate::id::TenantId;
use crate::model::call::CallState;
use crate::model::deletion::DeletionKind;
use crate::model::deletion::DeletionState::{Failed, Obsolete, Open, Sent, Unknown};
use crate::model::everybody::{InTheCall, Present};
use crate::model::participant::Invited;
use crate::model::plan::{Operation, RejectReason};
use crate::store::Due;
use crate::store::admission::{First, Next, Room, Share};
use crate::store::fixture::{
    DEADLINE, Fixture, LEASE, NOW, TENANT, answered, by_call_id, entry, over,
};

const OTHER: &str = "other";

/// Deletions that are due a second apart, the first ones of the fixture's tenant, then of the other's.
async fn waiting(ours: usize, others: usize) -> Fixture {
    let there = Fixture::new().await;
    let row = there.store.tenant(TenantId::new(OTHER), NOW).await.unwrap();
    for number in 0..ours + others {
        let (whose, now) = if number < ours { ("a", NOW) } else { ("b", NOW + SECOND) };
        let id = format!("{whose}{number:03}");
        there.call(&id, "100").await;
        let deletion = there.record(&id, now).await;
        if number >= ours {
            let of = "(SELECT deletion FROM deletions WHERE deletion_id";
            there.by_hand(&format!(
                "UPDATE steps SET tenant = {row} WHERE deletion = {of} = '{deletion}'); \
                 UPDATE deletions SET tenant = {row} WHERE deletion_id = '{deletion}'"
            ));
        }
    }
    there
}

/// Room for `all`, with these shares of the fixture's tenant and the other one.
fn room(all: usize, ours: Share, others: Share) -> Room {
    let tenants = [(TenantId::new(TENANT), ours), (TenantId::new(OTHER), others)];
    Room { all, tenants: tenants.into() }
}

fn share(room: usize, busy: usize) -> Share {
    Share { room, busy, probe: None }
}

async fn lease(there: &Fixture, now: Timestamp, room: Room) -> Due {
    there.store.lease_due(now, there.lease(now), room, Vec::new()).await.unwrap()
}

/// Whose steps were leased, in order.
fn whose(due: &Due) -> String {
    due.leased.iter().map(|leased| &leased.graph_id.0[..1]).collect()
}

#[tokio::test]
async fn of_several_tenants_who_has_least_under_way_comes_first() {
    let now = NOW + SECOND * 2;
    for (all, ours, others, expected, left) in [
        (6, share(6, 0), share(6, 0), "ababab", vec![(TENANT, 5), (OTHER, 1)]),
        (6, share(6, 3), share(6, 0), "bbbaba", vec![(TENANT, 5)]),
        (6, share(6, 9), share(6, 0), "bbbbaa", vec![(TENANT, 5)]),
        (6, share(2, 0), share(6, 0), "ababbb", vec![(TENANT, 1)]),
        (20, share(1, 0), share(20, 0), "abbbb", vec![(TENANT, 1)]),
        (20, share(0, 0), share(20, 0), "bbbb", vec![(TENANT, 8)]),
        (20, share(20, 0), share(20, 0), "ababababaaaa", vec![]),
    ] {
        let there = waiting(8, 4).await;
        let due = lease(&there, now, room(all, ours, others)).await;
        let case = format!("{all} {ours:?} {others:?}");
        assert_eq!(whose(&due), expected, "{case}");
        let known: Vec<_> =
            due.left.iter().map(|(tenant, count)| (tenant.as_str(), *count)).collect();
        assert_eq!(known.len(), left.len(), "{case}: {known:?}");
        for ((tenant, count), (expected, least)) in known.into_iter().zip(left) {
            assert!(tenant == expected && (1..=least).contains(&count), "{case}: {count}");
        }
    }
}

#[tokio::test]
async fn what_waits_for_a_stopped_tenant_is_counted_left_alone_and_ends_at_its_deadline() {
    let there = waiting(3, 2).await;
    let stopped = || room(10, share(0, 0), share(10, 0));
    let due = lease(&there, NOW + SECOND * 2, stopped()).await;
    assert_eq!((whose(&due).as_str(), due.over.len()), ("bb", 0));
    assert_eq!(due.left, [(TenantId::new(TENANT), 3)]);
    let theirs = Some(NOW + SECOND * 2 + LEASE);
    assert_eq!(due.next, theirs, "what waits is not looked at all the time");
    assert_eq!(there.look::<i64>("SELECT count(*) FROM attempts"), 2, "no attempt has begun");

    let due = lease(&there, NOW + DEADLINE, stopped()).await;
    assert_eq!(due.over.len(), 3);
    assert!(due.over.iter().all(|settled| settled.state == Obsolete));
    assert_eq!(due.left, []);
    assert_eq!(there.look::<i64>("SELECT count(*) FROM steps WHERE state = 'open'"), 2);
}

#[tokio::test]
async fn without_any_room_deadlines_pass_rejections_change_and_nothing_is_looked_at_all_the_time() {
    let there = waiting(3, 2).await;
    let due = lease(&there, NOW + SECOND * 2, 0.into()).await;
    assert_eq!((due.leased.len(), due.over.len(), due.next), (0, 0, None));
    assert_eq!(due.left.len(), 2);
    let due = lease(&there, NOW + DEADLINE, 0.into()).await;
    assert_eq!((due.leased.len(), due.over.len(), due.next), (0, 3, None));

    let there = Fixture::new().await;
    there.apply(vec![state("a", CallState::Incoming)], NOW).await;
    assert!(there.admit(there.ask(by_call_id("a"), NOW).await).await.recorded.is_some());
    lease(&there, NOW + SECOND * 15, 0.into()).await;
    let next = "SELECT operation FROM steps WHERE state = 'open'";
    assert_eq!(there.look::<String>(next), "hang-up");
}

#[tokio::test]
async fn a_probe_is_what_ends_soon_or_has_time_and_then_what_was_tried_least() {
    for (first, expected) in [
        (First::EndsSoon, ["a003", "a002", "a001", "a000"]),
        (First::HasTime, ["a002", "a001", "a000", "a003"]),
    ] {
        assert_eq!(probes(first).await, expected, "{first:?}");
    }
}

/// The probes of which this goes first, when there are four steps: the last one ends soon and was tried.
async fn probes(first: First) -> Vec<String> {
    let there = waiting(4, 0).await;
    let of = "WHERE deletion = (SELECT deletion FROM deletions WHERE deletion_id";
    let change = |position: usize, what: &str| {
        let offset = position - 1;
        there.by_hand(&format!(
            "UPDATE steps SET {what} {of} = (SELECT deletion_id FROM deletions ORDER BY deletion \
             LIMIT 1 OFFSET {offset}))"
        ));
    };
    change(1, "attempts = 9");
    change(2, "attempts = 1");
    change(3, &format!("next_attempt_at = {}", (NOW + SECOND).0));
    let soon = NOW + SECOND * 20;
    change(4, &format!("attempts = 2, deadline_at = {}", soon.0));
    let mut found = Vec::new();
    for _ in 0..4 {
        let one = Share { probe: Some(first), ..share(1, 0) };
        let due = lease(&there, NOW + SECOND * 2, room(9, one, share(0, 0))).await;
        found.extend(due.leased.into_iter().map(|leased| leased.graph_id.0));
    }
    found
}

#[tokio::test]
async fn a_rejection_for_a_stopped_tenant_ends_in_time_and_a_hang_up_in_its_place_waits() {
    for is_followed in [false, true] {
        let there = Fixture::new().await;
        there.apply(vec![state("a", CallState::Incoming)], NOW).await;
        let mut ask = there.ask(by_call_id("a"), NOW).await;
        if !is_followed {
            ask.question.kind = DeletionKind::RejectCall(RejectReason::Busy);
        }
        assert!(there.admit(ask).await.recorded.is_some());
        let stopped = || room(10, share(0, 0), share(10, 0));
        let due = lease(&there, NOW + SECOND * 14, stopped()).await;
        assert_eq!((due.leased.len(), due.over.len()), (0, 0));
        let due = lease(&there, NOW + SECOND * 15, stopped()).await;
        let over: Vec<_> = due.over.iter().map(|settled| settled.state).collect();
        let (expected, waiting) = if is_followed { (vec![], 1) } else { (vec![Obsolete], 0) };
        assert_eq!((due.leased.len(), over, due.left.len()), (0, expected, waiting));
        assert_eq!(there.look::<i64>("SELECT count(*) FROM attempts"), 0);
        let due = lease(&there, NOW + SECOND * 16, 10.into()).await;
        let sent: Vec<_> = due.leased.iter().map(|leased| leased.order.operation()).collect();
        assert_eq!(sent, if is_followed { vec![Operation::HangUp] } else { vec![] });
    }
}

#[tokio::test]
async fn a_step_that_cannot_be_read_ends_and_stops_nobody_else() {
    let broken = "WHERE deletion = 1";
    for (change, state) in [
        ("UPDATE steps SET operation = 'remove-participant', target = NULL", Failed),
        ("UPDATE steps SET operation = 'invite'", Failed),
        ("UPDATE deletions SET deletion_id = 'none'", Failed),
        (
            "INSERT INTO attempts (deletion, position, number, tenant, started_at, effect_possible) \
             SELECT deletion, 1, 9, tenant, 1, 1 FROM deletions WHERE deletion = 1; \
             UPDATE steps SET operation = 'remove-participant', target = NULL",
            Unknown,
        ),
    ] {
        for at in [NOW + SECOND * 2, NOW + DEADLINE] {
            let there = waiting(2, 1).await;
            there.by_hand(&format!("{change} {broken}"));
            let due = lease(&there, at, 10.into()).await;
            let is_late = at == NOW + DEADLINE;
            assert_eq!(whose(&due), if is_late { "b" } else { "ab" }, "{change}");
            let known = there.look::<String>(&format!("SELECT state FROM deletions {broken}"));
            let expected = if is_late && state == Failed && !change.contains("_id") {
                Obsolete
            } else {
                state
            };
            assert_eq!(known, expected.as_str(), "{change}");
            let open = format!("SELECT count(*) FROM steps {broken} AND state = 'open'");
            assert_eq!(there.look::<i64>(&open), 0, "{change}");
            let effects = "SELECT count(*) FROM attempts WHERE deletion = 1 AND number < 9 \
                           AND effect_possible <> 0";
            assert_eq!(there.look::<i64>(effects), 0, "it was not sent");
        }
    }
}

#[tokio::test]
async fn a_worker_that_stalled_past_its_lease_settles_nothing_whatever_its_answer_leads_to() {
    let invited = Invited { operation_id: "o".to_owned(), participant_id: None, failed: None };
    let there = InTheCall {
        client_id: None,
        everybody: vec![Present { participant_id: "p".to_owned(), app_id: None, is_person: true }],
    };
    for next in [
        SENT,
        over(Failed, Some("why"), true),
        Next::At(NOW),
        Next::Replan,
        Next::Invited(invited),
        Next::RemoveAll(there),
    ] {
        let there = Fixture::new().await;
        there.call("a", "100").await;
        let stalled = there.begin("a", NOW).await;
        let lapsed = NOW + LEASE;
        let current = there
            .store
            .lease_due(lapsed, there.lease(lapsed), 1, Vec::new())
            .await
            .unwrap()
            .leased
            .remove(0);
        let rows = "SELECT json_group_array(json_array(position, state, fence, lease_owner, \
                    next_attempt_at, attempts)) FROM steps";
        let before: String = there.look(rows);
        let end = answered(lapsed, 204, next.clone());
        let settled = there.store.settle(stalled.clone(), end).await.unwrap();
        assert_eq!(settled, None, "{next:?}");
        assert_eq!(there.look::<String>(rows), before, "{next:?}");
        assert_eq!(there.state(stalled.deletion_id).await, Open, "{next:?}");
        there.store.give_back(stalled, lapsed, lapsed).await.unwrap();
        assert_eq!(there.look::<String>(rows), before, "{next:?}");
        let settled = there.store.settle(current, answered(lapsed, 204, SENT)).await.unwrap();
        assert_eq!(settled.unwrap().state, Sent, "{next:?}");
    }
}

#[tokio::test]
async fn who_asks_to_wait_past_the_deadline_is_not_asked_again_when_the_clock_is_set_back() {
    for is_paused in [false, true] {
        let there = Fixture::new().await;
        there.store.take_over(there.process, NOW).await.unwrap();
        there.call("call", "100").await;
        let leased = there.begin("call", NOW).await;
        let end = answered(NOW, 429, Next::At(leased.deadline + DEADLINE * 3));
        there.store.settle(leased, end).await.unwrap();
        if is_paused {
            there.store.pause(None, entry("pause", NOW)).await.unwrap();
        }
        there.set_clock(NOW, NOW - DEADLINE).await;
        there.store.resume(None, entry("resume", NOW)).await.unwrap();
        // By this clock the deadline is farther away, and the wait as far as it was.
        let at = |wall| Moment { wall, steady: wall + DEADLINE };
        let due = there.store.lease_due(at(NOW), there.lease(NOW), 9, Vec::new()).await.unwrap();
        assert_eq!((due.leased.len(), due.over.len()), (0, 0), "is paused: {is_paused}");
        let end = NOW + DEADLINE;
        let due = there.store.lease_due(at(end), there.lease(end), 9, Vec::new()).await.unwrap();
        assert_eq!(due.over[0].state, Obsolete, "is paused: {is_paused}");
    }
}

#[tokio::test]
async fn a_start_after_the_clock_was_seen_to_be_set_back_moves_no_wait_once_more() {
    let there = Fixture::new().await;
    there.store.take_over(there.process, NOW).await.unwrap();
    there.call("call", "100").await;
    let leased = there.begin("call", NOW).await;
    let end = answered(NOW, 429, Next::At(NOW + SECOND * 60));
    there.store.settle(leased, end).await.unwrap();
    let now = NOW - DEADLINE;
    there.set_clock(NOW, now).await;
    for seconds in [20, 40] {
        let now = now + SECOND * seconds;
        there.store.take_over(there.process, now).await.unwrap();
        let due = lease(&there, now, Room::from(9)).await;
        assert!(due.leased.is_empty(), "it is tried after {seconds} s of 60");
    }
    assert_eq!(lease(&there, now + SECOND * 60, Room::from(9)).await.leased.len(), 1);
}
