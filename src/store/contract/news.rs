//! What becomes known of calls: merged forward only, in any order, all or nothing.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::clock::Timestamp;
use crate::id::{CallId, GraphCallId, TenantId};
use crate::model::call::{CallState, Direction, Party};
use crate::model::change::{CallChange, EndReason};
use crate::model::deletion::DeletionState;
use crate::model::number::Number;
use crate::model::reconcile::{CONFIRMATION, SILENCE};
use crate::store::fixture::{Fixture, NOW, TENANT, answered, over};
use crate::store::records::{Applied, CallDetails, CallNews};

const SECOND: Duration = Duration::from_secs(1);

/// News of a call that say nothing but its id.
pub(super) fn nothing(graph_id: &str) -> CallChange {
    CallChange::of(GraphCallId(graph_id.to_owned()))
}

pub(super) fn state(graph_id: &str, state: CallState) -> CallChange {
    CallChange { state: Some(state), ..nothing(graph_id) }
}

fn deleted(graph_id: &str) -> CallChange {
    CallChange { deleted: true, ..nothing(graph_id) }
}

fn party(role: &'static str, raw: &str) -> Party {
    let normalised = Number::parse(raw).unwrap().normalised;
    Party { role, kind: "number", raw: raw.to_owned(), normalised, display_name: None }
}

fn reason(code: i64, subcode: Option<i64>) -> EndReason {
    EndReason { code: Some(code), subcode, ..EndReason::default() }
}

impl Fixture {
    pub(super) async fn apply(&self, changes: Vec<CallChange>, now: Timestamp) -> Applied {
        self.apply_as(TENANT, changes, now).await
    }

    async fn apply_as(&self, tenant: &str, changes: Vec<CallChange>, now: Timestamp) -> Applied {
        let turn = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
        let tenant = TenantId::new(tenant);
        let news = CallNews { tenant, app_id: Some("app".to_owned()), changes, now: now.into() };
        self.store.apply(news, turn).await.unwrap()
    }

    /// Applies one change a second after another, from `NOW` on.
    async fn tell(&self, changes: Vec<CallChange>) {
        for (change, seconds) in changes.into_iter().zip(0..) {
            self.apply(vec![change], NOW + SECOND * seconds).await;
        }
    }

    pub(super) async fn known(&self, graph_id: &str) -> CallDetails {
        let mut calls = self.store.call(CallId::new(graph_id)).await.unwrap();
        assert_eq!(calls.len(), 1, "{graph_id}");
        calls.remove(0)
    }

    async fn stands(&self, graph_id: &str) -> (String, Option<Timestamp>) {
        let row = self.known(graph_id).await.row;
        (row.state, row.ended_at)
    }
}

#[tokio::test]
async fn news_of_an_unknown_call_adds_it_with_all_that_they_say() {
    let there = Fixture::new().await;
    let news = CallChange {
        created: true,
        direction: Some(Direction::Incoming),
        chain_id: Some("chain".to_owned()),
        thread_id: Some("thread".to_owned()),
        join_meeting_id: Some("meeting".to_owned()),
        subject: Some("lunch".to_owned()),
        observed: Some("somebody".to_owned()),
        my_participant_id: Some("us".to_owned()),
        parties: vec![party("source", "100"), party("target", "200"), party("target", "200")],
        ..state("57DAB8B1894C409AB240BD8BEAE78896", CallState::Incoming)
    };
    assert_eq!(there.apply(vec![news], NOW).await, Applied::Merged { changed: 1 });
    let call = there.known("57dab8b1-894c-409a-b240-bd8beae78896").await;
    assert_eq!(call.row.graph_id, "57DAB8B1894C409AB240BD8BEAE78896");
    assert_eq!((call.row.source.as_deref(), call.row.targets.len()), (Some("100"), 1));
    assert_eq!((call.row.state.as_str(), call.row.started_at), ("incoming", Some(NOW)));
    assert_eq!((call.row.ended_at, call.answered_at), (None, None));
    assert_eq!(call.direction.as_deref(), Some("incoming"));
    assert_eq!(call.my_participant_id.as_deref(), Some("us"));
    assert_eq!(
        (call.chain_id.as_deref(), call.thread_id.as_deref()),
        (Some("chain"), Some("thread"))
    );
    assert_eq!(
        (call.join_meeting_id.as_deref(), call.subject.as_deref()),
        (Some("meeting"), Some("lunch"))
    );
    assert_eq!((call.app_id.as_deref(), call.first_seen_at), (Some("app"), NOW));
    assert_eq!(there.look::<String>("SELECT observed FROM calls"), "somebody");
}

#[tokio::test]
async fn a_tenant_becomes_known_with_its_first_call() {
    let there = Fixture::new().await;
    there.apply_as("new", Vec::new(), NOW).await;
    assert_eq!(there.store.find_tenant(TenantId::new("new")).await.unwrap(), None);
    there.apply_as("new", vec![nothing("a")], NOW).await;
    assert_eq!(there.known("a").await.row.tenant, "new");
}

#[tokio::test]
async fn a_call_that_ended_stays_ended() {
    let there = Fixture::new().await;
    let late = || state("a", CallState::Established);
    there.tell(vec![state("a", CallState::Incoming), deleted("a"), late(), deleted("a")]).await;
    assert_eq!(there.stands("a").await, ("terminated".to_owned(), Some(NOW + SECOND)));
    let call = there.known("a").await;
    assert_eq!(call.answered_at, Some(NOW + SECOND), "never after the end");
    assert_eq!(call.last_seen_at, NOW + SECOND * 3);
}

#[tokio::test]
async fn the_end_of_a_call_that_nobody_knew_leaves_a_mark_that_late_news_do_not_revive() {
    let there = Fixture::new().await;
    there.tell(vec![deleted("a"), state("a", CallState::Incoming)]).await;
    assert_eq!(there.stands("a").await, ("terminated".to_owned(), Some(NOW)));
    assert_eq!(there.known("a").await.row.started_at, Some(NOW));
}

#[tokio::test]
async fn the_old_three_steps_and_the_new_two_give_the_same_row() {
    let there = Fixture::new().await;
    let terminated = |id| state(id, CallState::Terminated);
    let at_once = CallChange { deleted: true, ..terminated("new") };
    let old = vec![state("old", CallState::Terminating), terminated("old"), deleted("old")];
    let new = vec![state("new", CallState::Terminating), at_once];
    there.tell(old).await;
    there.tell(new).await;
    assert_eq!(there.stands("old").await, there.stands("new").await);
}

#[tokio::test]
async fn what_is_told_twice_changes_nothing_but_the_time_of_the_last_news() {
    let there = Fixture::new().await;
    let news = CallChange {
        created: true,
        parties: vec![party("source", "100")],
        end: Some(reason(200, Some(7000))),
        ..state("a", CallState::Terminated)
    };
    there.apply(vec![news.clone()], NOW).await;
    let before = format!("{:?}", there.known("a").await);
    let again = there.apply(vec![news], NOW + SECOND).await;
    assert_eq!(again, Applied::Merged { changed: 0 });
    let mut after = there.known("a").await;
    assert_eq!(after.last_seen_at, NOW + SECOND);
    after.last_seen_at = NOW;
    assert_eq!(format!("{after:?}"), before);
}

#[tokio::test]
async fn one_call_of_another_tenant_refuses_all_that_came_with_it() {
    let there = Fixture::new().await;
    there.apply(vec![state("theirs", CallState::Established)], NOW).await;
    let news = vec![nothing("new"), deleted("theirs")];
    assert_eq!(there.apply_as("other", news.clone(), NOW).await, Applied::OtherTenant);
    assert_eq!(there.look::<i64>("SELECT count(*) FROM calls"), 1);
    assert_eq!(there.look::<i64>("SELECT count(*) FROM tenants"), 1);
    assert_eq!(there.stands("theirs").await.1, None);
    there.store.tenant(TenantId::new("other"), NOW).await.unwrap();
    assert_eq!(there.apply_as("other", news, NOW).await, Applied::OtherTenant);
    assert_eq!(there.look::<i64>("SELECT count(*) FROM calls"), 1);
}

#[tokio::test]
async fn several_news_of_one_call_at_once_are_merged_in_turn() {
    let there = Fixture::new().await;
    let changes = vec![state("a", CallState::Incoming), deleted("b"), deleted("a"), nothing("a")];
    assert_eq!(there.apply(changes, NOW).await, Applied::Merged { changed: 3 });
    assert_eq!(there.stands("a").await.1, Some(NOW));
}

#[tokio::test]
async fn what_an_import_said_is_never_overwritten() {
    let there = Fixture::new().await;
    let mut import = there.imported("a", "100");
    import.direction = Some(Direction::Outgoing);
    import.subject = Some("imported".to_owned());
    import.native_id = Some("native".to_owned());
    let started_at = import.started_at;
    there.import(import).await;
    let news = CallChange {
        created: true,
        direction: Some(Direction::Incoming),
        subject: Some("told".to_owned()),
        parties: vec![party("source", "300")],
        ..state("a", CallState::Incoming)
    };
    there.apply(vec![news], NOW).await;
    let call = there.known("a").await;
    assert_eq!(call.direction.as_deref(), Some("outgoing"));
    assert_eq!(call.subject.as_deref(), Some("imported"));
    assert_eq!((call.row.call_id.as_str(), call.native_id.as_deref()), ("our-a", Some("native")));
    assert_eq!((call.row.state.as_str(), call.row.started_at), ("established", started_at));
    assert_eq!(call.row.source.as_deref(), Some("100"), "the other is added, and shown by none");
    assert_eq!(there.look::<i64>("SELECT count(*) FROM parties"), 3);
}

#[tokio::test]
async fn an_import_knows_the_beginning_better_than_the_first_news() {
    let there = Fixture::new().await;
    there.apply(vec![state("a", CallState::Incoming)], NOW).await;
    let imported_start = there.imported("a", "100").started_at;
    there.call("a", "100").await;
    assert_eq!(there.known("a").await.row.started_at, imported_start);
    let mut again = there.imported("a", "100");
    again.started_at = Some(NOW - SECOND);
    there.import(again).await;
    assert_eq!(there.known("a").await.row.started_at, imported_start);
}

#[tokio::test]
async fn the_answer_is_when_it_first_became_known() {
    use CallState::{Establishing, Hold, Terminating};
    let there = Fixture::new().await;
    let told = [Establishing, Hold, Establishing, CallState::Established, Terminating];
    there.tell(told.map(|one| state("a", one)).to_vec()).await;
    let told = [Establishing, CallState::Redirecting, Terminating];
    there.tell(told.map(|one| state("b", one)).to_vec()).await;
    assert_eq!(there.known("a").await.answered_at, Some(NOW + SECOND));
    assert_eq!(there.known("b").await.answered_at, None);
}

#[tokio::test]
async fn an_end_reason_comes_with_the_end_and_is_the_same_in_any_order() {
    let there = Fixture::new().await;
    let with = |end, change| CallChange { end: Some(end), ..change };
    let told = |id| {
        vec![
            with(reason(200, Some(5001)), state(id, CallState::Terminating)),
            with(reason(200, Some(7000)), state(id, CallState::Established)),
            with(reason(500, None), nothing(id)),
            with(reason(200, Some(4521)), deleted(id)),
            with(reason(500, Some(7106)), state(id, CallState::Terminated)),
        ]
    };
    there.tell(told("a")).await;
    there.tell(told("b").into_iter().rev().collect()).await;
    for id in ["a", "b"] {
        let end = there.known(id).await.end;
        assert_eq!((end.code, end.subcode), (Some(200), Some(4521)), "{id}");
    }
}

#[tokio::test]
async fn an_end_reason_is_filled_in_after_the_end_and_two_are_not_mixed() {
    let there = Fixture::new().await;
    let with = |end| CallChange { end: Some(end), ..deleted("a") };
    let word = EndReason { word: Some("AppInitiated".to_owned()), ..EndReason::default() };
    let full = EndReason { message: Some("bye".to_owned()), ..reason(200, Some(7000)) };
    there.tell(vec![deleted("a"), with(word), with(reason(200, None)), with(full)]).await;
    there.tell(vec![with(reason(500, Some(7106)))]).await;
    let end = there.known("a").await.end;
    assert_eq!((end.code, end.subcode), (Some(200), Some(7000)));
    assert_eq!((end.message.as_deref(), end.word.as_deref()), (Some("bye"), Some("AppInitiated")));
}

#[tokio::test]
async fn the_name_of_a_party_is_filled_in_whenever_it_comes_and_stays() {
    let there = Fixture::new().await;
    there.import(there.imported("a", "100")).await;
    let called =
        |name: &str| Party { display_name: Some(name.to_owned()), ..party("source", "100") };
    let with = |party| CallChange { parties: vec![party], ..nothing("a") };
    there.tell(vec![with(party("source", "100"))]).await;
    let name = "SELECT display_name FROM parties WHERE role = 'source'";
    assert_eq!(there.look::<Option<String>>(name), None);
    let news = there.apply(vec![with(called("Ann"))], NOW).await;
    assert_eq!(news, Applied::Merged { changed: 1 });
    there.tell(vec![with(called("Bob")), with(party("source", "100"))]).await;
    assert_eq!(there.look::<Option<String>>(name).as_deref(), Some("Ann"));
    there
        .tell(vec![CallChange {
            parties: vec![Party { role: "dialled", ..called("Eve") }],
            ..nothing("b")
        }])
        .await;
    assert_eq!(
        there.look::<String>("SELECT display_name FROM parties WHERE role = 'dialled'"),
        "Eve"
    );
}

#[tokio::test]
async fn the_end_of_a_call_confirms_the_deletions_that_graph_has_taken() {
    let there = Fixture::new().await;
    let mut ids = Vec::new();
    for (id, next) in [("sent", DeletionState::Sent), ("failed", DeletionState::Failed)] {
        there.call(id, "100").await;
        let leased = there.begin(id, NOW).await;
        ids.push(leased.deletion_id);
        let end = answered(NOW, 204, over(next, None, false));
        there.store.settle(leased, end).await.unwrap();
    }
    there.call("open", "100").await;
    ids.push(there.record("open", NOW).await);
    let changes = ["sent", "failed", "open"].map(deleted).to_vec();
    there.apply(changes.clone(), NOW + SECOND).await;
    there.apply(changes, NOW + SECOND * 2).await;
    let mut states = Vec::new();
    for id in ids {
        states.push(there.store.deletion(id).await.unwrap().unwrap().row.state);
    }
    let expected = [DeletionState::Confirmed, DeletionState::Failed, DeletionState::Open];
    assert_eq!(states, expected);
    let confirmed_at = "SELECT confirmed_at FROM deletions WHERE confirmed_at IS NOT NULL";
    assert_eq!(there.look::<i64>(confirmed_at), (NOW + SECOND).0);
}

#[tokio::test]
async fn an_import_that_knows_the_end_confirms_deletions_as_well() {
    let there = Fixture::new().await;
    there.call("a", "100").await;
    let leased = there.begin("a", NOW).await;
    let id = leased.deletion_id;
    let end = answered(NOW, 204, over(DeletionState::Sent, None, false));
    there.store.settle(leased, end).await.unwrap();
    let mut ended = there.imported("a", "100");
    ended.ended_at = Some(NOW);
    there.import(ended).await;
    let deletion = there.store.deletion(id).await.unwrap().unwrap();
    assert_eq!(deletion.row.state, DeletionState::Confirmed);
    assert_eq!(there.known("a").await.look_at, None);
}

#[tokio::test]
async fn graph_is_asked_about_a_silent_call_and_sooner_about_an_ending_one() {
    let there = Fixture::new().await;
    let told = [CallState::Incoming, CallState::Established];
    let mut news = told.map(|one| state("silent", one)).to_vec();
    news[0].created = true;
    there.tell(news).await;
    assert_eq!(there.known("silent").await.look_at, Some(NOW + SILENCE));
    // Nobody said who calls whom.
    there.tell(vec![state("unannounced", CallState::Established)]).await;
    assert_eq!(there.known("unannounced").await.look_at, Some(NOW + CONFIRMATION));
    let told = [CallState::Established, CallState::Terminating, CallState::Terminating];
    let mut news = told.map(|one| state("ending", one)).to_vec();
    news[0].created = true;
    there.tell(news).await;
    assert_eq!(there.known("ending").await.look_at, Some(NOW + SECOND + CONFIRMATION));
    there.apply(vec![deleted("ending"), deleted("never seen")], NOW).await;
    assert_eq!(there.known("ending").await.look_at, None);
    assert_eq!(there.known("never seen").await.look_at, None);
    there.call("imported", "100").await;
    assert_eq!(there.known("imported").await.look_at, Some(NOW + SILENCE));
    there.by_hand("UPDATE calls SET ended_at = 5 WHERE graph_id = 'imported'");
    assert_eq!(there.known("imported").await.look_at, None, "whoever ends it");
}

#[tokio::test]
async fn who_is_told_of_after_the_end_has_the_end_too() {
    let there = Fixture::new().await;
    let late = CallChange { parties: vec![party("target", "200")], ..nothing("a") };
    let early = CallChange { parties: vec![party("source", "100")], ..nothing("a") };
    there.tell(vec![early, deleted("a"), late]).await;
    let ended = format!("SELECT count(*) FROM parties WHERE ended_at = {}", (NOW + SECOND).0);
    assert_eq!(there.look::<i64>(&ended), 2);
}
