//! What one answer of Graph's means for the operation that was sent.
//!
//! Pure: operation, what happened earlier and the answer go in, the verdict comes out. The only
//! place where answers are judged. It never decides when to try again, nor until when.

use std::time::Duration;

use crate::graph::Answer;
use crate::graph::error::{GraphError, LoginError};
use crate::model::plan::Operation;
use crate::store::admission::Before;

/// What becomes of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Graph took it.
    Sent,
    /// Graph has no such call, or participant, any more, and an earlier attempt of ours may be why.
    Gone,
    /// Graph has no such call, or participant, and that is not our doing.
    NeverThere,
    /// Not now: the next attempt comes no earlier than `retry_after` from now.
    Again { retry_after: Option<Duration> },
    /// The call cannot be rejected any more: it is to be decided anew what to send.
    Replan,
    /// Nothing can be sent for this tenant until its operator acts; the step waits.
    TenantFault { hint: &'static str },
    /// Refused for good.
    Failed { hint: Option<&'static str> },
    /// It may or may not have been done, and must not be repeated.
    Unknown,
}

/// Judges `answer` by the table in the Graph contract.
pub(crate) fn verdict(operation: Operation, earlier: Before, answer: &Answer) -> Verdict {
    let error = match &answer.result {
        Ok(()) => return Verdict::Sent,
        Err(error) => error,
    };
    match error {
        GraphError::NotFound | GraphError::NoParticipant => not_found(operation, earlier),
        // It passed the brake before anything was done, so even an invitation may be repeated.
        GraphError::Throttled { retry_after }
        | GraphError::Unavailable { retry_after: retry_after @ Some(_) }
        | GraphError::Login(LoginError::Unavailable { retry_after, .. }) => {
            Verdict::Again { retry_after: *retry_after }
        }
        // The request was not sent, or was refused and only the reason is not known.
        GraphError::Connect(_)
        | GraphError::Torn { status: 403, .. }
        | GraphError::Login(
            LoginError::Unreadable { .. }
            | LoginError::Assertion(_)
            | LoginError::Signature
            | LoginError::Unreachable(_)
            | LoginError::TimedOut,
        ) => Verdict::Again { retry_after: None },
        // The answer says nothing about what was done.
        GraphError::ForeignNotFound { .. }
        | GraphError::Unreadable { .. }
        | GraphError::Unavailable { retry_after: None }
        | GraphError::ServerError { .. }
        | GraphError::Tls(_)
        | GraphError::Torn { .. }
        | GraphError::Lost(_) => match operation {
            Operation::HangUp
            | Operation::RemoveParticipant
            | Operation::Reject
            | Operation::ReadRoster => Verdict::Again { retry_after: None },
            Operation::Invite => Verdict::Unknown,
        },
        // What was accepted is tried until its deadline, also by a process that was started without
        // its tenant: the next one may have it again.
        GraphError::TenantFault { .. }
        | GraphError::Unauthorized
        | GraphError::OtherApp
        | GraphError::Login(LoginError::Refused { .. } | LoginError::NotConfigured) => {
            Verdict::TenantFault { hint: error.hint_for(operation).unwrap_or_default() }
        }
        GraphError::OtherTenant
        | GraphError::TooMany
        | GraphError::ForeignPage
        | GraphError::Refused { .. }
        | GraphError::Redirected { .. }
        | GraphError::UnusableId => Verdict::Failed { hint: error.hint_for(operation) },
    }
}

/// Whether the attempt that got `answer` may have had its effect although Graph did not say so: the
/// answer was lost, or was a 5xx, or a 404 from somebody else, which counts as a 502, or one that
/// broke off.
pub(crate) fn effect_possible(answer: &Answer) -> bool {
    match &answer.result {
        Err(
            GraphError::Lost(_)
            | GraphError::Unavailable { .. }
            | GraphError::ForeignNotFound { .. }
            | GraphError::Unreadable { .. },
        ) => true,
        Err(GraphError::Torn { status, .. }) => *status != 403,
        // A 408 says that the request did not arrive whole.
        Err(GraphError::ServerError { status, .. }) => *status != 408,
        _ => false,
    }
}

fn not_found(operation: Operation, earlier: Before) -> Verdict {
    match operation {
        Operation::HangUp | Operation::RemoveParticipant | Operation::ReadRoster
            if earlier.effect_possible =>
        {
            Verdict::Gone
        }
        Operation::Reject if earlier.effect_possible || earlier.call_answered => Verdict::Replan,
        Operation::HangUp
        | Operation::RemoveParticipant
        | Operation::Reject
        | Operation::ReadRoster => Verdict::NeverThere,
        Operation::Invite => Verdict::Failed { hint: None },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const ASKED: Option<Duration> = Some(Duration::from_secs(7));
    const AGAIN: Verdict = Verdict::Again { retry_after: None };
    const LATER: Verdict = Verdict::Again { retry_after: ASKED };
    const FAULT: Verdict = Verdict::TenantFault { hint: "" };
    const FAILED: Verdict = Verdict::Failed { hint: None };
    use Verdict::{Gone, NeverThere, Replan, Sent, Unknown};

    fn answer(result: Result<(), GraphError>) -> Answer {
        Answer {
            status: None,
            request_id: None,
            client_request_id: None,
            date: None,
            diagnostic: None,
            result,
        }
    }

    fn cause() -> reqwest::Error {
        reqwest::Client::builder().user_agent("\n").build().unwrap_err()
    }

    fn server_error(status: u16) -> GraphError {
        GraphError::ServerError { status, code: None }
    }

    fn torn(status: u16) -> GraphError {
        GraphError::Torn { status, source: cause() }
    }

    fn refused(status: u16) -> GraphError {
        GraphError::Refused { status, code: None, message: None }
    }

    /// Each row: the answer, whether an effect is possible, and the verdicts for hang up, reject
    /// and invite, which hold whatever was known before.
    fn rows() -> Vec<(Result<(), GraphError>, bool, [Verdict; 3])> {
        let denied =
            LoginError::Refused { error: "invalid_client".to_owned(), number: None, hint: "" };
        let busy = LoginError::Unavailable { status: 503, retry_after: ASKED };
        let code = "7503".to_owned();
        vec![
            (Ok(()), false, [Sent; 3]),
            (Err(GraphError::Redirected { status: 302 }), false, [FAILED; 3]),
            (Err(GraphError::Unauthorized), false, [FAULT; 3]),
            (Err(denied.into()), false, [FAULT; 3]),
            (Err(GraphError::TenantFault { code, hint: "" }), false, [FAULT; 3]),
            (Err(GraphError::OtherApp), false, [FAULT; 3]),
            (Err(GraphError::OtherTenant), false, [FAILED; 3]),
            (Err(GraphError::TooMany), false, [FAILED; 3]),
            (Err(GraphError::ForeignPage), false, [FAILED; 3]),
            (Err(refused(403)), false, [FAILED; 3]),
            (
                Err(GraphError::ForeignNotFound { code: None, has_inner: false }),
                true,
                [AGAIN, AGAIN, Unknown],
            ),
            (Err(GraphError::Throttled { retry_after: ASKED }), false, [LATER; 3]),
            (Err(GraphError::Throttled { retry_after: None }), false, [AGAIN; 3]),
            (Err(GraphError::Unavailable { retry_after: ASKED }), true, [LATER; 3]),
            (Err(GraphError::Unavailable { retry_after: None }), true, [AGAIN, AGAIN, Unknown]),
            (Err(GraphError::Connect(cause())), false, [AGAIN; 3]),
            (Err(server_error(408)), false, [AGAIN, AGAIN, Unknown]),
            (Err(server_error(500)), true, [AGAIN, AGAIN, Unknown]),
            (Err(server_error(502)), true, [AGAIN, AGAIN, Unknown]),
            (Err(server_error(504)), true, [AGAIN, AGAIN, Unknown]),
            (Err(GraphError::Tls(cause())), false, [AGAIN, AGAIN, Unknown]),
            (Err(torn(403)), false, [AGAIN; 3]),
            (Err(torn(404)), true, [AGAIN, AGAIN, Unknown]),
            (Err(GraphError::Lost(cause())), true, [AGAIN, AGAIN, Unknown]),
            (Err(refused(400)), false, [FAILED; 3]),
            (Err(refused(409)), false, [FAILED; 3]),
            (Err(GraphError::UnusableId), false, [FAILED; 3]),
            (Err(LoginError::NotConfigured.into()), false, [FAULT; 3]),
            (Err(busy.into()), false, [LATER; 3]),
            (Err(LoginError::Unreadable { status: 200 }.into()), false, [AGAIN; 3]),
            (Err(LoginError::TimedOut.into()), false, [AGAIN; 3]),
            (Err(LoginError::Unreachable(Arc::new(cause())).into()), false, [AGAIN; 3]),
        ]
    }

    /// The verdict without its hint.
    fn judge(operation: Operation, earlier: Before, answer: &Answer) -> Verdict {
        match verdict(operation, earlier, answer) {
            Verdict::TenantFault { .. } => FAULT,
            Verdict::Failed { .. } => FAILED,
            other => other,
        }
    }

    fn every_earlier() -> [Before; 4] {
        [(false, false), (false, true), (true, false), (true, true)]
            .map(|(effect_possible, call_answered)| Before { effect_possible, call_answered })
    }

    #[test]
    fn every_answer_but_not_found_is_judged_the_same_whatever_was_before() {
        for (result, possible, [hang_up, reject, invite]) in rows() {
            let answer = answer(result);
            assert_eq!(effect_possible(&answer), possible, "{answer:?}");
            for earlier in every_earlier() {
                for (operation, expected) in [
                    (Operation::HangUp, hang_up),
                    (Operation::RemoveParticipant, hang_up),
                    (Operation::ReadRoster, hang_up),
                    (Operation::Reject, reject),
                    (Operation::Invite, invite),
                ] {
                    assert_eq!(
                        judge(operation, earlier, &answer),
                        expected,
                        "{operation:?} {earlier:?} {answer:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_not_found_means_depends_on_what_was_before() {
        for error in [GraphError::NotFound, GraphError::NoParticipant] {
            let answer = answer(Err(error));
            assert!(!effect_possible(&answer));
            // In the order of `every_earlier`: nothing, answered, effect possible, both.
            for (operation, expected) in [
                (Operation::HangUp, [NeverThere, NeverThere, Gone, Gone]),
                (Operation::RemoveParticipant, [NeverThere, NeverThere, Gone, Gone]),
                (Operation::ReadRoster, [NeverThere, NeverThere, Gone, Gone]),
                (Operation::Reject, [NeverThere, Replan, Replan, Replan]),
                (Operation::Invite, [FAILED; 4]),
            ] {
                let verdicts = every_earlier().map(|earlier| judge(operation, earlier, &answer));
                assert_eq!(verdicts, expected, "{operation:?}");
            }
        }
    }

    #[test]
    fn a_fault_of_the_tenant_and_a_call_of_another_come_with_a_hint() {
        let hint = |error| match verdict(Operation::HangUp, Before::default(), &answer(Err(error)))
        {
            Verdict::TenantFault { hint } => hint,
            Verdict::Failed { hint } => hint.unwrap_or_default(),
            other => panic!("{other:?}"),
        };
        let fault = GraphError::TenantFault { code: "7503".to_owned(), hint: "do this" };
        assert_eq!(hint(fault), "do this");
        for error in [
            GraphError::Unauthorized,
            GraphError::OtherApp,
            GraphError::OtherTenant,
            refused(403),
            LoginError::NotConfigured.into(),
        ] {
            assert_ne!(hint(error), "");
        }
    }
}
