//! What an app must be allowed in a tenant, for each operation.

use crate::model::plan::Operation;

/// The hint for a removal that Graph says it failed at, which is all that people have seen of one that an
/// app was not permitted.
pub(super) const REMOVAL: &str = "Graph may answer so to an app that the tenant does not let remove \
    participants: name it in AllowRemoveParticipantAppIds, with Set-CsApplicationMeetingConfiguration";

/// The hint for an operation that Graph refuses for want of a permission.
pub(super) const fn needed(operation: Operation) -> &'static str {
    match operation {
        Operation::HangUp | Operation::Reject | Operation::ReadRoster => {
            "the app lacks a permission: an administrator of the tenant must grant \
             Calls.Initiate.All, or what else the bot has its calls by, and the call must be the \
             app's own"
        }
        Operation::RemoveParticipant => {
            "the app lacks a permission: an administrator of the tenant must grant \
             Calls.JoinGroupCall.All or Calls.JoinGroupCallAsGuest.All, and name the app in \
             AllowRemoveParticipantAppIds"
        }
        Operation::Invite => {
            "the app lacks a permission: an administrator of the tenant must grant \
             Calls.InitiateGroupCall.All, and the call must be the app's own"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::error::GraphError;

    #[test]
    fn a_removal_that_graph_fails_at_comes_with_the_list_of_apps_that_may_remove() {
        let hint = |operation, code: &str| {
            let body = format!(r#"{{"error":{{"code":"{code}"}}}}"#);
            GraphError::from_answer(500, None, &body).hint_for(operation)
        };
        let of_removal = hint(Operation::RemoveParticipant, "9999").unwrap_or_default();
        assert!(of_removal.contains("Set-CsApplicationMeetingConfiguration"), "{of_removal}");
        assert_eq!(hint(Operation::RemoveParticipant, "UnknownError"), None);
        for operation in [Operation::HangUp, Operation::Reject, Operation::Invite] {
            assert_eq!(hint(operation, "9999"), None);
        }
    }

    #[test]
    fn a_refusal_names_the_permission_that_its_operation_needs() {
        for (operation, permission) in [
            (Operation::HangUp, "Calls.Initiate.All"),
            (Operation::Reject, "Calls.Initiate.All"),
            (Operation::ReadRoster, "Calls.Initiate.All"),
            (Operation::RemoveParticipant, "AllowRemoveParticipantAppIds"),
            (Operation::Invite, "Calls.InitiateGroupCall.All"),
        ] {
            for code in ["7504", "Forbidden", ""] {
                let body = format!(r#"{{"error":{{"code":"{code}"}}}}"#);
                let hint = GraphError::from_answer(403, None, &body).hint_for(operation);
                assert!(hint.is_some_and(|hint| hint.contains(permission)), "{operation:?} {code}");
            }
            let body = r#"{"error":{"code":"7503"}}"#;
            let hint = GraphError::from_answer(403, None, body).hint_for(operation);
            assert!(hint.is_some_and(|hint| hint.contains("Teams channel")), "{operation:?}");
            assert_eq!(GraphError::from_answer(400, None, "").hint_for(operation), None);
        }
    }
}
