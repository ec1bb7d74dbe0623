//! Retry and cancel against random histories, and the reasons one by one.

mod waits;

use std::time::Duration;

use proptest::prelude::*;

use self::waits::throttled;
use crate::clock::Timestamp;
use crate::id::{DeletionId, ProcessId, TenantId};
use crate::model::deletion::DeletionState::{
    self, Cancelled, Failed, Obsolete, Open, Sent, Unknown,
};
use crate::model::deletion::EVERYBODY_IS_MEANT;
use crate::store::admission::{Asked, AttemptEnd, Leased, Next};
use crate::store::fixture::{DEADLINE, Fixture, NOW, TENANT, answered, entry, over};
use crate::store::operations::{Change, Intervention, Judged, Manner, Obstacle};
use crate::store::reconcile::Asking;

const SECOND: Duration = Duration::from_secs(1);

impl Fixture {
    async fn retry_all(&self, ids: &[DeletionId], now: Timestamp, manner: Manner) -> Vec<Judged> {
        let app = Asking { tenant: TenantId::new(TENANT), client_id: "app".to_owned() };
        let change = Change::Retry { tried_for: DEADLINE, apps: vec![app] };
        let entry = entry("deletions retry", now);
        let intervention = Intervention { change, ids: ids.to_vec(), manner, entry };
        self.store.intervene(intervention).await.unwrap()
    }

    async fn retry(&self, id: DeletionId, now: Timestamp) -> Option<Obstacle> {
        self.retry_all(&[id], now, Manner::AllOrNone).await.remove(0).obstacle
    }

    async fn cancel(&self, id: DeletionId, now: Timestamp) -> Option<Obstacle> {
        let (change, entry) = (Change::Cancel, entry("deletions cancel", now));
        let manner = Manner::AllOrNone;
        let intervention = Intervention { change, ids: vec![id], manner, entry };
        self.store.intervene(intervention).await.unwrap().remove(0).obstacle
    }

    async fn state_of(&self, id: DeletionId) -> DeletionState {
        self.store.deletion(id).await.unwrap().unwrap().row.state
    }

    async fn all_due_at(&self, now: Timestamp) -> Vec<Leased> {
        self.store.lease_due(now, self.lease(now), 10, Vec::new()).await.unwrap().leased
    }

    /// A deletion of the call `graph_id` that ended with `state`.
    async fn ended(&self, graph_id: &str, status: u16, state: DeletionState) -> DeletionId {
        self.call(graph_id, "100").await;
        let leased = self.begin(graph_id, NOW).await;
        let id = leased.deletion_id;
        let end = answered(NOW, status, over(state, Some("refused"), false));
        self.store.settle(leased, end).await.unwrap();
        id
    }
}

#[tokio::test]
async fn a_failed_deletion_is_tried_again_by_one_more_step_with_its_own_deadline() {
    let there = Fixture::new().await;
    let id = there.ended("a", 403, Failed).await;
    let later = NOW + DEADLINE * 3;
    assert_eq!(there.retry(id, later).await, None);
    let leased = there.all_due_at(later).await.remove(0);
    assert_eq!((leased.step.position, leased.attempt, leased.fence), (2, 2, 2));
    assert_eq!(leased.deadline, later + DEADLINE);
    there.store.settle(leased, answered(later, 204, over(Sent, None, false))).await.unwrap();
    let found = there.store.deletion(id).await.unwrap().unwrap();
    assert_eq!((found.row.state, found.row.failure), (Sent, None));
    let attempts: Vec<_> = found.steps.iter().flat_map(|step| &step.attempts).collect();
    assert_eq!(attempts.iter().map(|one| one.status).collect::<Vec<_>>(), [Some(403), Some(204)]);
    assert_eq!(there.retry(id, later).await, Some(Obstacle::Taken(Sent)));
}

#[tokio::test]
async fn every_change_is_recorded_and_no_refusal() {
    let there = Fixture::new().await;
    let id = there.ended("a", 403, Failed).await;
    let records = || there.look::<i64>("SELECT count(*) FROM audit");
    let before = records();
    there.retry_all(&[id], NOW, Manner::Preview).await;
    assert_eq!((records(), there.state_of(id).await), (before, Failed));
    assert_eq!(there.retry(id, NOW).await, None);
    assert_eq!(records(), before + 1);
    let last: Vec<u8> = there.look("SELECT canonical FROM audit ORDER BY position DESC LIMIT 1");
    let last: serde_json::Value = serde_json::from_slice(&last).unwrap();
    assert_eq!((&last["action"], &last["result"]), (&"deletions retry".into(), &"done".into()));
    assert_eq!(last["deletion_id"], id.to_string());
    assert_eq!((&last["call_id"], &last["tenant"]), (&"our-a".into(), &TENANT.into()));
    assert_eq!(there.retry(id, NOW).await, Some(Obstacle::NotOver(Open)));
    assert_eq!(records(), before + 1);
}

#[tokio::test]
async fn of_several_that_are_named_all_are_changed_or_none() {
    let there = Fixture::new().await;
    let (failed, sent) = (there.ended("a", 403, Failed).await, there.ended("b", 204, Sent).await);
    let ids = [failed, sent, DeletionId::random()];
    let judged = there.retry_all(&ids, NOW, Manner::AllOrNone).await;
    let obstacles: Vec<_> = judged.into_iter().map(|one| one.obstacle).collect();
    assert_eq!(obstacles, [None, Some(Obstacle::Taken(Sent)), Some(Obstacle::Unknown)]);
    assert_eq!(there.state_of(failed).await, Failed);
    there.retry_all(&ids, NOW, Manner::WhateverCan).await;
    assert_eq!(there.state_of(failed).await, Open);
}

#[tokio::test]
async fn a_second_deletion_of_the_call_stands_in_the_way_while_open_and_once_taken() {
    let there = Fixture::new().await;
    let first = there.ended("a", 403, Failed).await;
    let second = there.begin("a", NOW).await;
    let id = second.deletion_id.to_string();
    assert_eq!(there.retry(first, NOW).await, Some(Obstacle::AnotherOpen(id.clone())));
    there.store.settle(second, answered(NOW, 204, over(Sent, None, false))).await.unwrap();
    assert_eq!(there.retry(first, NOW).await, Some(Obstacle::AnotherTaken(id)));
    assert!(there.all_due_at(NOW + SECOND).await.is_empty());
}

#[tokio::test]
async fn of_two_that_failed_for_one_call_only_one_is_tried_again() {
    let there = Fixture::new().await;
    let first = there.ended("a", 403, Failed).await;
    let second = there.begin("a", NOW).await;
    let other = second.deletion_id;
    there.store.settle(second, answered(NOW, 403, over(Failed, None, false))).await.unwrap();
    for manner in [Manner::Preview, Manner::WhateverCan] {
        let judged = there.retry_all(&[first, other], NOW, manner).await;
        assert_eq!(judged[0].obstacle, None);
        assert_eq!(judged[1].obstacle, Some(Obstacle::AnotherOpen(first.to_string())));
    }
}

#[tokio::test]
async fn what_cannot_be_sent_again_is_refused_with_its_reason() {
    let of = "UPDATE deletions SET kind =";
    let cases = [
        (format!("{of} 'RejectCall'"), Obstacle::RingsNoMore),
        (format!("{of} 'InviteParticipant', state = 'unknown'"), Obstacle::InvitesTwice),
        (format!("{of} 'DeleteParticipant'; UPDATE calls SET ended_at = 1"), Obstacle::CallEnded),
        ("UPDATE deletions SET call = NULL".to_owned(), Obstacle::NoCall),
        ("UPDATE calls SET app_id = 'other'".to_owned(), Obstacle::OtherApp),
        ("UPDATE attempts SET status = 204".to_owned(), Obstacle::Accepted),
        (
            "UPDATE attempts SET effect_possible = 1; UPDATE deletions SET state = 'unknown'; \
             UPDATE calls SET ended_at = 1"
                .to_owned(),
            Obstacle::EndedSince,
        ),
        (
            "INSERT INTO holds (hold_id, tenant, kind, value, set_by, set_at) \
             VALUES ('h1', 1, 'call', 'a', 'jane', 1)"
                .to_owned(),
            Obstacle::Held("h1".to_owned()),
        ),
        (
            "UPDATE tenants SET tenant_id = 'other.example'".to_owned(),
            Obstacle::TenantNotConfigured(TenantId::new("other.example")),
        ),
    ];
    for (by_hand, obstacle) in cases {
        let there = Fixture::new().await;
        let id = there.ended("a", 403, Failed).await;
        there.by_hand(&by_hand);
        assert_eq!(there.retry(id, NOW).await, Some(obstacle), "{by_hand}");
        assert!(there.all_due_at(NOW + SECOND).await.is_empty(), "{by_hand}");
    }
}

#[tokio::test]
async fn scope_all_begins_anew_whatever_was_removed_before() {
    let there = Fixture::new().await;
    let id = there.ended("a", 403, Failed).await;
    there.by_hand(
        "UPDATE deletions SET scope = 'all', most_others = 5; \
         UPDATE steps SET operation = 'remove-participant', target = 'p'; \
         UPDATE attempts SET status = 204",
    );
    assert_eq!(there.retry(id, NOW).await, None);
    let step = "SELECT operation || coalesce(target, '') FROM steps WHERE position = 2";
    assert_eq!(there.look::<String>(step), "read-roster");
    // Who is in the call much later was not meant.
    let deadline: i64 = there.look("SELECT deadline_at FROM deletions");
    assert_eq!(Timestamp(deadline), NOW + EVERYBODY_IS_MEANT);
}

#[tokio::test]
async fn what_its_caller_was_told_will_not_be_sent_is_never_begun() {
    let there = Fixture::new().await;
    there.call("a", "100").await;
    let withdrawn = there.record("a", NOW).await;
    there.store.withdraw(withdrawn, NOW, |_| ()).await.unwrap();
    there.call("b", "100").await;
    let late = there.record("b", NOW).await;
    let told = there.store.standing(late, NOW + DEADLINE).await.unwrap();
    assert_eq!(told.state, Obsolete);
    for id in [withdrawn, late] {
        assert_eq!(there.retry(id, NOW).await, Some(Obstacle::Denied));
    }
    assert!(there.all_due_at(NOW + SECOND).await.is_empty());
}

#[tokio::test]
async fn a_deletion_is_cancelled_before_it_can_have_had_an_effect_and_not_after() {
    let there = Fixture::new().await;
    there.call("a", "100").await;
    let waiting = there.record("a", NOW).await;
    assert_eq!(there.cancel(waiting, NOW).await, None);
    assert_eq!(there.state_of(waiting).await, Cancelled);
    assert!(there.all_due_at(NOW + SECOND).await.is_empty());
    assert_eq!(there.cancel(waiting, NOW).await, Some(Obstacle::Over(Cancelled)));
    assert_eq!(there.retry(waiting, NOW).await, None);

    let leased = there.all_due_at(NOW + SECOND).await.remove(0);
    assert_eq!(there.cancel(waiting, NOW).await, Some(Obstacle::BeingSent));
    let again = |status| answered(NOW, status, Next::At(NOW + SECOND * 2));
    there.store.settle(leased, again(503)).await.unwrap();
    assert_eq!(there.cancel(waiting, NOW).await, Some(Obstacle::EffectPossible));

    there.call("b", "100").await;
    let throttled = there.begin("b", NOW).await;
    let id = throttled.deletion_id;
    there.store.settle(throttled, again(429)).await.unwrap();
    assert_eq!(there.cancel(id, NOW).await, None);
    let sent = there.ended("c", 204, Sent).await;
    assert_eq!(there.cancel(sent, NOW).await, Some(Obstacle::Taken(Sent)));
}

/// One thing that happens to deletions of two calls.
#[derive(Clone, Copy, Debug)]
enum Happening {
    /// A client asks for the deletion of a call.
    Ask {
        call: usize,
        begins: bool,
    },
    /// Graph answers the oldest or the newest attempt under way, in time or not.
    Answer {
        newest: bool,
        answer: usize,
    },
    /// Time passes, and what is due is leased.
    Lease {
        seconds: u64,
    },
    /// The operator tries one again, or cancels it.
    Retry {
        nth: usize,
    },
    Cancel {
        nth: usize,
    },
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        (0..2_usize, any::<bool>()).prop_map(|(call, begins)| Happening::Ask { call, begins }),
        (any::<bool>(), 0..6_usize)
            .prop_map(|(newest, answer)| Happening::Answer { newest, answer }),
        prop_oneof![Just(1), Just(80), Just(4000)].prop_map(|seconds| Happening::Lease { seconds }),
        (0..8_usize).prop_map(|nth| Happening::Retry { nth }),
        (0..8_usize).prop_map(|nth| Happening::Cancel { nth }),
    ]
}

fn graphs(answer: usize, now: Timestamp) -> AttemptEnd {
    match answer {
        0 => answered(now, 204, over(Sent, None, false)),
        1 => answered(now, 403, over(Failed, Some("refused"), false)),
        2 => answered(now, 503, Next::At(now + SECOND)),
        3 => throttled(now, 90, false),
        4 => answered(now, 404, over(Failed, Some("no such call"), true)),
        _ => answered(now, 500, over(Unknown, Some("nobody knows"), false)),
    }
}

/// What is due or under way of a deletion that Graph said it has taken.
const SENT_AGAIN: &str = "SELECT count(*) FROM deletions AS d JOIN steps AS s \
                          ON s.deletion = d.deletion WHERE s.state = 'open' \
                          AND s.next_attempt_at IS NOT NULL \
                          AND d.state IN ('sent', 'confirmed', 'gone')";

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn no_intervention_makes_due_again_what_graph_has_taken(
        happenings in proptest::collection::vec(happening(), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(happenings))?;
    }
}

async fn run(happenings: Vec<Happening>) -> Result<(), TestCaseError> {
    let there = Fixture::new().await;
    for call in ["a", "b"] {
        there.call(call, "100").await;
    }
    let (mut now, mut ids, mut under_way) = (NOW, Vec::new(), Vec::<Leased>::new());
    for happening in happenings {
        match happening {
            Happening::Ask { call, begins } => {
                let selector = crate::store::fixture::by_call_id(["a", "b"][call]);
                let mut ask = there.ask(selector, now).await;
                ask.lease = begins.then(|| there.lease(now));
                let decided = there.admit(ask).await;
                ids.extend(decided.recorded);
                under_way.extend(decided.leased);
            }
            Happening::Answer { newest, answer } => {
                let at = if newest { under_way.len().saturating_sub(1) } else { 0 };
                if at < under_way.len() {
                    let leased = under_way.remove(at);
                    there.store.settle(leased, graphs(answer, now)).await.unwrap();
                }
            }
            Happening::Lease { seconds } => {
                now = now + Duration::from_secs(seconds);
                let leased = there.all_due_at(now).await;
                for one in &leased {
                    let asked = format!(
                        "SELECT coalesce(max(not_before), 0) FROM attempts WHERE deletion = {}",
                        one.step.deletion
                    );
                    prop_assert!(there.look::<i64>(&asked) <= now.0, "{:?}", one);
                }
                under_way.extend(leased);
            }
            Happening::Retry { nth } => {
                let Some(id) = ids.get(nth % ids.len().max(1)) else { continue };
                let before = there.store.deletion(*id).await.unwrap().unwrap();
                let accepted = before.steps.iter().flat_map(|step| &step.attempts);
                let accepted = accepted.filter(|one| one.status == Some(204)).count();
                let obstacle = there.retry(*id, now).await;
                if before.row.state.is_taken() || accepted > 0 {
                    prop_assert!(obstacle.is_some(), "{:?}", before);
                }
                prop_assert_eq!(obstacle.is_none(), there.state_of(*id).await != before.row.state);
            }
            Happening::Cancel { nth } => {
                let Some(id) = ids.get(nth % ids.len().max(1)) else { continue };
                let before = there.store.deletion(*id).await.unwrap().unwrap();
                let mut attempts = before.steps.iter().flat_map(|step| &step.attempts);
                if attempts.any(|one| one.effect_possible || one.status == Some(204)) {
                    prop_assert!(there.cancel(*id, now).await.is_some(), "{:?}", before);
                } else {
                    there.cancel(*id, now).await;
                }
            }
        }
        prop_assert_eq!(there.look::<i64>(SENT_AGAIN), 0);
    }
    Ok(())
}
