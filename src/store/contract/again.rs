//! Single people and invitations, what is easily got wrong: who is removed again, who must not be taken for
//! somebody else, and which call an invitation may replace.

use tokio::time::Instant;

use super::participants::{by_id, by_number, invitation, invite, member, operation};
use super::{SECOND, SENT};
use crate::id::TenantId;
use crate::model::deletion::DeletionKind;
use crate::model::deletion::DeletionState::Unknown;
use crate::model::participant::Invitation;
use crate::model::plan::{Decision, Order, Refusal};
use crate::store::admission::Next;
use crate::store::fixture::{Fixture, NOW, over};

const GUID: &str = "7a1b2c3d-0000-4000-8000-123456789abc";

fn replacing(id: &str) -> DeletionKind {
    DeletionKind::InviteParticipant(invitation("user-9", Some(id)))
}

#[tokio::test]
async fn whom_the_roster_shows_long_after_the_removal_is_removed_again() {
    let there = Fixture::rooms().await;
    let leased = there.begins(by_number("77"), NOW).await;
    there.settles(leased, SENT).await;
    // He is still there, or came back and his leaving was lost.
    let soon = NOW + SECOND * 600;
    there.in_call("a", vec![member("p", "8856", ""), member("q", "77", "")], soon).await;
    let decision = there.decides(by_id("q"), soon).await.decision;
    assert!(matches!(decision, Decision::AlreadyDeleted(_)), "{decision:?}");
    there.begins(by_id("q"), soon + SECOND).await;
}

#[tokio::test]
async fn whom_nothing_is_known_of_is_not_removed_while_he_may_be_ourselves() {
    let there = Fixture::rooms().await;
    there.in_call("a", vec![member("us", "", ""), member("q", "77", "")], NOW).await;
    assert_eq!(there.meant(by_id("us")).await, Err(Refusal::OurOwnPlace));
    let Err(Refusal::NoParticipant(candidates)) = there.meant(by_number("nobody")).await else {
        panic!("nobody is called so")
    };
    assert_eq!(candidates.len(), 1);
    assert_eq!(there.meant(by_id("q")).await, Ok("q".to_owned()));
    there.by_hand("UPDATE calls SET my_participant_id = 'q'");
    assert_eq!(there.meant(by_id("us")).await, Ok("us".to_owned()));
}

#[tokio::test]
async fn our_row_of_before_apps_were_told_from_users_is_ours() {
    let there = Fixture::rooms().await;
    // The fixture's app.
    there.by_hand("UPDATE roster SET user_id = 'app' WHERE participant_id = 'q'");
    assert_eq!(there.meant(by_id("q")).await, Err(Refusal::OurOwnPlace));
    let meant = there.meant(by_number("77")).await;
    assert!(matches!(meant, Err(Refusal::NoParticipant(_))), "{meant:?}");
}

#[tokio::test]
async fn an_invitation_replaces_neither_its_own_call_nor_one_of_another_app() {
    let there = Fixture::rooms().await;
    for ours in ["a", "A"] {
        there.by_hand(&format!("UPDATE calls SET call_id = 'A' WHERE graph_id = '{ours}'"));
        let decision = there.decides(replacing(ours), NOW).await.decision;
        let is_itself = |refusal: &Refusal| *refusal == Refusal::ReplacesItself;
        let is_refused =
            matches!(&decision, Decision::Refuse { refusal, .. } if is_itself(refusal));
        assert!(is_refused, "{decision:?}");
    }
    there.by_hand("UPDATE calls SET app_id = 'another' WHERE graph_id = 'b'");
    let decision = there.decides(replacing("b"), NOW).await.decision;
    let is_refused = matches!(decision, Decision::Refuse { refusal: Refusal::OtherApp, .. });
    assert!(is_refused, "{decision:?}");
}

#[tokio::test]
async fn a_hold_is_found_on_a_call_that_is_known_only_after_its_replacement_was_asked_for() {
    let there = Fixture::rooms().await;
    let leased = there.begins(replacing(&GUID.to_uppercase()), NOW).await;
    let Order::Invite(invitation) = &leased.order else { panic!("{leased:?}") };
    assert_eq!(invitation.replaces.as_deref(), Some(GUID));
    there.store.give_back(leased, NOW, NOW).await.unwrap();
    there.call(&GUID.to_uppercase(), "100").await;
    there.by_hand(&format!(
        "INSERT INTO holds (hold_id, tenant, kind, value, set_by, set_at) \
         VALUES ('h', (SELECT tenant FROM tenants), 'call', '{GUID}', 'somebody', 0)"
    ));
    assert_eq!(there.over_at(NOW).await.len(), 1);
}

#[tokio::test]
async fn users_of_different_tenants_are_invited_each_for_himself() {
    let there = Fixture::rooms().await;
    let of = |tenant: Option<&str>| {
        let user_tenant = tenant.map(TenantId::new);
        DeletionKind::InviteParticipant(Invitation { user_tenant, ..invitation("bob", None) })
    };
    for tenant in [None, Some("t-1"), Some("t-2")] {
        there.begins(of(tenant), NOW).await;
        let again = there.decides(of(tenant), NOW).await.decision;
        assert!(matches!(again, Decision::Join(_)), "{again:?}");
    }
}

#[tokio::test]
async fn many_invitations_are_looked_through_at_once() {
    let there = Fixture::rooms().await;
    there.by_hand(
        "WITH RECURSIVE n (i) AS (SELECT 1000 UNION ALL SELECT i + 1 FROM n WHERE i < 4999) \
         INSERT INTO deletions (deletion, deletion_id, tenant, kind, key, selector, selector_hash, \
         scope, call, state, created_at, deadline_at, target) SELECT i, printf('%032d', i), 1, \
         iif(i < 3000, 'InviteParticipant', 'DeleteParticipant'), NULL, 's', x'00', 'leg', 1, \
         'sent', 1, 1, 'u' || (i % 2000) FROM n; \
         INSERT INTO steps (deletion, position, tenant, operation, target, state, deadline_at) \
         SELECT deletion, 1, 1, iif(deletion < 3000, 'invite', 'remove-participant'), \
         iif(deletion < 3000, NULL, target), 'sent', 1 FROM deletions; \
         INSERT INTO invitations (deletion, call, tenant, user_id, normalised, operation_id, \
         participant_id) SELECT deletion, 1, 1, target, target, target, target FROM deletions \
         WHERE deletion < 3000",
    );
    let began = Instant::now();
    let decision = there.decides(by_id("nobody"), NOW).await.decision;
    assert!(matches!(decision, Decision::Admit { .. }), "{decision:?}");
    // With each looked at for itself it takes many seconds.
    assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
}

#[tokio::test]
async fn whoever_may_be_on_his_way_is_not_invited_once_more() {
    for participant in [None, Some("i")] {
        let there = Fixture::rooms().await;
        let leased = there.begins(invite("user-7"), NOW).await;
        let deletion = leased.deletion_id;
        assert_eq!(there.joins("user-7", NOW).await, deletion);
        there.settles(leased, Next::Invited(operation(participant))).await;
        assert_eq!(there.joins("user-7", NOW + SECOND * 599).await, deletion);
        // Whoever was in the call before, with another device, has not followed it.
        let joined = member(participant.unwrap_or("j"), "", "user-7");
        there.in_call("a", vec![joined], NOW + SECOND * 2).await;
        let next = there.begins(invite("user-7"), NOW + SECOND * 3).await;
        assert_ne!(next.deletion_id, deletion, "{participant:?}");
    }
    let there = Fixture::rooms().await;
    let leased = there.begins(invite("user-7"), NOW).await;
    there.settles(leased, Next::Invited(operation(Some("i")))).await;
    there.begins(invite("user-7"), NOW + SECOND * 600).await;
    // Nobody knows whether he was invited.
    let there = Fixture::rooms().await;
    let leased = there.begins(invite("user-7"), NOW).await;
    let deletion = leased.deletion_id;
    there.settles(leased, over(Unknown, None, false)).await;
    assert_eq!(there.joins("user-7", NOW + SECOND * 599).await, deletion);
    there.begins(invite("user-7"), NOW + SECOND * 600).await;
}

#[tokio::test]
async fn two_invitations_that_lead_to_one_place_are_one_candidate() {
    let there = Fixture::rooms().await;
    for now in [NOW, NOW + SECOND * 600] {
        let leased = there.begins(invite("user-7"), now).await;
        there.settles(leased, Next::Invited(operation(Some("i")))).await;
    }
    assert_eq!(there.meant(by_number("user-7")).await, Ok("i".to_owned()));
}
