//! The operation that an invitation is, told or answered.

use super::identity::Identities;
use super::json::{Object, elements, identifier, member, text, type_name};
use super::result;
use crate::model::change::{EndReason, InvitationChange};

/// What an `inviteParticipantsOperation` says of the one whom it invites; `id` is the operation's in
/// the path, which counts when the operation does not say its own.
///
/// None when it is another operation, and when nobody can tell which operation is meant, or which
/// participant: one that failed need not name anybody.
pub(crate) fn invitation(operation: &Object, id: Option<&str>) -> Option<InvitationChange> {
    let kind = type_name(operation);
    if !(kind.is_empty() || kind == "inviteparticipantsoperation") {
        return None;
    }
    let told = identifier(operation, "id");
    // A page of Graph's shows the word in the place of the id.
    let id = id.filter(|id| !id.eq_ignore_ascii_case("participants"));
    let operation_id = match (told, id) {
        (Some(told), Some(id)) if told != id => return None,
        (told, id) => told.or_else(|| id.map(str::to_owned))?,
    };
    let failed = failure(operation);
    let (participant_id, user_id) = match invited(operation) {
        Some((id, info)) => (Some(id), Identities::of(info).user_id()),
        None if failed.is_some() => (None, None),
        None => return None,
    };
    Some(InvitationChange { operation_id, participant_id, user_id, failed })
}

/// The id that the one invited participant has in the call, and who it is. We invite nobody else with
/// him.
pub(crate) fn invited(operation: &Object) -> Option<(String, &Object)> {
    match elements(operation, "participants") {
        [one] => {
            let one = one.as_object()?;
            Some((identifier(one, "participantId")?, one))
        }
        _ => None,
    }
}

/// Why nobody joins by an operation, as far as it says so; none for one that has not failed.
pub(crate) fn failure(operation: &Object) -> Option<EndReason> {
    let status = member(operation, "status").and_then(text)?;
    status.eq_ignore_ascii_case("failed").then(|| result(operation))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn whole() -> Value {
        json!({
            "@odata.type": "#microsoft.graph.inviteParticipantsOperation",
            "id": "o-1", "status": "Completed", "clientContext": "c", "resultInfo": null,
            "participants": [{
                "participantId": "p-1", "replacesCallId": null,
                "identity": {"user": {"id": "278405A3-F568-4B3E-B684-009193463064"}, "phone": null},
            }],
        })
    }

    fn read(operation: &Value, id: Option<&str>) -> Option<(String, String)> {
        let told = invitation(operation.as_object().unwrap(), id)?;
        assert_eq!(told.failed, None);
        assert_eq!(told.user_id.as_deref(), Some("278405a3-f568-4b3e-b684-009193463064"));
        Some((told.operation_id, told.participant_id?))
    }

    #[test]
    fn an_invitation_says_which_operation_it_is_and_who_joins() {
        let ids = Some(("o-1".to_owned(), "p-1".to_owned()));
        for id in [None, Some("o-1"), Some("participants"), Some("Participants")] {
            assert_eq!(read(&whole(), id), ids, "{id:?}");
        }
        let mut bare = whole();
        bare.as_object_mut().unwrap().retain(|name, _| name == "participants");
        assert_eq!(read(&bare, Some("o-1")), ids);
        assert_eq!(read(&bare, None), None);
        assert_eq!(read(&bare, Some("participants")), None);
    }

    #[test]
    fn what_nobody_can_tell_says_nothing() {
        assert_eq!(read(&whole(), Some("o-2")), None, "the path names another one");
        for (name, value) in [
            ("@odata.type", json!("#microsoft.graph.recordOperation")),
            ("participants", json!(null)),
            ("participants", json!([])),
            ("participants", json!([{"participantId": null}])),
            ("participants", json!([{"participantId": "p"}, {"participantId": "q"}])),
            ("participants", json!(["p-1"])),
        ] {
            let mut operation = whole();
            operation[name] = value.clone();
            assert_eq!(read(&operation, Some("o-1")), None, "{name}: {value}");
        }
    }

    #[test]
    fn that_it_failed_is_said_whatever_the_case_of_the_word_with_the_reason() {
        let told = |operation: &Value| {
            let told = invitation(operation.as_object().unwrap(), None)?;
            Some(told.failed.map(|why| (why.code, why.subcode, why.message)))
        };
        for (status, failed) in [
            ("failed", Some((None, None, None))),
            ("FAILED", Some((None, None, None))),
            ("Running", None),
            ("completed", None),
            ("new", None),
        ] {
            let mut operation = whole();
            operation["status"] = json!(status);
            assert_eq!(told(&operation), Some(failed), "{status}");
        }
        let mut operation = whole();
        operation["status"] = json!("failed");
        operation["resultInfo"] = json!({"code": 480, "subcode": 10076, "message": "Not there."});
        let why = (Some(480), Some(10076), Some("Not there.".to_owned()));
        assert_eq!(told(&operation), Some(Some(why.clone())));
        // It need not say who.
        operation["participants"] = json!([]);
        assert_eq!(told(&operation), Some(Some(why)));
        operation["id"] = json!(null);
        assert_eq!(told(&operation), None);
    }

    proptest! {
        #[test]
        fn whatever_the_members_are_the_ids_are_those_that_were_said(
            id in prop::option::of("[a-z0-9-]{1,8}"),
            path in prop::option::of("[a-z0-9-]{1,8}"),
            people in prop::collection::vec(prop::option::of("[a-z0-9-]{1,8}"), 0..3),
            status in "[a-zA-Z]{0,9}",
        ) {
            let participants: Vec<_> =
                people.iter().map(|person| json!({"participantId": person})).collect();
            let operation = json!({"id": id, "status": status, "participants": participants});
            let told = invitation(operation.as_object().unwrap(), path.as_deref());
            if let Some(told) = told {
                prop_assert!([&id, &path].contains(&&Some(told.operation_id)));
                if told.failed.is_none() || told.participant_id.is_some() {
                    prop_assert_eq!(people, [told.participant_id]);
                }
            }
        }
    }
}
