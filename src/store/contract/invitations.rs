//! Invitations: sent once, remembered, and never repeated when nobody knows what became of them.

use super::SECOND;
use super::news::nothing;
use crate::clock::Timestamp;
use crate::id::ProcessId;
use crate::model::change::{CallChange, EndReason, InvitationChange};
use crate::model::deletion::DeletionState::{Failed, Held, Obsolete, Sent, Unknown};
use crate::model::deletion::{ANSWER_LOST, DeletionKind, DeletionState};
use crate::model::participant::{ClientContext, Invitation, Invited};
use crate::model::plan::Order;
use crate::store::admission::{Leased, Next};
use crate::store::fixture::{DEADLINE, Fixture, LEASE, NOW, answered};
use crate::store::records::Applied;

fn invitation() -> Invitation {
    Invitation {
        user_id: "278405A3-F568-4b3e-b684-009193463064".to_owned(),
        user_tenant: None,
        replaces: None,
        context: ClientContext::new("a text"),
    }
}

fn taken() -> Invited {
    Invited {
        operation_id: "operation".to_owned(),
        participant_id: Some("p".to_owned()),
        failed: None,
    }
}

impl Fixture {
    async fn invite(&self) -> Leased {
        self.call("a", "100").await;
        self.begin_as(DeletionKind::InviteParticipant(invitation()), NOW).await
    }

    async fn ends_at(&self, now: Timestamp) -> Vec<(DeletionState, Option<String>)> {
        let ended = self.over_at(now).await;
        ended.into_iter().map(|settled| (settled.state, settled.failure)).collect()
    }
}

#[tokio::test]
async fn what_graph_made_of_an_invitation_is_told_and_kept() {
    let there = Fixture::new().await;
    let leased = there.invite().await;
    assert_eq!((&leased.order, leased.is_part), (&Order::Invite(invitation()), false));
    let settled = there.end(leased, answered(NOW, 200, Next::Invited(taken()))).await.unwrap();
    assert_eq!((settled.state, settled.invited), (Sent, Some(taken())));
    assert_eq!(there.look::<i64>("SELECT count(*) FROM calls WHERE deleted_by > 0"), 0);
    let standing = there.store.withdraw(settled.deletion_id, NOW, |_| ()).await.unwrap();
    let crate::store::Standing::Settled(known) = standing else { panic!("{standing:?}") };
    assert_eq!(known.invited, Some(taken()));
}

#[tokio::test]
async fn an_id_that_was_told_of_before_the_answer_stays() {
    let there = Fixture::new().await;
    let leased = there.invite().await;
    there.by_hand("UPDATE invitations SET participant_id = 'told'");
    let without = Invited { participant_id: None, ..taken() };
    let settled = there.end(leased, answered(NOW, 200, Next::Invited(without))).await.unwrap();
    assert_eq!(settled.invited.unwrap().participant_id.as_deref(), Some("told"));
}

#[tokio::test]
async fn an_invitation_that_may_have_been_sent_is_never_sent_again() {
    for crashed in [true, false] {
        let there = Fixture::new().await;
        let leased = there.invite().await;
        let now = if crashed { NOW + SECOND } else { NOW + LEASE };
        if crashed {
            there.store.take_over(ProcessId::random(), now).await.unwrap();
        }
        assert_eq!(there.ends_at(now).await, [(Unknown, Some(ANSWER_LOST.to_owned()))]);
        assert!(there.leased_at(now + LEASE).await.is_empty());
        // The answer comes all the same: whom Graph invited can be removed.
        let late = answered(now, 200, Next::Invited(taken()));
        assert_eq!(there.end(leased, late).await, None);
        let kept = "SELECT participant_id FROM invitations WHERE operation_id = 'operation'";
        assert_eq!(there.look::<String>(kept), "p");
        assert_eq!(there.look::<i64>("SELECT count(*) FROM attempts"), 1);
    }
}

#[tokio::test]
async fn an_invitation_that_was_not_sent_or_not_taken_is_sent_again() {
    let there = Fixture::new().await;
    let leased = there.invite().await;
    there.store.give_back(leased, NOW, NOW + SECOND).await.unwrap();
    assert!(there.leased_at(NOW).await.is_empty(), "after a pause");
    let again = there.leased_at(NOW + SECOND).await.remove(0);
    assert_eq!(again.order, Order::Invite(invitation()), "read back as it was recorded");
    let later = NOW + SECOND * 2;
    there.end(again, answered(NOW + SECOND, 429, Next::At(later))).await;
    let third = there.leased_at(later).await.remove(0);
    assert!(!third.earlier_effect_possible);
    there.end(third, answered(later, 429, Next::At(NOW + DEADLINE * 2))).await;
    let ends = there.ends_at(NOW + DEADLINE).await;
    assert_eq!(ends.iter().map(|(state, _)| *state).collect::<Vec<_>>(), [Obsolete]);
}

#[tokio::test]
async fn a_hold_on_the_call_that_is_dropped_holds_the_invitation() {
    let there = Fixture::new().await;
    there.call("b", "200").await;
    let leased = there.invite().await;
    there.end(leased, answered(NOW, 429, Next::At(NOW))).await;
    there.by_hand(
        "UPDATE invitations SET replaces = 'b'; \
         INSERT INTO holds (hold_id, tenant, kind, value, set_by, set_at) \
         SELECT 'h', tenant, 'call', 'b', 'me', 1 FROM tenants",
    );
    let ends = there.ends_at(NOW).await;
    assert_eq!(ends.iter().map(|(state, _)| *state).collect::<Vec<_>>(), [Held]);
}

/// Graph's word that nobody joins by the operation.
fn failing() -> CallChange {
    let reason = EndReason { code: Some(480), subcode: Some(10076), ..EndReason::default() };
    let invitation = InvitationChange {
        operation_id: "operation".to_owned(),
        participant_id: None,
        user_id: None,
        failed: Some(reason),
    };
    CallChange { invitation: Some(invitation), ..nothing("a") }
}

const NOT_REACHED: &str =
    "the user could not be invited: 480/10076 The called party could not be reached.";

#[tokio::test]
async fn an_invitation_that_failed_is_no_success_whoever_tells_of_it_and_whenever() {
    for when in ["with the answer", "after it", "before it", "after it was lost"] {
        let there = Fixture::new().await;
        let leased = there.invite().await;
        let failed = failing().invitation.unwrap().failed;
        let answer = match when {
            "with the answer" => Invited { failed, ..taken() },
            _ => taken(),
        };
        let deletion = leased.deletion_id;
        if when == "before it" {
            // Told of by the user, because nobody knows the operation yet.
            let mut news = failing();
            let told = news.invitation.as_mut().unwrap();
            told.user_id = Some(invitation().normalised());
            assert_eq!(there.apply(vec![news], NOW).await, Applied::Merged { changed: 1 });
        }
        if when == "after it was lost" {
            there.store.take_over(ProcessId::random(), NOW).await.unwrap();
            there.ends_at(NOW).await;
        }
        let settled = there.end(leased, answered(NOW, 200, Next::Invited(answer))).await;
        if when.starts_with("after it") {
            assert_eq!(there.apply(vec![failing()], NOW).await, Applied::Merged { changed: 1 });
            assert_eq!(there.apply(vec![failing()], NOW).await, Applied::Merged { changed: 0 });
        } else {
            let settled = settled.unwrap();
            assert_eq!((settled.state, settled.failure.as_deref()), (Failed, Some(NOT_REACHED)));
        }
        let known = there.store.deletion(deletion).await.unwrap().unwrap();
        let row = &known.row;
        assert_eq!((row.state, row.failure.as_deref()), (Failed, Some(NOT_REACHED)), "{when}");
        let shown = there.known("a").await.invitations.remove(0);
        let subcode = shown.failed.and_then(|why| why.subcode);
        assert_eq!((shown.is_pending, subcode), (false, Some(10076)), "{when}");
    }
}
