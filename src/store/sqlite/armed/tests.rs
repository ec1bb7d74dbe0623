//! What is armed fires for the first call of its number that begins in time, and for no other.

mod unreadable;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::clock::Timestamp;
use crate::id::{DeletionId, GraphCallId, TenantId};
use crate::model::call::{CallState, Party};
use crate::model::change::CallChange;
use crate::model::deletion::{DeletionKind, DeletionState, LEG_OVER, NOT_BEGUN, OTHER_APP, Scope};
use crate::model::number::Number;
use crate::model::plan::{Decision, Operation, RejectReason};
use crate::store::admission::{Ask, Decided, Leased};
use crate::store::fixture::{
    Fixture, NOW, TENANT, answered, by_call_id, by_number, entry, open, over,
};
use crate::store::operations::{Change, Intervention, Manner};
use crate::store::records::{Applied, CallNews};
use crate::store::sqlite::Missing;

const SECOND: Duration = Duration::from_secs(1);
const NUMBER: &str = "+4930100";

/// News of a call of `number` that begins.
fn rings(graph_id: &str, number: &str) -> CallChange {
    CallChange { state: Some(CallState::Incoming), created: true, ..of(graph_id, number) }
}

fn of(graph_id: &str, number: &str) -> CallChange {
    let normalised = Number::parse(number).unwrap().normalised;
    let raw = number.to_owned();
    let party = Party { role: "target", kind: "number", raw, normalised, display_name: None };
    CallChange { parties: vec![party], ..CallChange::of(GraphCallId(graph_id.to_owned())) }
}

impl Fixture {
    async fn next(&self, now: Timestamp) -> Ask {
        let mut ask = self.ask(by_number(NUMBER, "next"), now).await;
        ask.question.may_arm = true;
        ask
    }

    async fn arm(&self, now: Timestamp) -> DeletionId {
        self.armed(self.next(now).await).await
    }

    async fn armed(&self, ask: Ask) -> DeletionId {
        let decided = self.admit(ask).await;
        assert_eq!(decided.decision, Decision::Arm);
        decided.recorded.unwrap()
    }

    async fn hear(&self, changes: Vec<CallChange>, now: Timestamp) {
        self.hear_of("app", TENANT, changes, now).await;
    }

    async fn hear_of(&self, app: &str, tenant: &str, changes: Vec<CallChange>, now: Timestamp) {
        let turn = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
        let (tenant, app_id) = (TenantId::new(tenant), Some(app.to_owned()));
        let news = CallNews { tenant, app_id, changes, now: now.into() };
        assert!(matches!(self.store.apply(news, turn).await.unwrap(), Applied::Merged { .. }));
    }

    async fn leased(&self, now: Timestamp) -> Vec<Leased> {
        let lease = self.lease(now);
        self.store.lease_due(now, lease, 9, Vec::new()).await.unwrap().leased
    }

    /// State, Graph's id of the call, and why it failed.
    async fn stood(&self, id: DeletionId) -> (DeletionState, Option<String>, Option<String>) {
        let row = self.store.deletion(id).await.unwrap().unwrap().row;
        (row.state, row.graph_call_id, row.failure)
    }

    #[track_caller]
    fn counts(&self, sql: &str, expected: i64) {
        assert_eq!(self.look::<i64>(sql), expected, "{sql}");
    }
}

fn is(
    state: DeletionState,
    call: Option<&str>,
    failure: Option<&str>,
) -> (DeletionState, Option<String>, Option<String>) {
    (state, call.map(str::to_owned), failure.map(str::to_owned))
}

const ARMED: (DeletionState, Option<String>, Option<String>) = (DeletionState::Armed, None, None);

#[tokio::test]
async fn the_first_call_of_the_number_is_rejected_and_the_second_one_goes_on() {
    let there = Fixture::new().await;
    let id = there.arm(NOW).await;
    assert_eq!(there.stood(id).await, ARMED);
    there.counts("SELECT count(*) FROM steps", 0);
    assert!(there.leased(NOW).await.is_empty());
    there.hear(vec![rings("a", NUMBER)], NOW + SECOND * 9).await;
    // Whoever sends is told before it would look.
    tokio::time::timeout(SECOND, there.store.fired().notified()).await.unwrap();
    assert_eq!(there.stood(id).await, is(DeletionState::Open, Some("a"), None));
    there.hear(vec![rings("b", NUMBER)], NOW + SECOND * 10).await;
    let leased = there.leased(NOW + SECOND * 10).await;
    assert_eq!(leased.len(), 1);
    assert_eq!(leased[0].graph_id.0, "a");
    assert_eq!(leased[0].order.operation(), Operation::Reject);
    let of_it = "SELECT count(*) FROM audit WHERE canonical LIKE '%\"armed deletion fired\"%' \
                 AND canonical LIKE '%\"admitted\"%' AND canonical LIKE '%\"our-%' IS 0";
    there.counts(of_it, 1);
    there.counts("SELECT count(*) FROM armed_numbers", 0);
}

#[tokio::test]
async fn a_call_that_is_not_the_first_to_begin_is_left_alone() {
    let there = Fixture::new().await;
    there.hear(vec![rings("before", NUMBER)], NOW - SECOND).await;
    there.call("imported-before", NUMBER).await;
    let id = there.arm(NOW).await;
    let now = NOW + SECOND;
    there.call("imported", NUMBER).await;
    let answered = Some(CallState::Established);
    for change in [
        rings("other-number", "+4930101"),
        of("imported", NUMBER),
        CallChange { state: Some(CallState::Incoming), created: true, ..of("imported", NUMBER) },
        rings("imported-before", NUMBER),
        rings("before", NUMBER),
        // Nobody knows when it began.
        CallChange { state: answered, ..of("answered", NUMBER) },
        CallChange { deleted: true, created: true, ..of("over", NUMBER) },
        CallChange { state: Some(CallState::Terminating), created: true, ..of("ends", NUMBER) },
    ] {
        there.hear(vec![change.clone()], now).await;
        assert_eq!(there.stood(id).await, ARMED, "{change:?}");
    }
    there.hear_of("app", "another tenant", vec![rings("elsewhere", NUMBER)], now).await;
    // What was told before the request came is late, and no beginning.
    there.hear(vec![rings("late", NUMBER)], NOW - SECOND).await;
    assert_eq!(there.stood(id).await, ARMED);
    there.hear(vec![rings("first", "+4930102"), rings("second", NUMBER)], now).await;
    assert_eq!(there.stood(id).await, is(DeletionState::Open, Some("second"), None));
}

#[tokio::test]
async fn of_two_calls_in_one_post_the_first_one_is_meant() {
    let there = Fixture::new().await;
    let id = there.arm(NOW).await;
    there.hear(vec![rings("b", NUMBER), rings("a", NUMBER)], NOW).await;
    assert_eq!(there.stood(id).await, is(DeletionState::Open, Some("b"), None));
    there.counts("SELECT count(*) FROM steps", 1);
}

#[tokio::test]
async fn after_60_seconds_nothing_fires_whether_or_not_the_sender_has_looked() {
    let there = Fixture::new().await;
    let id = there.arm(NOW).await;
    there.hear(vec![rings("a", NUMBER)], NOW + SECOND * 60).await;
    assert_eq!(there.stood(id).await, ARMED);
    there.leased(NOW + SECOND * 59).await;
    assert_eq!(there.stood(id).await, ARMED);
    there.leased(NOW + SECOND * 60).await;
    assert_eq!(there.stood(id).await, is(DeletionState::Obsolete, None, Some(NOT_BEGUN)));
    let in_time = there.arm(NOW).await;
    there.hear(vec![rings("b", NUMBER)], NOW + SECOND * 60 - Duration::from_millis(1)).await;
    assert_eq!(there.stood(in_time).await, is(DeletionState::Open, Some("b"), None));
}

#[tokio::test]
async fn what_is_armed_survives_a_restart_with_the_rules_of_its_request() {
    let mut there = Fixture::new().await;
    let mut ask = there.next(NOW).await;
    ask.selection.selector.platform_call_id = Some("chain".to_owned());
    ask.selection.numbers.push("100".to_owned());
    let id = there.armed(ask).await;
    let folder = there.path().parent().unwrap().to_owned();
    there.store = open(&folder, Missing::Refuse).0;
    assert_eq!(there.store.take_over(there.process, NOW + SECOND).await.unwrap(), 0);
    there.hear(vec![rings("a", NUMBER)], NOW + SECOND * 2).await;
    assert_eq!(there.stood(id).await, ARMED, "of another chain");
    let chained = CallChange { chain_id: Some("chain".to_owned()), ..rings("b", "100") };
    there.hear(vec![chained], NOW + SECOND * 3).await;
    assert_eq!(there.stood(id).await, is(DeletionState::Open, Some("b"), None));
}

#[tokio::test]
async fn a_call_whose_number_is_told_later_fires_then() {
    let there = Fixture::new().await;
    let id = there.arm(NOW).await;
    let begun = CallChange { parties: Vec::new(), ..rings("a", NUMBER) };
    there.hear(vec![begun], NOW + SECOND).await;
    assert_eq!(there.stood(id).await, ARMED);
    there.hear(vec![of("a", NUMBER)], NOW + SECOND * 20).await;
    assert_eq!(there.stood(id).await, is(DeletionState::Open, Some("a"), None));
    // It rings for 15 seconds.
    let leased = there.leased(NOW + SECOND * 20).await;
    assert_eq!(leased[0].order.operation(), Operation::HangUp);
}

#[tokio::test]
async fn the_same_key_and_selector_join_what_is_armed_and_after_it_fired_arm_anew() {
    let there = Fixture::new().await;
    let id = there.arm(NOW).await;
    let again = there.admit(there.next(NOW + SECOND).await).await;
    assert_eq!(again.decision, Decision::JoinArmed(id));
    assert_eq!((again.recorded, again.claim), (None, Some(2)));
    let mut dry = there.next(NOW + SECOND).await;
    dry.question.dry_run = true;
    assert_eq!(there.admit(dry).await.claim, None);
    there.hear(vec![rings("a", NUMBER)], NOW + SECOND * 2).await;
    assert_ne!(there.arm(NOW + SECOND * 3).await, id);
    let mut dry = there.next(NOW + SECOND * 63).await;
    dry.question.dry_run = true;
    assert_eq!(there.admit(dry).await.decision, Decision::WouldArm);
}

#[tokio::test]
async fn a_repeat_after_a_crash_joins_what_has_fired_since() {
    let there = Fixture::new().await;
    let id = there.arm(NOW).await;
    there.store.take_over(there.process, NOW + SECOND).await.unwrap();
    there.hear(vec![rings("a", NUMBER)], NOW + SECOND * 2).await;
    let Decided { decision, .. } = there.admit(there.next(NOW + SECOND * 3).await).await;
    assert!(matches!(decision, Decision::Join(earlier) if earlier.deletion_id == id));
}

/// Two keys have armed a deletion of the same call, of which the first one was sent.
async fn two_for_one_call() -> (Fixture, [DeletionId; 2], Leased) {
    let there = Fixture::new().await;
    let first = there.arm(NOW).await;
    let (_, other) = there.make_key("c5cc7a29-d38c-4d44-ba2a-1d3d0b9f8e05").await;
    let mut ask = there.next(NOW + SECOND).await;
    ask.checked = there.checked(other, None).await;
    let second = there.armed(ask).await;
    there.hear(vec![rings("a", NUMBER)], NOW + SECOND * 2).await;
    // It is not for the next one.
    there.hear(vec![rings("b", NUMBER)], NOW + SECOND * 3).await;
    assert_eq!(there.stood(first).await, is(DeletionState::Open, Some("a"), None));
    assert_eq!(there.stood(second).await, ARMED);
    let mut leased = there.leased(NOW + SECOND * 3).await;
    assert_eq!(leased.len(), 1);
    let now = NOW + SECOND * 70;
    assert!(there.leased(now).await.is_empty());
    assert_eq!(there.stood(second).await, ARMED, "it waits, however long that takes");
    (there, [first, second], leased.remove(0))
}

#[tokio::test]
async fn of_two_for_one_call_the_second_is_gone_with_the_first() {
    let (there, ids, leased) = two_for_one_call().await;
    let now = NOW + SECOND * 71;
    let end = answered(now, 204, over(DeletionState::Sent, None, false));
    there.store.settle(leased, end).await.unwrap().unwrap();
    assert!(there.leased(now).await.is_empty());
    assert_eq!(there.stood(ids[1]).await, is(DeletionState::Gone, Some("a"), None));
}

#[tokio::test]
async fn of_two_for_one_call_the_second_is_sent_when_the_first_failed() {
    let (there, ids, leased) = two_for_one_call().await;
    there
        .hear(
            vec![CallChange { state: Some(CallState::Established), ..of("a", NUMBER) }],
            NOW + SECOND * 5,
        )
        .await;
    let now = NOW + SECOND * 71;
    let end = answered(now, 403, over(DeletionState::Cancelled, Some("why"), false));
    there.store.settle(leased, end).await.unwrap().unwrap();
    let leased = there.leased(now).await;
    assert_eq!(leased.len(), 1);
    assert_eq!((leased[0].deletion_id, leased[0].graph_id.0.as_str()), (ids[1], "a"));
}

#[tokio::test]
async fn a_key_or_user_that_was_shut_out_is_not_served_and_a_session_that_ended_is() {
    let there = Fixture::new().await;
    let id = there.arm(NOW).await;
    there.revoke().await;
    there.hear(vec![rings("a", NUMBER)], NOW + SECOND).await;
    let why = "its key was revoked or expired before the call began";
    assert_eq!(there.stood(id).await, is(DeletionState::Cancelled, None, Some(why)));
    there.counts("SELECT count(*) FROM steps", 0);

    for (end, expected) in [
        ("UPDATE users SET disabled_at = 1", DeletionState::Cancelled),
        ("UPDATE sessions SET released_at = 1, expires_at = 1", DeletionState::Open),
    ] {
        let there = Fixture::new().await;
        let id = there.arm(NOW).await;
        there.by_hand(
            "INSERT INTO users (user, tenant, login, folded, role, password_hash, created_at) \
             VALUES (1, 1, 'jane', 'jane', 'caller', 'h', 0); \
             INSERT INTO sessions (session_id, tenant, key, user, pepper, hash, created_at, expires_at) \
             SELECT 's', 1, key, 1, pepper, x'01', 0, 9 FROM keys; \
             UPDATE deletions SET user = 1, session = (SELECT session FROM sessions)",
        );
        there.by_hand(end);
        there.hear(vec![rings("a", NUMBER)], NOW + SECOND).await;
        assert_eq!(there.stood(id).await.0, expected, "{end}");
    }
}

#[tokio::test]
async fn a_hold_and_another_app_refuse_the_call_that_began() {
    let there = Fixture::new().await;
    there.by_hand(&format!(
        "INSERT INTO holds (hold_id, tenant, kind, value, set_by, set_at) \
         SELECT 'h', tenant, 'number', '{NUMBER}', 'root', 0 FROM tenants"
    ));
    let id = there.arm(NOW).await;
    there.hear(vec![rings("a", NUMBER)], NOW + SECOND).await;
    let (state, call, _) = there.stood(id).await;
    assert_eq!((state, call.as_deref()), (DeletionState::Held, Some("a")));
    assert!(there.leased(NOW + SECOND).await.is_empty());
    there.counts("SELECT count(*) FROM audit WHERE canonical LIKE '%\"policy\"%'", 1);

    let there = Fixture::new().await;
    let mut ask = there.next(NOW).await;
    ask.question.client_id = Some("ours".to_owned());
    let id = there.armed(ask).await;
    there.hear_of("theirs", TENANT, vec![rings("a", NUMBER)], NOW + SECOND).await;
    assert_eq!(there.stood(id).await, is(DeletionState::Failed, Some("a"), Some(OTHER_APP)));
    assert!(there.leased(NOW + SECOND).await.is_empty());
}

#[tokio::test]
async fn a_call_that_the_numbers_of_the_key_hide_does_not_begin_for_it() {
    let there = Fixture::new().await;
    let id = there.arm(NOW).await;
    there.by_hand("UPDATE keys SET numbers = '+4940*'");
    there.hear(vec![rings("hidden", NUMBER)], NOW + SECOND).await;
    assert_eq!(there.stood(id).await, ARMED);
    let mut shown = rings("shown", NUMBER);
    shown.parties.extend(of("shown", "+4940200").parties);
    there.hear(vec![shown], NOW + SECOND).await;
    assert_eq!(there.stood(id).await, is(DeletionState::Open, Some("shown"), None));
}

#[tokio::test]
async fn what_an_operator_cancelled_does_not_fire() {
    let there = Fixture::new().await;
    let id = there.arm(NOW).await;
    let intervention = Intervention {
        change: Change::Cancel,
        ids: vec![id],
        manner: Manner::AllOrNone,
        entry: entry("deletions cancel", NOW),
    };
    let judged = there.store.intervene(intervention).await.unwrap();
    assert_eq!(judged[0].obstacle, None);
    there.hear(vec![rings("a", NUMBER)], NOW + SECOND).await;
    assert_eq!(there.stood(id).await.0, DeletionState::Cancelled);
    there.counts("SELECT count(*) FROM armed_numbers", 0);
}

#[tokio::test]
async fn a_rejection_is_armed_for_a_call_that_rings_and_for_no_other() {
    let rejects = async |there: &Fixture| {
        let mut ask = there.next(NOW).await;
        ask.question.kind = DeletionKind::RejectCall(RejectReason::Busy);
        there.armed(ask).await
    };
    let there = Fixture::new().await;
    rejects(&there).await;
    there.hear(vec![rings("a", NUMBER)], NOW + SECOND).await;
    let leased = there.leased(NOW + SECOND).await;
    assert_eq!(leased[0].order, crate::model::plan::Order::Reject(RejectReason::Busy));
    assert_eq!(leased[0].deadline, NOW + SECOND * 16);

    let there = Fixture::new().await;
    let id = rejects(&there).await;
    let calls = CallChange { state: Some(CallState::Establishing), ..rings("a", NUMBER) };
    there.hear(vec![calls], NOW + SECOND).await;
    assert_eq!(there.stood(id).await.0, DeletionState::Obsolete);
    assert!(there.leased(NOW + SECOND).await.is_empty());
}

#[tokio::test]
async fn everybody_is_not_promised_once_our_leg_was_ended_alone() {
    let there = Fixture::new().await;
    let mut ask = there.next(NOW).await;
    ask.question.kind = DeletionKind::DeleteCall(Scope::All { most: 7 });
    let id = there.armed(ask).await;
    let begun = CallChange {
        parties: Vec::new(),
        state: Some(CallState::Establishing),
        ..rings("a", NUMBER)
    };
    there.hear(vec![begun], NOW + SECOND).await;
    let ask = there.ask(by_call_id("a"), NOW + SECOND).await;
    let leg = there.admit(Ask { lease: Some(there.lease(NOW + SECOND)), ..ask }).await;
    there.hear(vec![of("a", NUMBER)], NOW + SECOND * 2).await;
    assert_eq!(there.stood(id).await, ARMED, "it waits for the other one");
    let now = NOW + SECOND * 3;
    let end = answered(now, 204, over(DeletionState::Sent, None, false));
    there.store.settle(leg.leased.unwrap(), end).await.unwrap().unwrap();
    there.leased(now).await;
    assert_eq!(there.stood(id).await, is(DeletionState::Obsolete, Some("a"), Some(LEG_OVER)));
    let all = there.look::<i64>("SELECT most_others FROM deletions WHERE scope = 'all'");
    assert_eq!(all, 7);
}
