//! Who is or was in a call, what becomes of removals and invitations, and calls that are found by people.

use std::time::Duration;

use super::news::{nothing, state};
use crate::clock::Timestamp;
use crate::model::call::CallState;
use crate::model::change::{CallChange, InvitationChange, Participant, RosterChange};
use crate::model::number::Number;
use crate::model::plan::Decision;
use crate::store::fixture::{Fixture, NOW, by_number};
use crate::store::records::{Applied, ParticipantDetails};

const SECOND: Duration = Duration::from_secs(1);
const USER: &str = "8A34A46B-3D17-4ADC-8DCE-DC4E7D572698";

fn member(id: &str, sequence: impl Into<Option<i64>>) -> Participant {
    Participant {
        participant_id: id.to_owned(),
        raw: None,
        normalised: None,
        user_id: None,
        display_name: None,
        app_id: None,
        removed: false,
        sequence: sequence.into(),
    }
}

fn removed(id: &str) -> Participant {
    Participant { removed: true, ..member(id, None) }
}

fn numbered(id: &str, raw: &str) -> Participant {
    let normalised = Some(Number::parse(raw).unwrap().normalised);
    Participant { raw: Some(raw.to_owned()), normalised, ..member(id, None) }
}

fn delta(sequence: impl Into<Option<i64>>, participant: Participant) -> RosterChange {
    RosterChange::Delta { sequence: sequence.into(), participants: vec![participant] }
}

/// Everybody, each with a number.
fn whole(entries: &[(&str, i64)]) -> RosterChange {
    RosterChange::Whole(entries.iter().map(|(id, sequence)| member(id, *sequence)).collect())
}

impl Fixture {
    async fn roster(&self, change: RosterChange, now: Timestamp) -> Applied {
        self.apply(vec![CallChange { roster: Some(change), ..nothing("a") }], now).await
    }

    /// Writes a deletion in the call by hand.
    fn deletion(&self, kind: &str, target: &str, state: &str) {
        self.by_hand(&format!(
            "INSERT INTO deletions (deletion_id, tenant, kind, selector, selector_hash, scope, call, \
             target, state, created_at, deadline_at) SELECT lower(hex(randomblob(16))), tenant, \
             '{kind}', '', x'', 'leg', call, '{target}', '{state}', {0}, {0} FROM calls \
             WHERE graph_id = 'a'",
            NOW.0
        ));
    }

    /// Writes an invitation with one attempt by hand.
    fn invitation(&self, deletion: i64, user: &str, operation: &str) {
        self.by_hand(&format!(
            "INSERT INTO invitations (deletion, call, tenant, user_id, normalised, operation_id) \
             SELECT {deletion}, call, tenant, '{user}', '{user}', {operation} FROM deletions \
             WHERE deletion = {deletion}; \
             INSERT INTO steps (deletion, position, tenant, operation, state, deadline_at) \
             VALUES ({deletion}, 1, 1, 'invite', 'open', 0); \
             INSERT INTO attempts (deletion, position, number, tenant, started_at) \
             VALUES ({deletion}, 1, 1, 1, 0)"
        ));
    }

    /// Tells of an operation; gives whether that was news.
    async fn told(&self, operation: &str, participant: &str, user: Option<&str>) -> bool {
        let invitation = Some(InvitationChange {
            operation_id: operation.to_owned(),
            participant_id: Some(participant.to_owned()),
            user_id: user.map(str::to_owned),
            failed: None,
        });
        let news = vec![CallChange { invitation, ..nothing("a") }];
        self.apply(news, NOW).await == Applied::Merged { changed: 1 }
    }

    /// The ids of those who are in the call, and of those who have left.
    async fn present(&self) -> (Vec<String>, Vec<String>) {
        let roster = self.known("a").await.roster;
        let (in_it, left): (Vec<_>, Vec<_>) =
            roster.into_iter().partition(|one| one.left_at.is_none());
        let ids = |those: Vec<ParticipantDetails>| {
            let mut ids: Vec<_> = those.into_iter().map(|one| one.participant_id).collect();
            ids.sort();
            ids
        };
        (ids(in_it), ids(left))
    }

    /// Whether these are in the call and those have left.
    async fn is(&self, present: &[&str], left: &[&str]) -> bool {
        let found = self.present().await;
        found.0 == present && found.1 == left
    }

    /// Whether a `DeleteCall` by `number` finds the one call.
    async fn finds(&self, number: &str, status: &str, match_roster: bool) -> bool {
        let mut ask = self.ask(by_number(number, status), NOW).await;
        ask.selection.match_roster = match_roster;
        ask.question.dry_run = true;
        matches!(self.admit(ask).await.decision, Decision::WouldSend { .. })
    }
}

#[tokio::test]
async fn the_roster_of_a_call_that_nobody_knew_makes_it_known() {
    let there = Fixture::new().await;
    let user = Participant {
        user_id: Some(USER.to_owned()),
        display_name: Some("Alice".to_owned()),
        ..numbered("p", "+49 30 1238856")
    };
    there.roster(RosterChange::Whole(vec![user]), NOW).await;
    let expected = ParticipantDetails {
        participant_id: "p".to_owned(),
        raw: Some("+49 30 1238856".to_owned()),
        user_id: Some(USER.to_lowercase()),
        display_name: Some("Alice".to_owned()),
        app_id: None,
        joined_at: Some(NOW),
        left_at: None,
        sequence: None,
    };
    assert_eq!(there.known("a").await.roster, [expected]);
}

#[tokio::test]
async fn who_is_missing_in_a_whole_roster_has_left() {
    let there = Fixture::new().await;
    there.roster(RosterChange::Whole(vec![member("p", None), member("q", None)]), NOW).await;
    there.roster(RosterChange::Whole(vec![member("q", None)]), NOW + SECOND).await;
    assert!(there.is(&["q"], &["p"]).await);
    assert_eq!(there.known("a").await.roster[0].left_at, Some(NOW + SECOND));
    there.roster(RosterChange::Whole(Vec::new()), NOW + SECOND).await;
    assert!(there.is(&[], &["p", "q"]).await);
}

#[tokio::test]
async fn a_visitor_who_stayed_for_seconds_has_left() {
    let there = Fixture::new().await;
    there.roster(whole(&[("p", 1)]), NOW).await;
    there.roster(whole(&[("p", 1), ("q", 2)]), NOW).await;
    there.roster(whole(&[("p", 1)]), NOW + SECOND * 2).await;
    assert!(there.is(&["p"], &["q"]).await);
    // The same news once more tell nothing new, and a higher number does.
    there.roster(whole(&[("p", 1), ("q", 2)]), NOW + SECOND * 3).await;
    assert!(there.is(&["p"], &["q"]).await);
    there.roster(whole(&[("p", 1), ("q", 3)]), NOW + SECOND * 4).await;
    assert!(there.is(&["p", "q"], &[]).await);
}

#[tokio::test]
async fn a_whole_roster_that_its_numbers_prove_older_removes_nobody_who_joined_later() {
    let there = Fixture::new().await;
    there.roster(whole(&[("p", 5), ("q", 2), ("r", 6)]), NOW).await;
    there.roster(whole(&[("p", 3)]), NOW).await;
    // q was known before, and was missing then.
    assert!(there.is(&["p", "r"], &["q"]).await);
}

#[tokio::test]
async fn the_number_of_a_roster_that_somebody_was_missing_in_proves_nothing() {
    let there = Fixture::new().await;
    there.roster(whole(&[("p", 3)]), NOW).await;
    there.roster(whole(&[("q", 2), ("p", 3), ("r", 4)]), NOW).await;
    assert!(there.is(&["p", "r"], &["q"]).await);
    there.roster(whole(&[("q", 2), ("p", 3)]), NOW).await;
    assert!(there.is(&["p"], &["q", "r"]).await);
}

#[tokio::test]
async fn changes_without_a_number_count_by_their_arrival_whatever_was_numbered() {
    let there = Fixture::new().await;
    there.apply(vec![state("a", CallState::Established)], NOW).await;
    let one = || Participant { sequence: Some(5), ..numbered("p", "500") };
    there.roster(RosterChange::Whole(vec![one()]), NOW).await;
    assert!(there.finds("500", "ongoing", true).await);
    there.roster(delta(None, removed("p")), NOW).await;
    assert!(!there.finds("500", "ongoing", true).await, "500 has left");
    there.roster(delta(None, member("p", None)), NOW).await;
    there.roster(delta(None, member("q", None)), NOW).await;
    assert!(there.is(&["p", "q"], &[]).await);
    there.roster(delta(None, removed("q")), NOW).await;
    there.roster(delta(None, member("q", None)), NOW).await;
    assert!(there.is(&["p", "q"], &[]).await);
}

#[tokio::test]
async fn who_was_not_in_a_whole_roster_is_not_brought_in_by_older_news() {
    let there = Fixture::new().await;
    there.roster(RosterChange::Whole(vec![member("p", 9)]), NOW).await;
    there.roster(delta(5, numbered("q", "100")), NOW).await;
    assert!(there.is(&["p"], &["q"]).await);
    there.roster(delta(10, member("q", None)), NOW).await;
    assert!(there.is(&["p", "q"], &[]).await);
    assert_eq!(there.known("a").await.roster[1].raw.as_deref(), Some("100"));
}

#[tokio::test]
async fn of_changes_with_numbers_the_highest_counts_whenever_it_comes() {
    let there = Fixture::new().await;
    there.roster(delta(7, removed("p")), NOW).await;
    there.roster(delta(6, member("p", None)), NOW).await;
    assert!(there.is(&[], &["p"]).await);
    // Whoever is removed need not have changed by it: the number of the change counts.
    there.roster(delta(8, member("p", 8)), NOW).await;
    there.roster(delta(9, Participant { sequence: Some(8), ..removed("p") }), NOW).await;
    assert!(there.is(&[], &["p"]).await);
    let again = there.roster(delta(9, removed("p")), NOW + SECOND).await;
    assert_eq!(again, Applied::Merged { changed: 0 });
}

#[tokio::test]
async fn who_comes_back_is_in_the_call_again() {
    let there = Fixture::new().await;
    there.roster(delta(1, member("p", None)), NOW).await;
    there.roster(RosterChange::Left("p".to_owned()), NOW + SECOND).await;
    there.roster(RosterChange::Left("p".to_owned()), NOW + SECOND * 2).await;
    assert_eq!(there.known("a").await.roster[0].left_at, Some(NOW + SECOND));
    there.roster(delta(3, member("p", None)), NOW + SECOND * 3).await;
    let one = there.known("a").await.roster.remove(0);
    assert_eq!((one.joined_at, one.left_at), (Some(NOW + SECOND * 3), None));
    there.roster(RosterChange::Left("nobody".to_owned()), NOW).await;
    assert!(there.is(&["p"], &[]).await);
}

#[tokio::test]
async fn who_was_removed_and_is_told_of_as_gone_was_removed() {
    let there = Fixture::new().await;
    there.roster(whole(&[("p", 1), ("q", 2)]), NOW).await;
    there.deletion("DeleteParticipant", "p", "sent");
    there.deletion("DeleteParticipant", "q", "failed");
    let states = || there.look::<String>("SELECT group_concat(state) FROM deletions");
    assert_eq!(states(), "sent,failed");
    there.roster(whole(&[("r", 3)]), NOW + SECOND).await;
    assert_eq!(states(), "confirmed,failed");
    let confirmed_at: i64 = there.look("SELECT confirmed_at FROM deletions WHERE target = 'p'");
    assert_eq!(confirmed_at, (NOW + SECOND).0);
    // Whoever comes back is in the call anew, and so can be removed again.
    there.roster(delta(4, member("p", None)), NOW + SECOND * 2).await;
    assert_eq!(states(), "confirmed,failed");
    let joined_at: i64 = there.look("SELECT joined_at FROM roster WHERE participant_id = 'p'");
    assert_eq!(joined_at, (NOW + SECOND * 2).0);
}

#[tokio::test]
async fn older_news_of_somebody_who_was_removed_bring_him_back_in_no_way() {
    let there = Fixture::new().await;
    there.roster(whole(&[("p", 2)]), NOW).await;
    there.deletion("DeleteParticipant", "p", "sent");
    there.roster(delta(3, removed("p")), NOW + SECOND).await;
    there.roster(delta(2, member("p", None)), NOW + SECOND * 2).await;
    let joined_at: i64 = there.look("SELECT joined_at FROM roster WHERE left_at IS NOT NULL");
    assert_eq!(joined_at, NOW.0);
}

#[tokio::test]
async fn somebody_in_a_roster_is_known_as_an_application() {
    let there = Fixture::new().await;
    let app = || Participant { app_id: Some("app".to_owned()), ..member("p", 1) };
    there.roster(delta(1, app()), NOW).await;
    there.roster(delta(2, member("p", 2)), NOW).await;
    assert_eq!(there.known("a").await.roster[0].app_id.as_deref(), Some("app"));
}

#[tokio::test]
async fn an_operation_says_whom_graph_made_of_the_invited_one() {
    let there = Fixture::new().await;
    there.apply(vec![state("a", CallState::Established)], NOW).await;
    for (deletion, user, operation) in
        [(1, "ann", "'o-1'"), (2, "ann", "NULL"), (3, "bob", "NULL"), (4, "eve", "NULL")]
    {
        there.deletion("InviteParticipant", user, if deletion == 4 { "open" } else { "sent" });
        there.invitation(deletion, user, operation);
    }
    there.by_hand("DELETE FROM attempts WHERE deletion = 4");
    let known = || {
        there.look::<String>(
        "SELECT group_concat(coalesce(operation_id, '-') || ' ' || coalesce(participant_id, '-')) \
         FROM (SELECT * FROM invitations ORDER BY deletion)",
    )
    };
    for (operation, participant, user, expected) in [
        // By its id, once; that of an answer is not replaced.
        ("o-1", "p-1", None, "o-1 p-1,- -,- -,- -"),
        ("o-1", "p-9", Some("ann"), "o-1 p-1,- -,- -,- -"),
        // By the user whose answer is not known, and by nobody's.
        ("o-2", "p-2", Some("ann"), "o-1 p-1,o-2 p-2,- -,- -"),
        ("o-3", "p-3", None, "o-1 p-1,o-2 p-2,- -,- -"),
        ("o-3", "p-3", Some("zoe"), "o-1 p-1,o-2 p-2,- -,- -"),
        // What was not begun was not taken.
        ("o-4", "p-4", Some("eve"), "o-1 p-1,o-2 p-2,- -,- -"),
        ("o-3", "p-3", Some("bob"), "o-1 p-1,o-2 p-2,o-3 p-3,- -"),
    ] {
        there.told(operation, participant, user).await;
        assert_eq!(known(), expected, "{operation} {user:?}");
    }
}

#[tokio::test]
async fn of_two_invitations_whose_answers_are_not_known_nobody_tells_which_is_meant() {
    let there = Fixture::new().await;
    there
        .apply(vec![state("a", CallState::Established), state("b", CallState::Established)], NOW)
        .await;
    for deletion in [1, 2] {
        there.deletion("InviteParticipant", "ann", "unknown");
        there.invitation(deletion, "ann", "NULL");
    }
    assert!(!there.told("o-1", "p-1", Some("ann")).await);
    there.by_hand("UPDATE attempts SET effect_possible = 0 WHERE deletion = 1");
    assert!(there.told("o-1", "p-1", Some("ann")).await);
    assert_eq!(there.look::<i64>("SELECT deletion FROM invitations WHERE operation_id = 'o-1'"), 2);
}

#[tokio::test]
async fn whoever_is_invited_is_pending_until_he_joins_or_is_taken_back_or_the_call_ends() {
    let there = Fixture::new().await;
    there.apply(vec![state("a", CallState::Established)], NOW).await;
    for (deletion, user, operation, state) in [
        (1, "ann", "'o-1'", "sent"),
        (2, "bob", "'o-2'", "sent"),
        (3, "eve", "NULL", "unknown"),
        (4, "zoe", "NULL", "failed"),
    ] {
        there.deletion("InviteParticipant", user, state);
        there.invitation(deletion, user, operation);
    }
    let pending = async || {
        let invitations = there.known("a").await.invitations;
        let pending = invitations.into_iter().filter(|one| one.is_pending);
        pending.map(|one| one.user_id).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(pending().await, "ann bob eve");
    there.told("o-1", "p-1", None).await;
    there.told("o-2", "p-2", None).await;
    there.roster(delta(1, member("p-1", None)), NOW).await;
    assert_eq!(pending().await, "bob eve");
    there.deletion("DeleteParticipant", "p-2", "gone");
    assert_eq!(pending().await, "eve");
    let eve = Participant { user_id: Some("EVE".to_owned()), ..member("p-3", None) };
    there.roster(delta(2, eve), NOW).await;
    assert_eq!(pending().await, "");
    there.roster(RosterChange::Left("p-3".to_owned()), NOW).await;
    assert_eq!(pending().await, "eve", "somebody who left may be another stay of hers");
    there.apply(vec![CallChange { deleted: true, ..nothing("a") }], NOW).await;
    assert_eq!(pending().await, "");
}

#[tokio::test]
async fn without_numbers_the_order_of_arrival_decides() {
    let there = Fixture::new().await;
    let both = || RosterChange::Whole(vec![member("p", None), member("q", None)]);
    there.roster(both(), NOW).await;
    there.roster(RosterChange::Whole(vec![member("p", None)]), NOW).await;
    assert!(there.is(&["p"], &["q"]).await);
    there.roster(both(), NOW).await;
    assert!(there.is(&["p", "q"], &[]).await);
}

#[tokio::test]
async fn extension_finds_a_call_by_anyone_on_it_when_that_is_switched_on() {
    let there = Fixture::new().await;
    let both = Participant { user_id: Some(USER.to_owned()), ..numbered("p", "+49 30 1238856") };
    let other = numbered("q", "300");
    there.apply(vec![state("a", CallState::Established)], NOW).await;
    there.roster(RosterChange::Whole(vec![both, other]), NOW).await;
    for asked in ["+49301238856", USER, "300"] {
        assert!(there.finds(asked, "ongoing", true).await, "{asked}");
        assert!(!there.finds(asked, "ongoing", false).await, "{asked}");
    }
    there.roster(RosterChange::Left("p".to_owned()), NOW).await;
    for asked in ["+49301238856", USER] {
        assert!(!there.finds(asked, "ongoing", true).await, "{asked} has left");
    }
    assert!(there.finds("300", "ongoing", true).await);
    there.apply(vec![CallChange { deleted: true, ..nothing("a") }], NOW + SECOND).await;
    there.roster(delta(5, numbered("late", "400")), NOW + SECOND).await;
    for asked in ["+49301238856", USER, "300", "400"] {
        assert!(there.finds(asked, "last", true).await, "{asked} was in it");
        assert!(!there.finds(asked, "last", false).await, "{asked}");
    }
}
