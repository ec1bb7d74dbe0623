//! `scope=all`, and calls of another app.

use super::*;
use crate::model::deletion::REPEATED_BY_THE_STACK;

const ALL: DeletionKind = DeletionKind::DeleteCall(Scope::All { most: 50 });

fn of_all(state: DeletionState) -> Earlier {
    Earlier { is_all: true, ..earlier(state) }
}

fn all() -> Question {
    Question { kind: ALL, ..QUESTION }
}

#[test]
fn everybody_s_leg_begins_with_the_roster() {
    // In one that has ended nobody is left to be removed: Graph is asked to hang up all the same.
    for (call, order) in [(running("a"), Order::ReadRoster), (ended("a"), Order::HangUp)] {
        let admit = Decision::Admit { call: call.clone(), order: order.clone() };
        check(&all(), &mut one(call.clone()), &admit);
        let would = Decision::WouldSend { call_id: CallId::new("a"), order };
        check(&Question { dry_run: true, ..all() }, &mut one(call), &would);
    }
    let success = Question { ended_is_success: true, ..all() };
    let already = Decision::AlreadyEnded { call_id: CallId::new("a") };
    check(&success, &mut one(ended("a")), &already);
}

#[test]
fn a_call_that_rings_is_rejected_for_everybody_as_well() {
    let mut call = a_call("a", CallState::Incoming, None);
    call.call.rings_until = Some(Timestamp(NOW.0 + 1));
    let order = Order::Reject(RejectReason::None);
    check(&all(), &mut one(call.clone()), &Decision::Admit { call, order });
}

#[test]
fn nobody_else_is_removed_once_our_own_leg_ends() {
    let terminating = a_call("a", CallState::Terminating, None);
    check(&all(), &mut one(terminating), &refuse_a(Refusal::LegOver));
    for (state, fate) in states() {
        let mut shown = Shown { deletion: Some(earlier(state)), ..one(running("a")) };
        let expected = match fate {
            "none" => Decision::Admit { call: running("a"), order: Order::ReadRoster },
            "joined" => refuse_a(Refusal::LegEnding),
            _ => refuse_a(Refusal::LegOver),
        };
        check(&all(), &mut shown, &expected);
    }
}

#[test]
fn a_deletion_of_everybody_s_leg_is_one_of_ours_too() {
    for kind in [ALL, DeletionKind::DeleteCall(Scope::Leg)] {
        let question = Question { kind, ..QUESTION };
        for (state, fate) in states() {
            let mut shown = Shown { deletion: Some(of_all(state)), ..one(running("a")) };
            shown.held = true;
            let expected = match fate {
                "joined" => Decision::Join(of_all(state)),
                "taken" => Decision::AlreadyDeleted(of_all(state)),
                _ => refuse_a(Refusal::Policy),
            };
            check(&question, &mut shown, &expected);
        }
    }
}

#[test]
fn a_deletion_of_all_that_does_not_get_on_gives_way_to_one_of_our_leg() {
    let soon = NOW - REPEATED_BY_THE_STACK;
    let later = soon - Duration::from_millis(1);
    let removal = Some(Operation::RemoveParticipant);
    for (operation, created_at, gives_way) in [
        (removal, later, true),
        (Some(Operation::ReadRoster), later, true),
        (removal, soon, false),
        (Some(Operation::HangUp), later, false),
        (Some(Operation::Reject), later, false),
    ] {
        let open = Earlier { operation, created_at, ..of_all(Open) };
        let shown = || Shown { deletion: Some(open.clone()), ..one(running("a")) };
        let expected = if gives_way { admit(running("a")) } else { Decision::Join(open.clone()) };
        check(&QUESTION, &mut shown(), &expected);
        check(&all(), &mut shown(), &Decision::Join(open.clone()));
        if gives_way {
            let held = Shown { held: true, ..shown() };
            check(&QUESTION, &mut { held }, &refuse_a(Refusal::Policy));
        }
        let invite = Question { kind: invitations::invite(None), ..QUESTION };
        check(&invite, &mut shown(), &refuse_a(Refusal::LegEnding));
    }
}

#[test]
fn a_call_of_another_app_is_refused_whatever_is_asked_of_it() {
    const APP: &str = "2891555a-92ff-42e6-80fa-6e1300c6b5c6";
    let kinds = [
        DeletionKind::DeleteCall(Scope::Leg),
        ALL,
        DeletionKind::RejectCall(RejectReason::None),
        DeletionKind::DeleteParticipant(ParticipantSelector::Id("p".to_owned())),
        invitations::invite(None),
    ];
    for kind in kinds {
        // The app of the call, that of the tenant; whether they are one.
        for (app_id, client_id, is_refused) in [
            (None, Some(APP), false),
            (Some("api://botid-2891555A-92FF-42E6-80FA-6E1300C6B5C6"), Some(APP), false),
            (Some("another"), None, false),
            (Some("another"), Some(APP), true),
            (Some("1891555a-92ff-42e6-80fa-6e1300c6b5c6"), Some(APP), true),
        ] {
            let mut call = running("a");
            call.call.app_id = app_id.map(str::to_owned);
            let mut shown = Shown { deletion: Some(earlier(Open)), ..one(call) };
            let client_id = client_id.map(str::to_owned);
            let question = Question { kind: kind.clone(), client_id, ..QUESTION };
            let Ok(decision) = decide(&question, &mut shown);
            assert_eq!(decision == refuse_a(Refusal::OtherApp), is_refused, "{decision:?}");
        }
    }
}
