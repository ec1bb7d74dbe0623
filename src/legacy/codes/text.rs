//! The texts for people. They name parameters and rights, never a value that was sent, and never read
//! as if a recording had been erased.

use crate::legacy::error::GatewayError;
use crate::legacy::outcome::Subject;
use crate::model::plan::{Ambiguity, Progress, Refusal};

/// The text for this error.
pub(super) fn of(error: &GatewayError) -> String {
    let fixed = match error {
        GatewayError::Parameter(error) => return error.to_string(),
        GatewayError::Refused { refusal, facts } => return of_refusal(refusal, facts.subject),
        GatewayError::UnknownPath => "Nothing is served at this path.",
        GatewayError::Method => "This method is not served: use GET or POST.",
        GatewayError::BodyTooLarge => "The request body is too large.",
        GatewayError::RequestLineTooLong => "The request line is too long: send a POST.",
        GatewayError::HeadersTooLarge => "The request headers are too large.",
        GatewayError::BodyIncomplete => "The request body did not arrive in time.",
        GatewayError::UnknownAction => "Parameter action names no action that is served here.",
        GatewayError::Key => "The API key is not accepted.",
        GatewayError::Login => "The login is not accepted.",
        GatewayError::LoginNeeded { .. } => {
            "A login is needed: send Authorization: Basic, or parameters userName and password."
        }
        GatewayError::Braked { .. } => "Too many logins failed: try again later.",
        GatewayError::TokenNeeded => "This API key needs a token: send parameter token.",
        GatewayError::Token => "The token is not accepted: request a new one.",
        GatewayError::Unavailable => "The service is unavailable: try again.",
        GatewayError::Internal => "The request failed for a reason of our own.",
    };
    fixed.to_owned()
}

fn of_refusal(refusal: &Refusal, subject: Subject) -> String {
    let fixed = match refusal {
        Refusal::Ambiguous(ambiguity) => return ambiguous(ambiguity),
        Refusal::AmbiguousParticipant { count, .. } => {
            return format!(
                "{count} participants match: parameter participantID would decide which one is meant."
            );
        }
        Refusal::NotPermitted(right) => {
            return format!("This API key does not permit {right}.");
        }
        Refusal::TooMany { most: Some(most) } => {
            let others = if *most == 1 { "other" } else { "others" };
            return format!(
                "Nobody was removed: this API key permits scope=all for at most {most} {others}."
            );
        }
        Refusal::Partly(Progress { removed, of }) => {
            return format!(
                "{removed} of {of} participants were removed: the others and our leg of the call \
                 go on."
            );
        }
        Refusal::TooMany { most: None } => {
            "Nobody was removed: more others are in the call than scope=all was permitted for."
        }
        Refusal::NotFound => "Call cannot be found.",
        Refusal::NoSuchDeletion => "Deletion cannot be found.",
        Refusal::Ended => "Call has already ended.",
        Refusal::RingsNoMore => "Call cannot be rejected any more: DeleteCall would end it.",
        Refusal::NoParticipant(_) => "Participant cannot be found in the call.",
        Refusal::OurOwnPlace => {
            "This is, or may be, our own place in the call: DeleteCall ends our leg of it."
        }
        Refusal::Unnamed => {
            "Participant was invited, and Microsoft Graph has not named him yet: ask again."
        }
        Refusal::LegEnding => {
            "A deletion of this call is under way: nobody can be removed or invited meanwhile."
        }
        Refusal::ParticipantLeft => "Participant has already left the call.",
        Refusal::LegOver => {
            "Our leg of the call has ended: nobody can be removed or invited any more."
        }
        Refusal::PlaceUnknown => {
            "Nobody was removed: our own place in the call cannot be told from the others'."
        }
        Refusal::ReplacesItself => "Parameter replacesCallID names the call itself.",
        Refusal::OtherApp => "The call belongs to an app that is not configured here.",
        Refusal::Policy => "Deletion refused by policy.",
        Refusal::RefusedByGraph => refused_by_graph(subject),
        Refusal::UnknownOutcome => unknown_outcome(subject),
        Refusal::Withdrawn => withdrawn(subject),
        Refusal::Prefetch => "This was sent ahead of its user: nothing was done.",
    };
    fixed.to_owned()
}

const fn refused_by_graph(subject: Subject) -> &'static str {
    match subject {
        Subject::Call => "Microsoft Graph refused to end the call.",
        Subject::Rejection => "Microsoft Graph refused to reject the call.",
        Subject::Participant => "Microsoft Graph refused to remove the participant.",
        Subject::Invitation => "Microsoft Graph refused the invitation.",
    }
}

const fn unknown_outcome(subject: Subject) -> &'static str {
    match subject {
        Subject::Call => "It is not known whether the call was ended.",
        Subject::Rejection => "It is not known whether the call was rejected.",
        Subject::Participant => "It is not known whether the participant was removed.",
        Subject::Invitation => "It is not known whether the user was invited.",
    }
}

/// True of all that Graph did not take: when its caller, an operator or its deadline ended it, whether or
/// not Graph was asked.
const fn withdrawn(subject: Subject) -> &'static str {
    match subject {
        Subject::Call => {
            "The deletion was withdrawn, or its time was over, before Microsoft Graph took it: \
             nothing more will be sent."
        }
        Subject::Rejection => {
            "The rejection was withdrawn, or its time was over, before Microsoft Graph took it: \
             nothing more will be sent."
        }
        Subject::Participant => {
            "The removal was withdrawn, or its time was over, before Microsoft Graph took it: \
             nothing more will be sent."
        }
        Subject::Invitation => {
            "The invitation was withdrawn, or its time was over, before Microsoft Graph took it: \
             nothing more will be sent."
        }
    }
}

fn ambiguous(ambiguity: &Ambiguity) -> String {
    let decided_by = ambiguity.decided_by;
    let count = if ambiguity.count > Ambiguity::COUNTED {
        format!("More than {}", Ambiguity::COUNTED)
    } else {
        ambiguity.count.to_string()
    };
    format!("{count} calls match: parameter {decided_by} would decide which one is meant.")
}
