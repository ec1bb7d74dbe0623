//! Which calls Graph is asked about, when, and what follows from what it says.

use std::time::Duration;

use super::{SECOND, SENT};
use crate::clock::Timestamp;
use crate::id::{CallId, TenantId};
use crate::model::deletion::DeletionState::{Confirmed, Gone, Open, Sent};
use crate::model::end_reason::OurPart;
use crate::model::reconcile::{CONFIRMATION, SILENCE};
use crate::store::Store;
use crate::store::fixture::{Fixture, NOW, TENANT, answered, by_number, over};
use crate::store::reconcile::{Asking, Look, LookEnd, Looked};

const AGAIN: Looked = Looked::Again { unheeded: None };

/// The app of this tenant.
fn app(tenant: &str) -> Asking {
    Asking { tenant: TenantId::new(tenant), client_id: "app".to_owned() }
}

impl Fixture {
    async fn due(&self, now: Timestamp, limit: usize) -> Vec<Look> {
        self.store.calls_to_look_at(app(TENANT), now.into(), limit, Vec::new()).await.unwrap()
    }

    /// The Graph ids of what is due.
    async fn due_ids(&self, now: Timestamp) -> Vec<String> {
        self.due(now, 10).await.into_iter().map(|look| look.graph_id.0).collect()
    }

    fn row(&self, graph_id: &str) -> i64 {
        self.look(&format!("SELECT call FROM calls WHERE graph_id = '{graph_id}'"))
    }

    /// When this call is looked at.
    fn look_at(&self, graph_id: &str) -> Option<Timestamp> {
        let sql = format!("SELECT look_at FROM calls WHERE graph_id = '{graph_id}'");
        self.look::<Option<i64>>(&sql).map(Timestamp)
    }

    /// Changes a call by hand.
    fn set(&self, graph_id: &str, columns: &str) {
        self.by_hand(&format!("UPDATE calls SET {columns} WHERE graph_id = '{graph_id}'"));
    }

    async fn looked(&self, graph_id: &str, end: LookEnd, now: Timestamp) -> Looked {
        self.store.looked(self.row(graph_id), end, now.into()).await.unwrap()
    }

    /// What our deletions have to do with the end of this call.
    async fn part(&self, graph_id: &str) -> OurPart {
        self.store.call(CallId::new(graph_id)).await.unwrap().remove(0).ours
    }

    /// A call of this Graph id whose deletion Graph took at [`NOW`].
    async fn taken(&self, graph_id: &str) -> crate::id::DeletionId {
        self.call(graph_id, "100").await;
        let leased = self.begin(graph_id, NOW).await;
        let id = leased.deletion_id;
        self.store.settle(leased, answered(NOW, 204, SENT)).await.unwrap();
        id
    }
}

#[tokio::test]
async fn a_call_whose_deletion_graph_took_is_looked_at_after_a_minute() {
    let there = Fixture::new().await;
    there.taken("a").await;
    assert!(there.due_ids(NOW + CONFIRMATION - SECOND).await.is_empty());
    assert_eq!(there.due_ids(NOW + CONFIRMATION).await, ["a"]);
    assert_eq!(there.due_ids(NOW + CONFIRMATION).await, ["a"], "until it was looked at");
}

#[tokio::test]
async fn a_call_that_graph_no_longer_has_ends_without_a_reason_and_confirms_what_was_sent() {
    let there = Fixture::new().await;
    let deletion = there.taken("a").await;
    let now = NOW + CONFIRMATION;
    let ended = there.looked("a", LookEnd::Gone, now).await;
    assert_eq!(ended, Looked::Ended { confirmed: 1 });
    assert_eq!(there.state(deletion).await, Confirmed);
    assert_eq!(there.look::<i64>("SELECT confirmed_at FROM deletions"), now.0);
    assert_eq!(there.look::<i64>("SELECT settled_at FROM deletions"), NOW.0);
    let ended = "SELECT count(*) FROM calls WHERE state = 'terminated' AND look_at IS NULL \
                 AND end_code IS NULL AND end_subcode IS NULL AND end_reason IS NULL";
    assert_eq!(there.look::<i64>(ended), 1);
    for column in ["ended_at", "looked_at"] {
        assert_eq!(there.look::<i64>(&format!("SELECT {column} FROM calls")), now.0, "{column}");
    }
    assert_eq!(there.look::<i64>("SELECT min(ended_at) FROM parties"), now.0);

    let later = there.looked("a", LookEnd::Gone, now + SECOND).await;
    assert_eq!(later, Looked::Known);
    assert_eq!(there.look::<i64>("SELECT ended_at FROM calls"), now.0, "it ends once");
}

#[tokio::test]
async fn a_deletion_that_is_open_is_left_to_graph_when_its_call_is_gone() {
    let there = Fixture::new().await;
    there.call("a", "100").await;
    let open = there.record("a", NOW).await;
    assert_eq!(there.looked("a", LookEnd::Gone, NOW).await, Looked::Ended { confirmed: 0 });
    assert_eq!(there.state(open).await, Open);
}

#[tokio::test]
async fn a_deletion_is_confirmed_at_once_when_the_end_of_its_call_came_first() {
    let there = Fixture::new().await;
    there.call("a", "100").await;
    let leased = there.begin("a", NOW).await;
    let at = NOW + SECOND * 2;
    there.set("a", &format!("state = 'terminated', ended_at = {}", (NOW + SECOND).0));
    let settled = there.store.settle(leased, answered(at, 204, SENT)).await.unwrap().unwrap();
    assert_eq!(settled.state, Confirmed);
    assert_eq!(there.look::<i64>("SELECT confirmed_at FROM deletions"), at.0);
    assert_eq!(there.look::<String>("SELECT state FROM steps"), "sent");
    assert_eq!(there.look_at("a"), None);
    assert_eq!(there.look::<i64>("SELECT deleted_by IS NOT NULL FROM calls"), 1);
}

#[tokio::test]
async fn a_clock_that_was_set_back_in_between_changes_nothing_about_which_came_first() {
    let there = Fixture::new().await;
    for (id, ends_first) in [("before", true), ("after", false)] {
        there.call(id, "100").await;
        // As it is ended by hand, by a notification or by an import.
        let end = |at: Timestamp| format!("state = 'terminated', ended_at = {}", at.0);
        if ends_first {
            there.set(id, &end(NOW + SILENCE));
        }
        let leased = there.begin(id, NOW).await;
        if !ends_first {
            there.set(id, &end(NOW - SILENCE));
        }
        let at = NOW - SECOND;
        let settled = there.store.settle(leased, answered(at, 204, SENT)).await.unwrap().unwrap();
        assert_eq!(settled.state, if ends_first { Sent } else { Confirmed }, "{id}");
    }
}

#[tokio::test]
async fn what_a_program_did_that_knows_nothing_of_looks_is_looked_at_even_so() {
    let there = Fixture::new().await;
    there.by_hand(&format!(
        "INSERT INTO calls (tenant, call_id, graph_id, state, first_seen_at, last_seen_at, ended_at) \
         VALUES ({tenant}, 'x', 'live', 'established', {now}, {now}, NULL), \
         ({tenant}, 'y', 'ended', 'terminated', {now}, {now}, {now})",
        tenant = there.tenant_row,
        now = NOW.0
    ));
    assert_eq!((there.look_at("live"), there.look_at("ended")), (Some(NOW + SILENCE), None));
    assert_eq!(there.due_ids(NOW + SILENCE).await, ["live"]);

    there.call("taken", "100").await;
    there.record("taken", NOW).await;
    there.by_hand(&format!("UPDATE deletions SET state = 'sent', settled_at = {}", NOW.0));
    there.set("taken", "deleted_by = (SELECT deletion FROM deletions)");
    assert_eq!(there.due_ids(NOW + CONFIRMATION).await, ["taken"]);
}

#[tokio::test]
async fn an_end_that_was_known_before_the_first_attempt_is_not_ours_and_graph_is_asked() {
    let there = Fixture::new().await;
    there.call("a", "100").await;
    there.set("a", &format!("state = 'terminated', ended_at = {}", (NOW - SECOND).0));
    let leased = there.begin("a", NOW).await;
    let settled = there.store.settle(leased, answered(NOW, 204, SENT)).await.unwrap().unwrap();
    assert_eq!(settled.state, Sent);
    assert_eq!(there.look::<Option<i64>>("SELECT confirmed_at FROM deletions"), None);
    // Graph took it, although the call had ended: it is asked, and its answer confirms.
    assert_eq!(there.look_at("a"), Some(NOW + CONFIRMATION));
    assert_eq!(there.part("a").await, OurPart::None);
    let asked = NOW + CONFIRMATION;
    assert_eq!(there.due_ids(asked).await, ["a"]);
    assert_eq!(there.looked("a", LookEnd::Gone, asked).await, Looked::Ended { confirmed: 1 });
    assert_eq!(there.look::<String>("SELECT state FROM deletions"), Confirmed.as_str());
    assert_eq!(there.look_at("a"), None);
    // Somebody else had ended it before.
    assert_eq!(there.part("a").await, OurPart::None);
}

#[tokio::test]
async fn an_attempt_that_finds_the_call_gone_ends_it_and_is_looked_at_no_more() {
    let there = Fixture::new().await;
    there.call("a", "100").await;
    there.set("a", &format!("look_at = {}", NOW.0));
    let leased = there.begin("a", NOW).await;
    let gone = answered(NOW, 404, over(Gone, None, true));
    let settled = there.store.settle(leased, gone).await.unwrap().unwrap();
    assert_eq!(settled.state, Gone);
    assert_eq!(there.look_at("a"), None);
    assert_eq!(there.look::<i64>("SELECT ended_at FROM calls"), NOW.0);
}

#[tokio::test]
async fn a_call_that_graph_keeps_in_spite_of_a_deletion_is_told_of_once_and_asked_about_ever_later()
{
    let there = Fixture::new().await;
    let deletion = there.taken("a").await;
    let mut now = NOW + CONFIRMATION;
    let mut unheeded = Vec::new();
    for minutes in [1, 2, 4, 8, 16, 32, 45, 45] {
        match there.looked("a", LookEnd::StillThere, now).await {
            Looked::Again { unheeded: told } => unheeded.extend(told),
            other => panic!("{other:?}"),
        }
        // What a look told of the call is news, and puts nothing off here.
        there.set("a", &format!("last_seen_at = {}", now.0));
        assert!(there.due_ids(now).await.is_empty());
        now = now + Duration::from_mins(minutes);
        assert_eq!(there.due_ids(now).await, ["a"]);
    }
    assert_eq!(unheeded, [deletion]);
    assert_eq!(there.state(deletion).await, Sent);
}

#[tokio::test]
async fn a_look_before_the_minute_is_over_tells_nothing_about_a_deletion() {
    let there = Fixture::new().await;
    let deletion = there.taken("a").await;
    assert_eq!(there.looked("a", LookEnd::StillThere, NOW + SECOND * 5).await, AGAIN);
    let looked = there.looked("a", LookEnd::StillThere, NOW + CONFIRMATION).await;
    assert_eq!(looked, Looked::Again { unheeded: Some(deletion) });
}

#[tokio::test]
async fn a_live_call_is_looked_at_when_it_has_been_silent_for_three_quarters_of_an_hour() {
    let there = Fixture::new().await;
    for id in ["heard", "silent", "ending"] {
        there.call(id, "100").await;
        there.set(id, &format!("look_at = {}", (NOW + SILENCE).0));
    }
    let heard_at = NOW + SILENCE - SECOND;
    there.set("heard", &format!("last_seen_at = {}", heard_at.0));
    there.set("ending", &format!("last_seen_at = {}, state = 'terminating'", heard_at.0));
    let due = there.due_ids(NOW + SILENCE).await;
    assert_eq!(due, ["silent", "ending"], "of a call that is ending, only its end is news");
    assert_eq!(there.look_at("heard"), Some(heard_at + SILENCE));

    let now = NOW + SILENCE + SECOND;
    assert_eq!(there.looked("silent", LookEnd::StillThere, now).await, AGAIN);
    assert_eq!(there.look_at("silent"), Some(now + SILENCE));
}

#[tokio::test]
async fn those_that_somebody_waits_for_come_first_and_what_is_under_way_is_left_alone() {
    let there = Fixture::new().await;
    for (id, columns) in [
        ("a", format!("look_at = {}", (NOW - SECOND * 9).0)),
        ("b", format!("look_at = {}", (NOW - SECOND * 8).0)),
        ("c", format!("look_at = {}, look_wanted = 1", NOW.0)),
        ("d", format!("look_at = {}, look_wanted = 1", (NOW - SECOND).0)),
        ("e", format!("look_at = {}, look_wanted = 2", NOW.0)),
    ] {
        there.call(id, "100").await;
        there.set(id, &format!("{columns}, last_seen_at = {}", (NOW - SILENCE).0));
    }
    assert_eq!(there.due_ids(NOW).await, ["e", "d", "c", "a", "b"], "a deletion before all others");
    let under_way = ["e", "d", "a"].map(|id| there.row(id)).to_vec();
    let due = there.store.calls_to_look_at(app(TENANT), NOW.into(), 1, under_way).await.unwrap();
    assert_eq!(due.len(), 1);
    assert_eq!((due[0].graph_id.0.as_str(), due[0].call_id.as_str()), ("c", "our-c"));
}

#[tokio::test]
async fn the_calls_of_another_tenant_are_never_asked_about_and_stand_in_nobodys_way() {
    let there = Fixture::new().await;
    let other = there.store.tenant(TenantId::new("other.example"), NOW).await.unwrap();
    for n in 0..20 {
        let id = format!("other-{n}");
        let imported = there.imported(&id, "100");
        there.import(crate::store::records::ImportedCall { tenant_row: other, ..imported }).await;
        there.set(&id, &format!("look_at = {n}, look_wanted = {}", n % 2));
    }
    there.call("ours", "100").await;
    there.set("ours", &format!("look_at = {}, last_seen_at = 0", NOW.0));
    assert_eq!(there.due(NOW, 1).await[0].graph_id.0, "ours");
    assert_eq!(there.due_ids(NOW).await, ["ours"]);
    let unknown = app("nobody.example");
    let nothing = there.store.calls_to_look_at(unknown, NOW.into(), 9, Vec::new()).await.unwrap();
    assert!(nothing.is_empty());
}

#[tokio::test]
async fn a_look_that_failed_is_made_again_and_changes_nothing_about_the_call() {
    let there = Fixture::new().await;
    let deletion = there.taken("a").await;
    let now = NOW + CONFIRMATION;
    let again_at = now + SECOND * 90;
    assert_eq!(there.looked("a", LookEnd::Failed { again_at }, now).await, AGAIN);
    assert_eq!(there.look_at("a"), Some(again_at));
    assert_eq!(there.look::<Option<i64>>("SELECT ended_at FROM calls"), None);
    assert_eq!(there.look::<String>("SELECT state FROM calls"), "established");
    assert_eq!(there.state(deletion).await, Sent);
    let never = LookEnd::Failed { again_at: Timestamp(i64::MAX) };
    there.looked("a", never, again_at).await;
    assert_eq!(there.look_at("a"), Some(again_at + SILENCE));
}

#[tokio::test]
async fn a_look_that_failed_silences_no_warning_and_is_wanted_as_before() {
    let there = Fixture::new().await;
    let deletion = there.taken("a").await;
    let now = NOW + CONFIRMATION;
    let again_at = now + SECOND * 60;
    assert_eq!(there.looked("a", LookEnd::Failed { again_at }, now).await, AGAIN);
    let kept = "SELECT count(*) FROM calls WHERE look_wanted = 2 AND looked_at IS NULL";
    assert_eq!(there.look::<i64>(kept), 1);
    let looked = there.looked("a", LookEnd::StillThere, again_at).await;
    assert_eq!(looked, Looked::Again { unheeded: Some(deletion) });

    there.call("b", "100").await;
    there.set("b", &format!("look_at = {}, look_wanted = 1", NOW.0));
    there.looked("b", LookEnd::Failed { again_at }, now).await;
    let Store::Sqlite(sqlite) = &there.store;
    sqlite.look_at_candidates(vec![there.row("b")], (now + SECOND).into());
    there.flush().await;
    assert_eq!(there.look_at("b"), Some(again_at), "who asks again does not make it sooner");
    assert_eq!(there.due_ids(again_at).await, ["b"], "although it was heard of meanwhile");
}

#[tokio::test]
async fn a_time_that_was_set_while_graph_was_asked_stands() {
    let there = Fixture::new().await;
    there.call("a", "100").await;
    there.set("a", &format!("look_at = {}", (NOW - SECOND).0));
    assert_eq!(there.due_ids(NOW + SILENCE).await, ["a"]);
    let now = NOW + SILENCE + SECOND;
    there.set("a", &format!("look_at = {}", (now + CONFIRMATION).0));
    there.looked("a", LookEnd::StillThere, now).await;
    assert_eq!(there.look_at("a"), Some(now + CONFIRMATION));
}

#[tokio::test]
async fn the_candidates_of_an_ambiguous_answer_are_looked_at_now_and_once_a_minute_at_most() {
    let there = Fixture::new().await;
    for id in ["a", "b", "ended"] {
        there.call(id, "100").await;
        there.set(id, &format!("look_at = {}", (NOW + SILENCE).0));
    }
    there.set("ended", &format!("ended_at = {}, look_at = NULL", NOW.0));
    there.set("b", "look_at = NULL");
    let wanted = there.store.look_wanted();
    let ambiguous = async |now| {
        let ask = there.ask(by_number("100", "ongoing"), now).await;
        let decided = there.admit(ask).await;
        there.flush().await;
        decided.candidates.len()
    };
    assert_eq!(ambiguous(NOW).await, 2);
    wanted.notified().await;
    assert_eq!(there.due_ids(NOW).await, ["a", "b"], "although both were heard of just now");
    assert_eq!(there.look_at("ended"), None);

    for id in ["a", "b"] {
        there.looked(id, LookEnd::StillThere, NOW).await;
    }
    ambiguous(NOW + CONFIRMATION - SECOND).await;
    assert!(there.due_ids(NOW + CONFIRMATION - SECOND).await.is_empty());
    ambiguous(NOW + CONFIRMATION + SECOND).await;
    assert_eq!(there.due_ids(NOW + CONFIRMATION + SECOND).await, ["a", "b"]);

    let mut dry_run = there.ask(by_number("100", "ongoing"), NOW + SILENCE).await;
    dry_run.question.dry_run = true;
    assert!(there.admit(dry_run).await.candidates.is_empty());

    // A clock that was set back since must not keep them from being looked at.
    for id in ["a", "b"] {
        there.looked(id, LookEnd::StillThere, NOW).await;
    }
    ambiguous(NOW - SILENCE).await;
    assert_eq!(there.due_ids(NOW - SILENCE).await, ["a", "b"]);
}

#[tokio::test]
async fn a_clock_that_was_ahead_delays_no_look_for_longer_than_the_silence() {
    let there = Fixture::new().await;
    for (id, wanted) in [("a", 0), ("b", 2)] {
        there.call(id, "100").await;
        let year = SILENCE * 10_000;
        there.set(id, &format!("look_at = {}, look_wanted = {wanted}", (NOW + year).0));
    }
    assert!(there.due_ids(NOW).await.is_empty());
    assert_eq!(
        (there.look_at("a"), there.look_at("b")),
        (Some(NOW + SILENCE), Some(NOW + SILENCE))
    );
}

#[tokio::test]
async fn many_calls_that_are_put_off_keep_the_writer_for_a_while_only() {
    let there = Fixture::new().await;
    let calls = (0..300).map(|n| there.imported(&format!("call-{n}"), "100")).collect();
    there.import_at(calls, NOW).await;
    there.by_hand(&format!("UPDATE calls SET look_at = {}", (NOW - SECOND).0));
    let put_off = || {
        let sql = format!("SELECT count(*) FROM calls WHERE look_at = {}", (NOW + SILENCE).0);
        there.look::<i64>(&sql)
    };
    assert!(there.due(NOW, 8).await.is_empty() && put_off() < 300);
    assert!(there.due(NOW, 8).await.is_empty());
    assert_eq!(put_off(), 300);

    there.by_hand(&format!("UPDATE calls SET look_at = {}", (NOW + SILENCE * 10).0));
    assert!(there.due(NOW, 8).await.is_empty() && put_off() < 300, "nor do those brought back");
    assert!(there.due(NOW, 8).await.is_empty());
    assert_eq!(put_off(), 300);
}
