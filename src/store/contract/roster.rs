//! Who is or was in a call, and calls that are found by them.

use std::time::Duration;

use super::news::{nothing, state};
use crate::clock::Timestamp;
use crate::model::call::CallState;
use crate::model::change::{CallChange, Participant, RosterChange};
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
