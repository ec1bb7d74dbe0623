use std::time::Duration;

use super::*;
use crate::id::{DeletionId, TenantId};
use crate::model::call::CallState;
use crate::model::deletion::DeletionState;
use crate::model::end_reason::EndVerdict;
use crate::model::selector::Selector;
use crate::store::admission::{Leased, Next};
use crate::store::fixture::{Fixture, NOW, answered, by_call_id, by_number, over};

const SECOND: Duration = Duration::from_secs(1);

async fn look(there: &Fixture, selector: Selector) -> Found<Box<CallReport>> {
    let ask = there.ask(selector, NOW).await;
    let look = CallLookup {
        checked: ask.checked,
        selection: ask.selection,
        sees_candidates: true,
        now: NOW.into(),
    };
    match there.store.look_up_call(look).await.unwrap() {
        LookedUp::Seen(found) => found,
        LookedUp::AccessChanged => panic!("access has not changed"),
    }
}

async fn one(there: &Fixture, graph_id: &str) -> CallReport {
    match look(there, by_call_id(graph_id)).await {
        Found::One(call) => *call,
        other => panic!("{other:?}"),
    }
}

async fn own(there: &Fixture, key_row: i64, deletion_id: DeletionId) -> Option<DeletionDetails> {
    let checked = there.checked(key_row, None).await;
    let look = DeletionLookup { checked, deletion_id };
    match there.store.look_up_deletion(look).await.unwrap() {
        LookedUp::Seen(found) => found,
        LookedUp::AccessChanged => panic!("access has not changed"),
    }
}

async fn settle(there: &Fixture, leased: Leased, status: u16, next: Next) {
    there.store.settle(leased, answered(NOW + SECOND, status, next)).await.unwrap();
}

#[tokio::test]
async fn a_call_is_shown_with_what_is_known_of_it() {
    let there = Fixture::new().await;
    there.call("a", "100").await;
    there.by_hand(
        "UPDATE calls SET chain_id = 'chain', direction = 'incoming', answered_at = 7; \
         UPDATE parties SET display_name = 'Adele' WHERE role = 'source'",
    );
    let call = one(&there, "a").await;
    assert_eq!((call.call_id.as_str(), call.graph_id.0.as_str()), ("our-a", "a"));
    assert_eq!(
        (call.chain_id.as_deref(), call.direction.as_deref()),
        (Some("chain"), Some("incoming"))
    );
    assert_eq!((call.answered_at, call.deletion_id), (Some(Timestamp(7)), None));
    assert_eq!(call.end, None);
    let parties: Vec<_> = call
        .parties
        .iter()
        .map(|it| (it.role.as_str(), it.raw.as_str(), it.display_name.as_deref()))
        .collect();
    assert_eq!(parties, [("source", "100", Some("Adele")), ("target", "+4989111", None)]);
}

#[tokio::test]
async fn a_look_finds_what_a_deletion_would_find() {
    let there = Fixture::new().await;
    for id in ["a", "b"] {
        there.call(id, "100").await;
    }
    let Found::Several(several) = look(&there, by_number("100", "ongoing")).await else {
        panic!("two calls match")
    };
    assert_eq!((several.count, several.candidates.len()), (2, 2));
    assert!(matches!(look(&there, by_number("100", "last")).await, Found::None));
    assert!(matches!(look(&there, by_number("100", "next")).await, Found::None));
    let leased = there.begin("a", NOW).await;
    settle(&there, leased, 204, over(DeletionState::Sent, None, false)).await;
    let Found::One(call) = look(&there, by_number("100", "next,ongoing")).await else {
        panic!("one call runs")
    };
    assert_eq!(call.graph_id.0, "b");
    let Found::One(call) = look(&there, by_number("100", "last")).await else {
        panic!("one call was ended")
    };
    assert_eq!(call.graph_id.0, "a");
    assert!(call.deletion_id.is_some());
}

#[tokio::test]
async fn who_was_revoked_a_moment_ago_sees_nothing() {
    let there = Fixture::new().await;
    there.call("a", "100").await;
    let deletion_id = there.record("a", NOW).await;
    let ask = there.ask(by_call_id("a"), NOW).await;
    let look = CallLookup {
        checked: ask.checked.clone(),
        selection: ask.selection,
        sees_candidates: true,
        now: NOW.into(),
    };
    there.revoke().await;
    let looked = there.store.look_up_call(look).await.unwrap();
    assert!(matches!(looked, LookedUp::AccessChanged));
    let look = DeletionLookup { checked: ask.checked, deletion_id };
    let looked = there.store.look_up_deletion(look).await.unwrap();
    assert!(matches!(looked, LookedUp::AccessChanged));
}

#[tokio::test]
async fn a_deletion_is_shown_to_its_own_key_and_the_line_of_that_only() {
    let there = Fixture::new().await;
    there.call("a", "100").await;
    let id = there.record("a", NOW).await;
    let (_, other) = there.make_key("6b1f0000-0000-4000-8000-000000000001").await;
    assert_eq!(own(&there, there.key_row, id).await.unwrap().row.deletion_id, id);
    assert!(own(&there, other, id).await.is_none());
    assert!(own(&there, there.key_row, DeletionId::random()).await.is_none());
    // What a key asked for, its successors see, and the other way round.
    let successor = there.rotate(there.key, "6b1f0000-0000-4000-8000-000000000002").await;
    assert_eq!(own(&there, successor, id).await.unwrap().row.deletion_id, id);
    there.by_hand(&format!("UPDATE deletions SET key = {successor}"));
    assert_eq!(own(&there, there.key_row, id).await.unwrap().row.deletion_id, id);
    assert!(own(&there, other, id).await.is_none());
    // What no key asked for is nobody's.
    there.by_hand("UPDATE deletions SET key = NULL");
    assert!(own(&there, there.key_row, id).await.is_none());
    assert!(there.store.deletion(id).await.unwrap().is_some(), "the operator sees every one");
}

#[tokio::test]
async fn a_call_of_another_tenant_is_not_found() {
    let there = Fixture::new().await;
    let other = there.store.tenant(TenantId::new("other.example"), NOW).await.unwrap();
    let mut call = there.imported("a", "100");
    call.tenant_row = other;
    there.import(call).await;
    assert!(matches!(look(&there, by_call_id("a")).await, Found::None));
    assert!(matches!(look(&there, by_number("100", "ongoing,last")).await, Found::None));
}

#[tokio::test]
async fn our_part_in_an_end_is_what_graph_may_have_done_for_us() {
    let there = Fixture::new().await;
    let part = async || {
        there.by_hand("UPDATE calls SET ended_at = 1790000005000");
        one(&there, "a").await.end.unwrap().ours
    };
    there.call("a", "100").await;
    assert_eq!(part().await, OurPart::None);
    there.by_hand("UPDATE calls SET ended_at = NULL");
    // Recorded, and nothing sent yet.
    let refused = there.begin("a", NOW).await;
    assert_eq!(part().await, OurPart::Possible, "an attempt is under way");
    let failed = over(DeletionState::Failed, Some("no"), false);
    settle(&there, refused, 400, failed).await;
    assert_eq!(part().await, OurPart::None);
    there.by_hand("UPDATE calls SET ended_at = NULL");
    let lost = there.begin("a", NOW).await;
    settle(&there, lost.clone(), 503, Next::At(NOW + SECOND)).await;
    assert_eq!(part().await, OurPart::Possible);
    there.by_hand("UPDATE deletions SET state = 'gone' WHERE state = 'open'; UPDATE attempts SET effect_possible = 0");
    assert_eq!(part().await, OurPart::Possible, "gone is no answer that it was taken");
    there.by_hand("UPDATE deletions SET state = 'sent' WHERE state = 'gone'");
    assert_eq!(part().await, OurPart::Taken);
    there.by_hand("UPDATE deletions SET state = 'confirmed' WHERE state = 'sent'");
    assert_eq!(part().await, OurPart::Taken);
}

#[tokio::test]
async fn an_import_that_says_that_the_call_ended_before_the_deletion_confirms_nothing() {
    for (ended_at, state, part) in [
        (NOW - SECOND * 3600, DeletionState::Sent, OurPart::None),
        (NOW + SECOND, DeletionState::Confirmed, OurPart::Taken),
    ] {
        let there = Fixture::new().await;
        there.call("a", "100").await;
        let leased = there.begin("a", NOW).await;
        settle(&there, leased, 204, over(DeletionState::Sent, None, false)).await;
        let mut call = there.imported("a", "100");
        (call.state, call.ended_at) = (CallState::Terminated, Some(ended_at));
        there.import_at(vec![call], NOW + SECOND * 2).await;
        assert_eq!(there.look::<String>("SELECT state FROM deletions"), state.as_str());
        assert_eq!(one(&there, "a").await.end.unwrap().ours, part);
    }
}

#[tokio::test]
async fn a_call_that_had_ended_before_the_deletion_was_ended_by_somebody_else() {
    let there = Fixture::new().await;
    there.call("a", "100").await;
    there.by_hand("UPDATE calls SET ended_at = 1790000000000, end_code = 200, end_subcode = 7000");
    let leased = there.begin("a", NOW).await;
    assert_eq!(one(&there, "a").await.end.unwrap().verdict(), EndVerdict::EndedByOther);
    settle(&there, leased, 204, over(DeletionState::Sent, None, false)).await;
    assert_eq!(one(&there, "a").await.end.unwrap().verdict(), EndVerdict::EndedByOther);
}

#[tokio::test]
async fn a_deletion_is_shown_with_the_end_of_its_call() {
    let there = Fixture::new().await;
    there.call("a", "100").await;
    let leased = there.begin("a", NOW).await;
    let id = leased.deletion_id;
    settle(&there, leased, 204, over(DeletionState::Sent, None, false)).await;
    assert_eq!(there.store.deletion(id).await.unwrap().unwrap().end, None);
    there.by_hand(
        "UPDATE calls SET ended_at = 1790000005000, end_code = 200, end_subcode = 7000, \
         end_message = 'over', end_reason = 'AppInitiated'; \
         UPDATE deletions SET state = 'confirmed', confirmed_at = 1790000005001",
    );
    let details = there.store.deletion(id).await.unwrap().unwrap();
    assert_eq!(details.row.confirmed_at, Some(Timestamp(1_790_000_005_001)));
    let end = details.end.unwrap();
    assert_eq!((end.at, end.verdict()), (Timestamp(1_790_000_005_000), EndVerdict::EndedByUs));
    let reason = EndReason {
        code: Some(200),
        subcode: Some(7000),
        message: Some("over".to_owned()),
        word: Some("AppInitiated".to_owned()),
    };
    assert_eq!(end.reason, reason);
}

#[tokio::test]
async fn a_look_does_not_wait_for_who_writes() {
    let there = Fixture::new().await;
    there.call("a", "100").await;
    let writing = there.other_hand();
    writing.execute_batch("BEGIN IMMEDIATE; UPDATE calls SET subject = 'x'").unwrap();
    assert_eq!(one(&there, "a").await.graph_id.0, "a");
    drop(writing);
}
