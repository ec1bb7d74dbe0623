//! The operator's switch: what waits while it is off, and what becomes of it.

use std::time::Duration;

use super::SECOND;
use super::news::state;
use crate::clock::Timestamp;
use crate::id::TenantId;
use crate::model::call::CallState;
use crate::model::deletion::DeletionState::{Held, Obsolete, Open};
use crate::model::plan::Order;
use crate::store::access::AuditEntry;
use crate::store::admission::{Ask, Leased, Next};
use crate::store::fixture::{
    DEADLINE, Fixture, LEASE, NOW, TENANT, answered, by_call_id, by_number, entry,
};
use crate::store::pause::{Pause, Paused, Resumed};
use crate::store::reconcile::Asking;
use crate::store::{Due, Standing};

fn by_joe(command: &str, at: Timestamp) -> AuditEntry {
    let mut entry = entry(command, at);
    entry.personal.user = Some("joe".to_owned());
    entry.personal.host = Some("gateway".to_owned());
    entry.personal.reason = Some("Graph misbehaves".to_owned());
    entry
}

fn tenant() -> TenantId {
    TenantId::new(TENANT)
}

impl Fixture {
    async fn pauses_at(&self, tenant: Option<TenantId>, now: Timestamp) -> Paused {
        self.store.pause(tenant, by_joe("pause", now)).await.unwrap()
    }

    async fn resumes_at(&self, tenant: Option<TenantId>, now: Timestamp) -> Resumed {
        self.store.resume(tenant, by_joe("resume", now)).await.unwrap()
    }

    async fn due_at(&self, now: Timestamp) -> Due {
        self.store.lease_due(now, self.lease(now), 10, Vec::new()).await.unwrap()
    }
}

fn graph_ids(leased: &[Leased]) -> Vec<&str> {
    leased.iter().map(|one| one.graph_id.0.as_str()).collect()
}

#[tokio::test]
async fn nothing_is_leased_while_it_is_paused_and_everything_in_its_order_afterwards() {
    for whom in [None, Some(tenant())] {
        let there = Fixture::new().await;
        for (id, after) in [("b", 2), ("a", 1)] {
            there.call(id, "100").await;
            there.record(id, NOW + SECOND * after).await;
        }
        assert_eq!(there.pauses_at(whom.clone(), NOW + SECOND * 3).await, Paused::Now);
        // One that comes afterwards, with a lease asked for and without.
        for (id, leases) in [("c", true), ("d", false)] {
            there.call(id, "100").await;
            let now = NOW + SECOND * 4;
            let ask = there.ask(by_call_id(id), now).await;
            let lease = leases.then(|| there.lease(now));
            let decided = there.admit(Ask { lease, ..ask }).await;
            assert!(decided.recorded.is_some() && decided.leased.is_none(), "{id}");
        }
        let due = there.due_at(NOW + SECOND * 5).await;
        assert_eq!((due.leased.len(), due.over.len()), (0, 0));
        assert_eq!(due.next, Some(NOW + SECOND + DEADLINE), "nobody looks at it all the time");
        let attempts: i64 = there.look("SELECT count(*) FROM attempts");
        assert_eq!(attempts, 0);
        assert!(matches!(there.resumes_at(whom, NOW + SECOND * 6).await, Resumed::Now(_)));
        let due = there.due_at(NOW + SECOND * 6).await;
        assert_eq!(graph_ids(&due.leased), ["a", "b", "c", "d"]);
    }
}

#[tokio::test]
async fn nothing_is_asked_of_graph_while_it_is_paused_and_what_is_due_afterwards() {
    let there = Fixture::new().await;
    there.call("a", "100").await;
    there.by_hand("UPDATE calls SET look_at = 1, look_wanted = 2");
    let looks = async |now: Timestamp| {
        let app = Asking { tenant: tenant(), client_id: "app".to_owned() };
        there.store.calls_to_look_at(app, now.into(), 10, Vec::new()).await.unwrap().len()
    };
    let other = TenantId::new("other");
    there.store.tenant(other.clone(), NOW).await.unwrap();
    for (whom, expected) in [(None, 0), (Some(tenant()), 0), (Some(other), 1)] {
        assert_eq!(there.pauses_at(whom.clone(), NOW).await, Paused::Now);
        assert_eq!(looks(NOW + SECOND).await, expected, "{whom:?}");
        assert!(matches!(there.resumes_at(whom, NOW + SECOND).await, Resumed::Now(_)));
        assert_eq!(looks(NOW + SECOND).await, 1);
    }
}

#[tokio::test]
async fn a_pause_of_another_tenant_keeps_nothing_back() {
    let there = Fixture::new().await;
    let other = TenantId::new("contoso.example");
    there.store.tenant(other.clone(), NOW).await.unwrap();
    there.pauses_at(Some(other), NOW).await;
    there.call("a", "100").await;
    there.begin("a", NOW).await;
    there.call("b", "100").await;
    there.record("b", NOW).await;
    assert_eq!(graph_ids(&there.due_at(NOW).await.leased), ["b"]);
}

#[tokio::test]
async fn what_had_begun_is_settled_and_not_begun_again() {
    let there = Fixture::new().await;
    there.call("a", "100").await;
    let leased = there.begin("a", NOW).await;
    there.pauses_at(None, NOW + SECOND).await;
    let again = Next::At(NOW + SECOND * 9);
    assert!(
        there.store.settle(leased, answered(NOW + SECOND, 503, again)).await.unwrap().is_none()
    );
    assert!(there.due_at(NOW + SECOND * 20).await.leased.is_empty());
    there.resumes_at(None, NOW + SECOND * 21).await;
    assert_eq!(there.due_at(NOW + SECOND * 21).await.leased.len(), 1);
    // A lease that lapsed while it was paused waits as well.
    there.pauses_at(None, NOW + SECOND * 22).await;
    assert!(there.due_at(NOW + SECOND * 21 + LEASE).await.leased.is_empty());
}

#[tokio::test]
async fn what_graph_asked_to_wait_for_is_still_waited_for_after_a_resumption() {
    let there = Fixture::new().await;
    there.call("a", "100").await;
    let leased = there.begin("a", NOW).await;
    let at = NOW + SECOND * 60;
    there.store.settle(leased, answered(NOW, 429, Next::At(at))).await.unwrap();
    there.pauses_at(None, NOW + SECOND).await;
    there.resumes_at(None, NOW + SECOND * 2).await;
    let due = there.due_at(NOW + SECOND * 3).await;
    assert_eq!((due.leased.len(), due.next), (0, Some(at)));
    assert_eq!(there.due_at(at).await.leased.len(), 1);
}

#[tokio::test]
async fn deadlines_run_and_holds_hold_while_it_is_paused() {
    let there = Fixture::new().await;
    there.call("a", "100").await;
    let late = there.record("a", NOW).await;
    there.pauses_at(None, NOW).await;
    let before = there.due_at(NOW + DEADLINE - Duration::from_millis(1)).await;
    assert!(before.over.is_empty());
    assert_eq!(there.state(late).await, Open);
    let due = there.due_at(NOW + DEADLINE).await;
    assert_eq!((due.leased.len(), due.over[0].state), (0, Obsolete));
    // A hold that was set meanwhile is found when it would be sent.
    let now = NOW + DEADLINE;
    there.call("b", "200").await;
    let held = there.record("b", now).await;
    there.due_at(now).await;
    there.by_hand(
        "INSERT INTO holds (hold_id, tenant, kind, value, set_by, set_at) \
         VALUES ('h', 1, 'call', 'b', 'jane', 0)",
    );
    there.resumes_at(None, now).await;
    assert_eq!(there.due_at(now).await.over[0].state, Held);
    assert_eq!(there.state(held).await, Held);
}

#[tokio::test]
async fn a_call_that_has_rung_out_while_it_was_paused_is_hung_up_afterwards() {
    let there = Fixture::new().await;
    there.apply(vec![state("a", CallState::Incoming)], NOW).await;
    there.pauses_at(None, NOW).await;
    there.record("a", NOW).await;
    for seconds in [0, 5, 30] {
        let due = there.due_at(NOW + SECOND * seconds).await;
        assert_eq!((due.leased.len(), due.over.len()), (0, 0), "after {seconds} s");
    }
    there.resumes_at(None, NOW + SECOND * 60).await;
    let due = there.due_at(NOW + SECOND * 60).await;
    assert_eq!(due.leased[0].order, Order::HangUp);
}

#[tokio::test]
async fn what_is_paused_can_be_withdrawn_and_is_joined() {
    let there = Fixture::new().await;
    there.call("a", "100").await;
    there.pauses_at(None, NOW).await;
    let deletion = there.record("a", NOW).await;
    let again = there.admit(there.ask(by_number("100", "ongoing"), NOW + SECOND).await).await;
    assert!(again.recorded.is_none(), "{again:?}");
    let standing = there.store.withdraw(deletion, NOW + SECOND, |_| ()).await.unwrap();
    assert!(matches!(standing, Standing::Withdrawn(_)), "{standing:?}");
    there.resumes_at(None, NOW + SECOND).await;
    assert!(there.due_at(NOW + SECOND).await.leased.is_empty());
}

#[tokio::test]
async fn two_pauses_are_lifted_one_by_one() {
    let there = Fixture::new().await;
    there.call("a", "100").await;
    there.record("a", NOW).await;
    there.pauses_at(None, NOW).await;
    there.pauses_at(Some(tenant()), NOW).await;
    there.resumes_at(None, NOW).await;
    assert!(there.due_at(NOW).await.leased.is_empty());
    there.resumes_at(Some(tenant()), NOW).await;
    assert_eq!(there.due_at(NOW).await.leased.len(), 1);
}

#[tokio::test]
async fn a_switch_that_changes_nothing_says_so_and_is_not_recorded() {
    let there = Fixture::new().await;
    let pause = |tenant| Pause {
        tenant,
        since: NOW,
        by: "joe@gateway".to_owned(),
        reason: Some("Graph misbehaves".to_owned()),
        backup_at: None,
    };
    let records = || there.look::<i64>("SELECT count(*) FROM audit");
    for (number, whom) in (1..).zip([None, Some(tenant())]) {
        assert_eq!(there.resumes_at(whom.clone(), NOW).await, Resumed::Before);
        assert_eq!(there.pauses_at(whom.clone(), NOW).await, Paused::Now);
        let again = there.pauses_at(whom.clone(), NOW + SECOND).await;
        assert_eq!(again, Paused::Before(pause(whom)));
        assert_eq!(records(), number);
    }
    assert_eq!(there.store.pauses().await.unwrap(), [pause(None), pause(Some(tenant()))]);
    let nobody = Some(TenantId::new("nobody.example"));
    assert_eq!(there.pauses_at(nobody.clone(), NOW).await, Paused::Unknown);
    assert_eq!(there.resumes_at(nobody, NOW).await, Resumed::Unknown);
    for whom in [None, Some(tenant())] {
        let resumed = there.resumes_at(whom.clone(), NOW + SECOND).await;
        assert_eq!(resumed, Resumed::Now(pause(whom)));
    }
    assert_eq!(records(), 4);
    assert_eq!(there.store.pauses().await.unwrap(), []);
}

#[tokio::test]
async fn what_was_parked_after_its_lease_lapsed_waits_as_its_late_answer_asks() {
    let there = Fixture::new().await;
    there.call("a", "100").await;
    let leased = there.begin("a", NOW).await;
    there.store.pause(None, entry("pause", NOW)).await.unwrap();
    let lapsed = NOW + LEASE + SECOND;
    let due = |at| there.store.lease_due(at, there.lease(at), 9, Vec::new());
    assert!(due(lapsed).await.unwrap().leased.is_empty());
    let end = answered(lapsed, 429, Next::At(lapsed + SECOND * 60));
    there.store.settle(leased, end).await.unwrap();
    there.store.resume(None, entry("resume", lapsed)).await.unwrap();
    assert!(due(lapsed + SECOND * 59).await.unwrap().leased.is_empty());
    assert_eq!(due(lapsed + SECOND * 60).await.unwrap().leased.len(), 1);
}
