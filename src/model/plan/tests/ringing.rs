//! Calls that ring, and those that do not any more.

use super::*;

#[test]
fn a_call_is_rejected_while_it_rings_and_hung_up_from_then_on() {
    for (milliseconds, operation) in
        [(-1, Operation::HangUp), (0, Operation::HangUp), (1, Operation::Reject)]
    {
        let mut call = a_call("a", CallState::Incoming, None);
        call.call.rings_until = Some(Timestamp(NOW.0 + milliseconds));
        let admit = Decision::Admit { call: call.clone(), operation };
        check(&QUESTION, &mut one(call.clone()), &admit);
        let dry = Question { dry_run: true, ..QUESTION };
        let would_send = Decision::WouldSend { call_id: CallId::new("a"), operation };
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
fn a_rejection_is_of_a_call_that_rings_and_of_no_other() {
    let kind = DeletionKind::RejectCall(RejectReason::Busy);
    for ended_is_success in [false, true] {
        let question = Question { kind, ended_is_success, ..QUESTION };
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
        let admit = Decision::Admit { call: rings.clone(), operation: Operation::Reject };
        check(&question, &mut one(rings), &admit);
    }
}
