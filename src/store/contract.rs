//! What every store promises: leases, settlement, withdrawal, repeats; then access and audit chain.

mod access;
mod again;
mod due;
mod everybody;
mod invitations;
mod keys;
mod news;
mod participants;
mod pause;
mod reconcile;
mod records;
mod ringing;
mod roster;
mod unreadable;

use std::time::Duration;

use super::Standing;
use super::admission::{Ask, Claim, Decided, Lease, Next};
use super::error::StoreError;
use super::fixture::{DEADLINE, Fixture, LEASE, NOW, answered, by_call_id, by_number, over};
use crate::clock::Timestamp;
use crate::id::{CallId, DeletionId, ProcessId};
use crate::model::deletion::DeletionState::{
    self, Cancelled, Failed, Gone, Held, Obsolete, Open, Sent, Unknown,
};
use crate::model::plan::{Decision, Refusal};

const SECOND: Duration = Duration::from_secs(1);
const SENT: Next = Next::Over { state: Sent, failure: None, call_is_gone: false };

impl Fixture {
    async fn state(&self, deletion: DeletionId) -> DeletionState {
        self.store.deletion(deletion).await.unwrap().unwrap().row.state
    }

    async fn is_due(&self, now: Timestamp) -> bool {
        let due = self.store.lease_due(now, self.lease(now), 10, Vec::new()).await.unwrap();
        !due.leased.is_empty()
    }
}

#[tokio::test]
async fn a_due_step_is_leased_by_one_only_with_its_attempt_on_disk() {
    let there = Fixture::new().await;
    there.call("a", "100").await;
    there.record("a", NOW).await;
    let (one, two) = tokio::join!(
        there.store.lease_due(NOW, there.lease(NOW), 10, Vec::new()),
        there.store.lease_due(NOW, there.lease(NOW), 10, Vec::new())
    );
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(one.leased.len() + two.leased.len(), 1);
    assert_eq!(two.next, Some(NOW + LEASE));
    let leased = one.leased.into_iter().chain(two.leased).next().unwrap();
    assert_eq!((leased.fence, leased.attempt, leased.earlier_effect_possible), (1, 1, false));
    assert_eq!(leased.graph_id.0, "a");
    let open = "SELECT count(*) FROM attempts WHERE answered_at IS NULL AND effect_possible = 1";
    assert_eq!(there.look::<i64>(open), 1);
}

#[tokio::test]
async fn what_is_due_is_leased_in_order_and_no_more_than_asked_for() {
    let there = Fixture::new().await;
    for (id, after) in [("c", 3), ("a", 1), ("b", 2)] {
        there.call(id, "100").await;
        there.record(id, NOW + SECOND * after).await;
    }
    let now = NOW + SECOND * 9;
    let due = there.store.lease_due(now, there.lease(now), 2, Vec::new()).await.unwrap();
    let ids: Vec<_> = due.leased.iter().map(|leased| leased.graph_id.0.as_str()).collect();
    assert_eq!(ids, ["a", "b"]);
    assert_eq!(due.next, Some(NOW + SECOND * 3));
}

#[tokio::test]
async fn a_step_admitted_with_a_lease_is_due_again_when_the_lease_ends() {
    let there = Fixture::new().await;
    there.call("a", "100").await;
    let first = there.begin("a", NOW).await;
    assert_eq!((first.fence, first.attempt, first.earlier_effect_possible), (1, 1, false));
    assert!(!there.is_due(NOW + LEASE - Duration::from_millis(1)).await);
    let now = NOW + LEASE;
    let second = there
        .store
        .lease_due(now, there.lease(now), 10, Vec::new())
        .await
        .unwrap()
        .leased
        .remove(0);
    assert_eq!((second.fence, second.attempt), (2, 2));
    assert!(second.earlier_effect_possible, "nobody knows what became of the first attempt");
}

#[tokio::test]
async fn an_older_lease_settles_nothing_but_its_answer_is_kept_and_remembered() {
    let there = Fixture::new().await;
    there.call("a", "100").await;
    let first = there.begin("a", NOW).await;
    let lapsed = NOW + LEASE;
    let second = there
        .store
        .lease_due(lapsed, there.lease(lapsed), 1, Vec::new())
        .await
        .unwrap()
        .leased
        .remove(0);
    let nothing = there.store.settle(first.clone(), answered(lapsed, 204, SENT)).await.unwrap();
    assert_eq!(nothing, None);
    assert_eq!(there.state(first.deletion_id).await, Open);
    assert_eq!(there.look::<i64>("SELECT status FROM attempts WHERE number = 1"), 204);

    let later = lapsed + SECOND;
    there.store.settle(second, answered(lapsed, 429, Next::At(later))).await.unwrap();
    let third = there
        .store
        .lease_due(later, there.lease(later), 1, Vec::new())
        .await
        .unwrap()
        .leased
        .remove(0);
    assert!(third.earlier_effect_possible, "Graph took the first attempt");
    let gone = answered(later, 404, over(Gone, None, true));
    let settled = there.store.settle(third.clone(), gone.clone()).await.unwrap().unwrap();
    assert_eq!(settled.state, Gone);
    assert_eq!(there.store.settle(third, gone).await.unwrap(), None, "it is over once");
}

#[tokio::test]
async fn a_starting_process_voids_older_leases_and_notes_whose_callers_were_cut_off() {
    let there = Fixture::new().await;
    for id in ["old", "young", "sent", "told"] {
        there.call(id, "100").await;
    }
    let old = there.begin("old", NOW).await;
    let start = NOW + SECOND * 31;
    let young = there.begin("young", start - SECOND).await;
    let sent = there.begin("sent", start - SECOND).await;
    there.store.settle(sent.clone(), answered(start, 204, SENT)).await.unwrap();
    let told = there.begin("told", start - SECOND).await.deletion_id;
    there.store.answered(Claim { deletion: told, number: 1 }, start).unwrap();

    let process = ProcessId::random();
    assert_eq!(there.store.take_over(process, start).await.unwrap(), 3);
    let serving: String = there.look("SELECT process FROM serving");
    assert_eq!(serving, process.to_string());
    let abandoned = |deletion| {
        let sql = format!(
            "SELECT abandoned_at IS NOT NULL FROM deletions WHERE deletion_id = '{deletion}'"
        );
        there.look::<bool>(&sql)
    };
    assert!(abandoned(young.deletion_id));
    assert!(!abandoned(old.deletion_id), "its client has long been answered");
    assert!(!abandoned(sent.deletion_id));
    assert!(!abandoned(told), "its caller was told `accepted`");

    let late = there.store.settle(young.clone(), answered(start, 204, SENT)).await.unwrap();
    assert_eq!(late, None, "its lease is void");
    let lease = Lease::starting(process, start, LEASE);
    let due = there.store.lease_due(start, lease, 10, Vec::new()).await.unwrap();
    assert_eq!(due.leased.len(), 3);
    assert!(due.leased.iter().all(|leased| leased.earlier_effect_possible));
}

#[tokio::test]
async fn each_way_a_deletion_ends_leaves_its_mark_at_the_call() {
    // State, whether Graph has no such call; then: deleted by it, ended.
    for (state, call_is_gone, deleted, ended) in [
        (Sent, false, true, false),
        (Gone, true, true, true),
        (Failed, true, false, true),
        (Failed, false, false, false),
        (Unknown, false, false, false),
    ] {
        let there = Fixture::new().await;
        there.call("a", "100").await;
        let leased = there.begin("a", NOW).await;
        let end = answered(NOW + SECOND, 200, over(state, Some("why"), call_is_gone));
        let settled = there.store.settle(leased.clone(), end).await.unwrap().unwrap();
        assert_eq!((settled.deletion_id, settled.state), (leased.deletion_id, state));
        assert_eq!(settled.failure.as_deref(), Some("why"));
        assert_eq!(there.state(leased.deletion_id).await, state);
        assert_eq!(there.look::<bool>("SELECT deleted_by IS NOT NULL FROM calls"), deleted);
        let end = ended.then_some((NOW + SECOND).0);
        for table in ["calls", "parties"] {
            let sql = format!("SELECT max(ended_at) FROM {table}");
            assert_eq!(there.look::<Option<i64>>(&sql), end, "{state} {table}");
        }
        assert!(!there.is_due(NOW + DEADLINE).await);
    }
}

#[tokio::test]
async fn a_step_that_is_tried_again_is_due_then_and_ends_at_its_deadline_at_the_latest() {
    let there = Fixture::new().await;
    there.call("a", "100").await;
    let leased = there.begin("a", NOW).await;
    let again = answered(NOW, 429, Next::At(NOW + SECOND * 5));
    assert_eq!(there.store.settle(leased, again).await.unwrap(), None);
    assert!(!there.is_due(NOW + SECOND * 4).await);
    let now = NOW + SECOND * 5;
    let leased =
        there.store.lease_due(now, there.lease(now), 1, Vec::new()).await.unwrap().leased.remove(0);

    let end = NOW + DEADLINE;
    let never = answered(now, 429, Next::At(end + DEADLINE));
    there.store.settle(leased.clone(), never).await.unwrap();
    let due = there.store.lease_due(end, there.lease(end), 1, Vec::new()).await.unwrap();
    assert!(due.leased.is_empty());
    assert_eq!(due.over[0].state, Obsolete);
    assert_eq!(due.next, None);
    assert_eq!(there.state(leased.deletion_id).await, Obsolete);
}

#[tokio::test]
async fn a_hold_that_comes_before_the_sending_ends_the_deletion() {
    for (kind, value, covers) in [
        ("all", "", true),
        ("call", "our-a", true),
        ("call", "a", true),
        ("call", "A", false),
        ("platform_call", "chain", true),
        ("native", "a", true),
        ("meeting", "meeting", true),
        ("number", "100", true),
        ("number", "+4989111", true),
        ("number", "101", false),
    ] {
        let there = Fixture::new().await;
        there.call("a", "100").await;
        there.by_hand("UPDATE calls SET chain_id = 'chain', thread_id = 'meeting'");
        let deletion = there.record("a", NOW).await;
        there.by_hand(&format!(
            "INSERT INTO holds (hold_id, tenant, kind, value, set_by, set_at) \
             VALUES ('h', {}, '{kind}', '{value}', 'somebody', 0)",
            there.tenant_row
        ));
        let due = there.store.lease_due(NOW, there.lease(NOW), 1, Vec::new()).await.unwrap();
        assert_eq!(due.leased.is_empty(), covers, "{kind} {value}");
        let expected = if covers { Held } else { Open };
        assert_eq!(there.state(deletion).await, expected, "{kind} {value}");
        if covers {
            let refused = there.admit(there.ask(by_call_id("a"), NOW).await).await.decision;
            let call_id = Some(CallId::new("our-a"));
            assert_eq!(refused, Decision::Refuse { refusal: Refusal::Policy, call_id });
            there.by_hand("UPDATE holds SET lifted_at = 1");
            there.record("a", NOW).await;
        }
    }
}

#[tokio::test]
async fn what_ends_unsent_after_an_attempt_that_may_have_taken_effect_is_unknown() {
    for (hold, now) in [(true, NOW + LEASE), (false, NOW + DEADLINE)] {
        let there = Fixture::new().await;
        there.call("a", "100").await;
        there.begin("a", NOW).await;
        if hold {
            there.by_hand(
                "INSERT INTO holds (hold_id, tenant, kind, value, set_by, set_at) \
                 SELECT 'h', tenant, 'all', '', 'somebody', 0 FROM tenants",
            );
        }
        let due = there.store.lease_due(now, there.lease(now), 1, Vec::new()).await.unwrap();
        assert_eq!(due.over[0].state, Unknown);
    }
}

#[tokio::test]
async fn a_deletion_is_withdrawn_only_before_its_first_attempt() {
    let there = Fixture::new().await;
    for id in ["a", "b", "c"] {
        there.call(id, "100").await;
    }
    let unsent = there.record("a", NOW).await;
    let standing = there.store.withdraw(unsent, NOW, |_| ()).await.unwrap();
    assert!(matches!(standing, Standing::Withdrawn(settled) if settled.state == Cancelled));
    assert!(!there.is_due(NOW).await);

    let begun = there.begin("b", NOW).await;
    assert_eq!(
        there.store.withdraw(begun.deletion_id, NOW, |_| ()).await.unwrap(),
        Standing::Begun
    );
    there.store.give_back(begun.clone(), NOW, NOW).await.unwrap();
    assert_eq!(
        there.store.withdraw(begun.deletion_id, NOW, |_| ()).await.unwrap(),
        Standing::Begun
    );

    let sent = there.begin("c", NOW).await;
    let settled = there.store.settle(sent.clone(), answered(NOW, 204, SENT)).await.unwrap();
    let standing = there.store.withdraw(sent.deletion_id, NOW, |_| ()).await.unwrap();
    assert_eq!(standing, Standing::Settled(settled.unwrap()));
}

#[tokio::test]
async fn a_step_given_back_is_due_at_once_and_had_no_effect() {
    let there = Fixture::new().await;
    there.call("a", "100").await;
    let first = there.begin("a", NOW).await;
    there.store.give_back(first, NOW, NOW).await.unwrap();
    let second =
        there.store.lease_due(NOW, there.lease(NOW), 1, Vec::new()).await.unwrap().leased.remove(0);
    assert_eq!((second.attempt, second.earlier_effect_possible), (2, false));
}

#[tokio::test]
async fn at_most_one_deletion_of_a_call_is_open() {
    let there = Fixture::new().await;
    there.call("a", "100").await;
    let deletion = there.record("a", NOW).await;
    for selector in [by_call_id("our-a"), by_number("100", "ongoing")] {
        let decided = there.admit(there.ask(selector, NOW + SECOND).await).await;
        let Decision::Join(earlier) = decided.decision else { panic!("{decided:?}") };
        assert_eq!((earlier.deletion_id, earlier.state), (deletion, Open));
        assert_eq!(decided.recorded, None);
    }
    let copy = there.other_hand().execute(
        "INSERT INTO deletions (deletion_id, tenant, kind, selector, selector_hash, scope, call, \
         state, created_at, deadline_at) SELECT 'other', tenant, kind, selector, selector_hash, \
         scope, call, state, created_at, deadline_at FROM deletions",
        (),
    );
    assert!(matches!(StoreError::from(copy.unwrap_err()), StoreError::Conflict));
}

#[tokio::test]
async fn a_silent_repeat_joins_what_its_client_left_and_does_not_hit_the_next_call() {
    let there = Fixture::new().await;
    there.call("first", "100").await;
    let ongoing = |now| there.ask(by_number("100", "ongoing"), now);
    let first = there.admit(ongoing(NOW).await).await.recorded.unwrap();
    let leased =
        there.store.lease_due(NOW, there.lease(NOW), 1, Vec::new()).await.unwrap().leased.remove(0);
    there.store.settle(leased, answered(NOW, 204, SENT)).await.unwrap();
    there.store.abandon(Claim { deletion: first, number: 1 }, NOW).unwrap();
    there.call("next", "100").await;

    let joins = |decided: &Decided| match &decided.decision {
        Decision::Join(earlier) => earlier.deletion_id == first,
        _ => false,
    };
    let mut dry = ongoing(NOW + SECOND).await;
    dry.question.dry_run = true;
    assert!(joins(&there.admit(dry).await), "a dry run says what would happen");
    let mut other_key = ongoing(NOW + SECOND).await;
    let (_, key_row) = there.make_key("6b1f0000-0000-4000-8000-000000000001").await;
    other_key.checked = there.checked(key_row, None).await;
    other_key.question.dry_run = true;
    assert!(!joins(&there.admit(other_key).await));
    assert!(joins(&there.admit(ongoing(NOW + SECOND).await).await));
    assert!(!joins(&there.admit(ongoing(NOW + SECOND).await).await), "the third is a new one");
}

#[tokio::test]
async fn only_the_last_caller_by_the_same_key_and_selector_can_leave_a_deletion() {
    let there = Fixture::new().await;
    there.call("a", "100").await;
    let asks = || async { there.ask(by_number("100", "ongoing"), NOW).await };
    let first = there.admit(asks().await).await;
    let deletion = first.recorded.unwrap();
    assert_eq!(first.claim, Some(1));
    let stranger = there.admit(there.ask(by_call_id("a"), NOW).await).await;
    assert!(matches!(stranger.decision, Decision::Join(_)));
    assert_eq!(stranger.claim, None, "it was asked for by another selector");
    assert_eq!(there.admit(asks().await).await.claim, Some(2));

    let abandoned = || there.look::<bool>("SELECT abandoned_at IS NOT NULL FROM deletions");
    there.store.abandon(Claim { deletion, number: 1 }, NOW).unwrap();
    // Notes and operations are carried out in the order they were queued.
    there.store.tenant(crate::id::TenantId::new("other"), NOW).await.unwrap();
    assert!(!abandoned(), "a repeat has taken the first caller's place");
    there.store.abandon(Claim { deletion, number: 2 }, NOW).unwrap();
    there.store.tenant(crate::id::TenantId::new("other"), NOW).await.unwrap();
    assert!(abandoned());
}

#[tokio::test]
async fn a_repeat_joins_what_its_client_left_for_thirty_seconds() {
    for (after, joins) in [(Duration::from_millis(29_999), true), (SECOND * 30, false)] {
        let there = Fixture::new().await;
        there.call("first", "100").await;
        let ask = there.ask(by_number("100", "ongoing"), NOW).await;
        let first = there.admit(ask).await.recorded.unwrap();
        there.store.abandon(Claim { deletion: first, number: 1 }, NOW).unwrap();
        there.by_hand("UPDATE calls SET ended_at = 1");
        there.call("next", "100").await;
        let repeat = there.ask(by_number("100", "ongoing"), NOW + after).await;
        let decided = there.admit(repeat).await;
        assert_eq!(matches!(decided.decision, Decision::Join(_)), joins, "{after:?}");
    }
}

#[tokio::test]
async fn a_selector_whose_call_was_deleted_means_that_deletion_for_ten_minutes() {
    let there = Fixture::new().await;
    there.call("a", "100").await;
    let ongoing = |now| there.ask(by_number("100", "ongoing"), now);
    let ask = ongoing(NOW).await;
    let leased = there.admit(Ask { lease: Some(there.lease(NOW)), ..ask }).await.leased.unwrap();
    there.store.settle(leased.clone(), answered(NOW, 204, SENT)).await.unwrap();
    let within = there.admit(ongoing(NOW + SECOND * 599).await).await.decision;
    let Decision::AlreadyDeleted(earlier) = within else { panic!("{within:?}") };
    assert_eq!(earlier.deletion_id, leased.deletion_id);
    let after = there.admit(ongoing(NOW + SECOND * 600).await).await.decision;
    assert_eq!(after, Decision::Refuse { refusal: Refusal::NotFound, call_id: None });
    let by_id = there.admit(there.ask(by_call_id("a"), NOW + SECOND * 600).await).await.decision;
    assert!(matches!(by_id, Decision::AlreadyDeleted(_)), "{by_id:?}");
}
