//! A call as Graph shows it to who asks (`GET …/calls/{id}`), read tolerantly.
//!
//! What it says is read as in a notification, so that nobody is known under two spellings. Whatever
//! is not understood is left out; only what is no call at all is none.

use serde_json::Value;

use crate::id::{GraphCallId, canonical_guid};
use crate::model::change::CallChange;
use crate::model::graph_call;
use crate::model::graph_call::json::{identifier, member, parse, text};

/// What the body says of the call that was asked for; none when it is another, or no call of Graph's:
/// a proxy may answer anything with success.
pub(in crate::graph) fn read(body: &str, asked: &GraphCallId) -> Option<CallChange> {
    let Value::Object(call) = parse(body.as_bytes())? else { return None };
    let id = identifier(&call, "id")?;
    let is_same =
        id == asked.0 || canonical_guid(&id).is_some_and(|id| Some(id) == canonical_guid(&asked.0));
    if !is_same {
        return None;
    }
    // A word that is new to this program says as well that there is a call.
    text(member(&call, "state")?)?;
    let mut change = CallChange::of(asked.clone());
    graph_call::read(&call, &mut change);
    Some(change)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::model::call::{CallState, Direction};

    const ID: &str = "57dab8b1-894c-409a-b240-bd8beae78896";

    fn asked() -> GraphCallId {
        GraphCallId(ID.to_owned())
    }

    fn whole() -> Value {
        json!({
            "@odata.context": "https://graph.microsoft.com/v1.0/$metadata#communications/calls/$entity",
            "id": ID, "state": "Established", "direction": "incoming", "subject": null,
            "callbackUri": "https://bot.contoso.com/callback", "callChainId": "chain",
            "source": {"identity": {"user": null, "phone": {"id": "+4930123456", "displayName": "A"}}},
            "targets": [{"identity": {"application": {"id": "2891555a-92ff-42e6-80fa-6e1300c6b5c6"}}}],
            "callRoutes": [{"routingType": "forwarded", "original": {"phone": {"id": "8856"}}}],
            "chatInfo": {"threadId": "19:meeting_x@thread.v2", "messageId": "0"},
            "meetingInfo": {"@odata.type": "#x", "joinMeetingId": "123"},
            "incomingContext": {"observedParticipantId": "observed"},
            "resultInfo": null, "unknownMember": [1, {"state": "terminated"}]
        })
    }

    #[test]
    fn a_call_tells_what_a_notification_would_have_told() {
        let change = read(&whole().to_string(), &asked()).unwrap();
        assert_eq!(change.graph_id.0, ID);
        assert_eq!(change.state, Some(CallState::Established));
        assert_eq!(change.direction, Some(Direction::Incoming));
        assert_eq!(change.chain_id.as_deref(), Some("chain"));
        assert_eq!(change.thread_id.as_deref(), Some("19:meeting_x@thread.v2"));
        assert_eq!(change.join_meeting_id.as_deref(), Some("123"));
        assert_eq!(change.observed.as_deref(), Some("observed"));
        assert_eq!((change.subject, change.end, change.roster), (None, None, None));
        assert!(!change.created && !change.deleted);
        let parties: Vec<_> = change
            .parties
            .iter()
            .map(|party| (party.role, party.kind, party.normalised.as_str()))
            .collect();
        assert_eq!(
            parties,
            [
                ("source", "number", "+4930123456"),
                ("target", "application", "2891555a-92ff-42e6-80fa-6e1300c6b5c6"),
                ("dialled", "number", "8856")
            ]
        );
    }

    #[test]
    fn the_reason_of_an_end_has_its_numbers_as_numbers_or_texts() {
        for (code, subcode) in [
            (json!(200), json!(7000)),
            (json!("200"), json!("7000")),
            (json!(200.0), json!("7000.0")),
        ] {
            let mut call = whole();
            call["state"] = json!("terminated");
            call["resultInfo"] = json!({"code": code, "subcode": subcode, "message": "Ended."});
            let change = read(&call.to_string(), &asked()).unwrap();
            let end = change.end.unwrap();
            assert_eq!((end.code, end.subcode), (Some(200), Some(7000)));
            assert_eq!(end.message.as_deref(), Some("Ended."));
            assert_eq!(change.state, Some(CallState::Terminated));

            for state in ["hold", "terminating"] {
                call["state"] = json!(state);
                assert_eq!(read(&call.to_string(), &asked()).unwrap().end, None, "{state}");
            }
        }
    }

    #[test]
    fn everybody_has_the_spelling_that_a_notification_gives_them() {
        let mut call = whole();
        let user = "8A34A46B-3D17-4ADC-8DCE-DC4E7D572698";
        call["source"] = json!({"identity": {
            "assertedIdentity": {"id": "4:+49 30 123456", "displayName": "Ann"},
            "user": {"id": format!("8:orgid:{user}")},
        }});
        call["callRoutes"] = json!([{"final": {"phone": {"id": "tel:8857"}}}]);
        let targets = (0..200).map(|id| json!({"identity": {"phone": {"id": 1000 + id}}}));
        call["targets"] = targets.collect();
        let change = read(&call.to_string(), &asked()).unwrap();
        assert_eq!(change.parties.len(), 203);
        let shown: Vec<_> = change.parties[..2]
            .iter()
            .map(|one| (one.normalised.as_str(), one.display_name.as_deref()))
            .collect();
        let user = user.to_lowercase();
        assert_eq!(shown, [("+4930123456", Some("Ann")), (user.as_str(), Some("Ann"))]);
        assert_eq!(change.parties[202].normalised, "8857");
    }

    #[test]
    fn what_is_not_the_call_is_none() {
        let other = json!({"id": "other", "state": "established"}).to_string();
        let no_state = json!({"id": ID, "error": {}}).to_string();
        let no_id = json!({"state": "established"}).to_string();
        let cut = &whole().to_string()[..200];
        let list = json!([whole()]).to_string();
        for body in ["", "null", "<html>ok</html>", &other, &no_state, &no_id, cut, &list] {
            assert_eq!(read(body, &asked()), None, "{body}");
        }
        let upper = json!({"ID": ID.to_uppercase(), "State": "notYetInvented"}).to_string();
        let change = read(&upper, &asked()).unwrap();
        assert_eq!((change.graph_id.0.as_str(), change.state), (ID, None));
    }

    proptest! {
        #[test]
        fn a_member_of_any_kind_never_hides_that_there_is_a_call(
            name in prop::sample::select(vec![
                "direction", "callChainId", "source", "targets", "callRoutes", "chatInfo",
                "meetingInfo", "incomingContext", "resultInfo", "terminationReason", "subject",
            ]),
            value in prop::sample::select(vec![
                json!(null), json!(7), json!("x"), json!([]), json!([null, 1, "x", [], {}]),
                json!({}), json!({"identity": 1}), json!({"identity": {"phone": {"id": [1]}}}),
                json!([{"identity": {"phone": {"id": ""}}}]), json!({"code": "x", "subcode": 1.5}),
                json!("a\nb"), json!("x".repeat(2000)),
            ]),
        ) {
            let mut call = whole();
            call[name] = value;
            let change = read(&call.to_string(), &asked()).unwrap();
            prop_assert_eq!(change.state, Some(CallState::Established));
            prop_assert!(change.parties.iter().all(|party| !party.normalised.is_empty()));
        }

        #[test]
        fn arbitrary_text_is_no_call(body in ".{0,200}") {
            prop_assert_eq!(read(&body, &asked()), None);
        }
    }
}
