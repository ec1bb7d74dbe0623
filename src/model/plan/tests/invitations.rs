//! Who may be invited, and into which call.

use super::*;
use crate::model::participant::Invitation;

/// An invitation of one user, who may leave another call for it.
pub(super) fn invite(replaces: Option<&str>) -> DeletionKind {
    DeletionKind::InviteParticipant(invitation(replaces))
}

fn invitation(replaces: Option<&str>) -> Invitation {
    Invitation {
        user_id: "User-1".to_owned(),
        user_tenant: None,
        replaces: replaces.map(str::to_owned),
        context: None,
    }
}

fn question(replaces: Option<&str>) -> Question {
    Question { kind: invite(replaces), ..QUESTION }
}

fn admit(replaces: Option<&str>) -> Decision {
    Decision::Admit { call: running("a"), order: Order::Invite(invitation(replaces)) }
}

#[test]
fn a_user_is_invited_into_a_call_that_runs() {
    check(&question(None), &mut one(running("a")), &admit(None));
    let order = Order::Invite(invitation(None));
    let would = Decision::WouldSend { call_id: CallId::new("a"), order };
    check(&Question { dry_run: true, ..question(None) }, &mut one(running("a")), &would);
    // Nobody has seen it ending for a minute.
    let mut silent = a_call("a", CallState::Terminating, None);
    silent.call.last_seen_at = NOW - ENDING_IS_BELIEVED - Duration::from_millis(1);
    let Ok(decision) = decide(&question(None), &mut one(silent));
    assert!(matches!(decision, Decision::Admit { .. }), "{decision:?}");
}

#[test]
fn nobody_is_invited_into_a_call_that_ends() {
    let over = refuse_a(Refusal::LegOver);
    for call in [ended("a"), a_call("a", CallState::Terminating, None)] {
        for ended_is_success in [false, true] {
            let question = Question { ended_is_success, ..question(None) };
            check(&question, &mut one(call.clone()), &over);
        }
    }
    for (state, fate) in states() {
        let mut shown = Shown { deletion: Some(earlier(state)), ..one(running("a")) };
        check(
            &question(None),
            &mut shown,
            &match fate {
                "none" => admit(None),
                "joined" => refuse_a(Refusal::LegEnding),
                _ => over.clone(),
            },
        );
    }
}

#[test]
fn an_invitation_of_the_same_user_that_may_still_be_followed_is_joined() {
    for state in [Open, Sent, Unknown] {
        let mut shown = one(running("a"));
        // As it is compared.
        shown.target = ("user-1", Some(earlier(state)));
        shown.held = true;
        check(&question(None), &mut shown, &Decision::Join(earlier(state)));
    }
}

#[test]
fn what_differs_in_more_than_the_context_is_another_invitation() {
    let mut shown = one(running("a"));
    shown.target = ("user-1", Some(earlier(Open)));
    check(&question(Some("b")), &mut shown, &admit(Some("b")));
    let mut shown = one(running("a"));
    shown.target = ("replacesCallID=1:b;user-1", Some(earlier(Open)));
    check(&question(Some("b")), &mut shown, &Decision::Join(earlier(Open)));
    shown.replaced = Replaced::Hidden;
    check(&question(Some("b")), &mut shown, &refuse_a(Refusal::NotFound));
    let target = |tenant: Option<&str>, text: &str| {
        let context = crate::model::participant::ClientContext::new(text);
        let user_tenant = tenant.map(crate::id::TenantId::new);
        Invitation { user_tenant, context, ..invitation(None) }.target()
    };
    assert_eq!(target(None, "x"), target(None, "y"));
    assert_ne!(target(Some("contoso.example"), "x"), target(None, "x"));
}

#[test]
fn a_hold_on_either_call_forbids_an_invitation() {
    let policy = refuse_a(Refusal::Policy);
    check(&question(None), &mut Shown { held: true, ..one(running("a")) }, &policy);
    let mut other = running("b");
    other.row = 8;
    let replaced = Replaced::Known(Box::new(other));
    let shown = || Shown { replaced: replaced.clone(), ..one(running("a")) };
    check(&question(Some("b")), &mut shown(), &admit(Some("graph-b")));
    check(&question(Some("b")), &mut Shown { held_too: Some(8), ..shown() }, &policy);
    check(&question(None), &mut Shown { held_too: Some(8), ..shown() }, &admit(None));
}

#[test]
fn a_call_to_be_left_that_nobody_knows_is_named_as_it_came_and_a_hidden_one_not_at_all() {
    check(&question(Some("b")), &mut one(running("a")), &admit(Some("b")));
    let mut shown = Shown { replaced: Replaced::Hidden, ..one(running("a")) };
    check(&question(Some("b")), &mut shown, &refuse_a(Refusal::NotFound));
}

#[test]
fn a_repeat_of_the_stack_invites_nobody_twice_and_joins_whatever_is_known() {
    for (state, fate) in states() {
        let mut shown = Shown { abandoned: Some(earlier(state)), ..one(running("a")) };
        let is_joined = fate != "none" || state == Unknown;
        let expected = if is_joined { Decision::Join(earlier(state)) } else { admit(None) };
        check(&question(None), &mut shown, &expected);
    }
}

#[test]
fn an_invitation_into_a_call_that_is_found_no_more_is_no_answer_to_the_next_one() {
    for (state, fate) in states() {
        let mut shown = Shown { earlier: Some(earlier(state)), ..Shown::default() };
        let expected = match fate {
            "joined" => Decision::Join(earlier(state)),
            _ => refuse(Refusal::NotFound),
        };
        check(&question(None), &mut shown, &expected);
    }
}
