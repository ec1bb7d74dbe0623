//! Calls that ring, and those that do not any more.

use super::*;

#[test]
fn a_call_is_rejected_while_it_rings_and_hung_up_from_then_on() {
    let reject = Order::Reject(RejectReason::None);
    for (milliseconds, order) in [(-1, Order::HangUp), (0, Order::HangUp), (1, reject)] {
        let mut call = a_call("a", CallState::Incoming, None);
        call.call.rings_until = Some(Timestamp(NOW.0 + milliseconds));
        let admit = Decision::Admit { call: call.clone(), order: order.clone() };
        check(&QUESTION, &mut one(call.clone()), &admit);
        let dry = Question { dry_run: true, ..QUESTION };
        let would_send = Decision::WouldSend { call_id: CallId::new("a"), order };
        check(&dry, &mut one(call), &would_send);
    }
}

#[test]
fn every_operation_and_reason_is_read_back_from_its_word() {
    for operation in Operation::ALL {
        assert_eq!(Operation::from_word(operation.as_str()), Some(operation));
    }
    for reason in RejectReason::ALL {
        let word = reason.as_str().to_uppercase();
        assert_eq!(RejectReason::from_word(&word), Some(reason));
    }
    assert_eq!(RejectReason::from_word("rude"), None);
}

#[test]
fn what_was_hung_up_was_not_rejected() {
    let kind = DeletionKind::RejectCall(RejectReason::Busy);
    let question = Question { kind, ..QUESTION };
    for (operation, expected) in [
        (Operation::HangUp, None),
        (Operation::RemoveParticipant, None),
        (Operation::Reject, Some(Sent)),
    ] {
        let before = Earlier { operation: Some(operation), ..earlier(Sent) };
        for mut call in [running("a"), ended("a")] {
            call.call.rings_until = Some(Timestamp(NOW.0 + 1));
            let mut shown = Shown { deletion: Some(before.clone()), ..one(call) };
            let ended = refuse_a(Refusal::Ended);
            let already = expected.map(|_| Decision::AlreadyDeleted(before.clone()));
            check(&question, &mut shown, &already.unwrap_or(ended));
        }
    }
}

#[test]
fn a_rejection_is_of_a_call_that_rings_and_of_no_other() {
    let kind = DeletionKind::RejectCall(RejectReason::Busy);
    for ended_is_success in [false, true] {
        let question = Question { kind: kind.clone(), ended_is_success, ..QUESTION };
        let refused =
            |refusal, name: &str| Decision::Refuse { refusal, call_id: Some(CallId::new(name)) };
        check(&question, &mut one(running("a")), &refused(Refusal::RingsNoMore, "a"));
        check(&question, &mut one(ended("a")), &refused(Refusal::Ended, "a"));
        let ending = a_call("a", CallState::Terminating, None);
        check(&question, &mut one(ending), &refused(Refusal::Ended, "a"));
        let silent = a_call("a", CallState::Incoming, None);
        check(&question, &mut one(silent.clone()), &refused(Refusal::RingsNoMore, "a"));
        let mut late = silent.clone();
        late.call.rings_until = Some(NOW);
        check(&question, &mut one(late), &refused(Refusal::RingsNoMore, "a"));
        let mut rings = silent;
        rings.call.rings_until = Some(Timestamp(NOW.0 + 1));
        let admit =
            Decision::Admit { call: rings.clone(), order: Order::Reject(RejectReason::Busy) };
        check(&question, &mut one(rings), &admit);
    }
}
