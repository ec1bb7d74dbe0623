//! Each form beside the page that documents it.

use serde_json::{Value, json};

use super::*;
use crate::clock::Timestamp;
use crate::simulator::calls::{Calls, EndReason, Invite, NewCall, RosterChange};
use crate::simulator::fields::Fields;

const ID: &str = "57DAB8B1894C409AB240BD8BEAE78896";
const CALLBACK: &str = "http://127.0.0.1:9/api/calls";

fn call(extra: &Value) -> Calls {
    let mut body = json!({
        "id": ID,
        "state": "incoming",
        "source": {"user": {
            "displayName": "Test User",
            "id": "8A34A46B-3D17-4ADC-8DCE-DC4E7D572698",
        }},
        "targets": [{"application": {
            "displayName": "Test BOT",
            "id": "8A34A46B-3D17-4ADC-8DCE-DC4E7D572698",
        }}],
    });
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    let new =
        NewCall::read(Fields::read(body.to_string().as_bytes()).unwrap(), "t".to_owned()).unwrap();
    let mut calls = Calls::default();
    calls.add(new, Timestamp(0)).unwrap();
    calls
}

/// Whole bodies, one for each entry.
fn bodies(form: Form, calls: &Calls, news: News) -> Vec<Value> {
    let entries = form.entries(calls.get(ID).unwrap(), news, CALLBACK);
    entries.iter().map(|entry| form.body(&[entry])).collect()
}

fn beta(change: &str, more: &Value) -> Value {
    let mut data = json!({
        "@odata.type": "#microsoft.graph.call",
        "@odata.id": format!("/app/calls/{ID}"),
        "@odata.etag": "W/\"5445\"",
    });
    data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let resource = format!("/app/calls/{ID}");
    json!({"value": [{"changeType": change, "resource": resource, "resourceData": data}]})
}

/// Whether everything in `part` is in `whole`, too.
fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => part
            .iter()
            .all(|(name, part)| whole.get(name).is_some_and(|whole| contains(whole, part))),
        (Value::Array(whole), Value::Array(part)) => {
            whole.len() == part.len()
                && whole.iter().zip(part).all(|(whole, part)| contains(whole, part))
        }
        (whole, part) => whole == part,
    }
}

#[test]
fn the_first_betas_incoming_call_is_its_page() {
    let person = |kind: &str, name: &str| {
        let id = "8A34A46B-3D17-4ADC-8DCE-DC4E7D572698";
        json!({
            "identity": {kind: {"displayName": name, "id": id}},
            "region": "westus",
            "languageId": "en-US",
        })
    };
    let page = beta(
        "created",
        &json!({
            "state": "incoming",
            "direction": "incoming",
            "source": person("user", "Test User"),
            "targets": [person("application", "Test BOT")],
            "requestedModalities": ["audio", "video"],
        }),
    );
    assert_eq!(bodies(Form::Beta2018, &call(&json!({})), News::Made), [page]);
}

#[test]
fn the_first_betas_end_takes_three_steps() {
    let mut calls = call(&json!({}));
    calls.end(ID, EndReason::by_app()).unwrap();
    let steps = [News::State(CallState::Terminating), News::Ended];
    let told: Vec<_> =
        steps.into_iter().flat_map(|news| bodies(Form::Beta2018, &calls, news)).collect();
    let ended = json!({"callState": "terminated", "terminationReason": "AppInitiated"});
    let expected = [
        beta("updated", &json!({"callState": "terminating"})),
        beta("updated", &ended),
        beta("deleted", &json!({})),
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_rejected_call_is_gone_without_state_or_reason() {
    let mut calls = call(&json!({}));
    calls.reject(ID, Timestamp(0)).unwrap();
    assert_eq!(bodies(Form::Beta2018, &calls, News::Rejected), [beta("deleted", &json!({}))]);

    let told = bodies(Form::V1, &calls, News::Rejected);
    let data = &told[0]["value"][0]["resourceData"];
    assert_eq!((told.len(), &told[0]["value"][0]["changeType"]), (1, &json!("deleted")));
    assert_eq!((data.get("state"), data.get("resultInfo")), (None, None));
}

#[test]
fn an_end_in_v1_holds_its_page_and_what_traffic_adds() {
    let mut calls = call(&json!({"callChainId": "chain", "tenantId": "t"}));
    let page = |change: &str, data: Value| {
        json!({
            "@odata.type": "#microsoft.graph.commsNotifications",
            "value": [{
                "@odata.type": "#microsoft.graph.commsNotification",
                "changeType": change,
                "resource": format!("/app/calls/{ID}"),
                "resourceUrl": format!("/communications/calls/{ID}"),
                "resourceData": data,
            }],
        })
    };
    let reason = json!({"code": 200, "subcode": 5001, "message": "The conversation has ended."});
    let reason = Fields::read(reason.to_string().as_bytes()).unwrap();
    calls.end(ID, EndReason::read(reason).unwrap()).unwrap();

    let ending = bodies(Form::V1, &calls, News::State(CallState::Terminating));
    let state = json!({"@odata.type": "#microsoft.graph.call", "state": "terminating"});
    assert!(contains(&ending[0], &page("updated", state)), "{}", ending[0]);

    let ended = bodies(Form::V1, &calls, News::Ended);
    let data = json!({
        "@odata.type": "#microsoft.graph.call",
        "state": "terminated",
        "resultInfo": {
            "@odata.type": "#microsoft.graph.resultInfo",
            "code": 200,
            "subcode": 5001,
            "message": "The conversation has ended.",
        },
        "id": ID,
        "callChainId": "chain",
        "tenantId": "t",
        "callbackUri": CALLBACK,
    });
    assert!(contains(&ended[0], &page("deleted", data)), "{}", ended[0]);
    assert_eq!((ending.len(), ended.len()), (1, 1));
}

#[test]
fn a_new_call_in_v1_says_everything_that_was_given() {
    let calls = call(&json!({
        "subject": "Review",
        "threadId": "19:meeting_x@thread.v2",
        "incomingContext": {"sourceParticipantId": "p", "observedParticipantId": "p"},
        "callRoutes": [{"routingType": "forwarded", "final": {"phone": {"id": "+4930123"}}}],
        "direction": "outgoing",
        "myParticipantId": "us",
    }));
    let told = bodies(Form::V1, &calls, News::Made);
    let expected = json!({
        "changeType": "created",
        "resourceData": {
            "state": "incoming",
            "direction": "outgoing",
            "subject": "Review",
            "myParticipantId": "us",
            "chatInfo": {"threadId": "19:meeting_x@thread.v2"},
            "incomingContext": {"sourceParticipantId": "p", "observedParticipantId": "p"},
            "callRoutes": [{"routingType": "forwarded", "final": {"phone": {"id": "+4930123"}}}],
            "source": {
                "@odata.type": "#microsoft.graph.participantInfo",
                "identity": {"user": {"displayName": "Test User"}},
            },
            "targets": [{"identity": {"application": {"displayName": "Test BOT"}}}],
        },
    });
    assert!(contains(&told[0]["value"][0], &expected), "{}", told[0]);
    let source = &told[0]["value"][0]["resourceData"]["source"]["identity"];
    assert_eq!(source.get("phone"), None, "a kind that is not used is absent");
    let told = bodies(Form::Beta2018, &calls, News::Made);
    assert_eq!(told[0]["value"][0]["resourceData"]["myParticipantId"], "us");
}

#[test]
fn a_roster_is_an_array_below_its_call() {
    let calls = call(&json!({"participants": [{"id": "p", "identity": "+4930123"}]}));
    for (form, member, resource) in [
        (Form::V1, "resourceUrl", format!("/communications/calls/{ID}/participants")),
        (Form::V1, "resource", format!("/app/calls/{ID}/participants")),
        (Form::Beta2018, "resource", format!("/app/calls/{ID}/participants")),
    ] {
        let told = bodies(form, &calls, News::Roster);
        let expected = json!({
            "changeType": "updated",
            member: resource,
            "resourceData": [{
                "@odata.type": "#microsoft.graph.participant",
                "id": "p",
                "info": {"identity": {"phone": {"id": "+4930123"}}},
            }],
        });
        assert!(contains(&told[0]["value"][0], &expected), "{}", told[0]);
    }
}

#[test]
fn everybody_has_the_number_of_the_change_with_which_they_joined() {
    let mut calls = call(&json!({"participants": [{"id": "p", "identity": "1"}]}));
    let numbers = |calls: &Calls| {
        let data = bodies(Form::V1, calls, News::Roster)[0]["value"][0]["resourceData"].clone();
        let list = data.as_array().unwrap().clone();
        list.into_iter()
            .map(|mut one| (one["id"].take(), one["rosterSequenceNumber"].take()))
            .collect::<Vec<_>>()
    };
    let joins = |id: &str| {
        let body = json!({"add": [{"id": id, "identity": "2"}]}).to_string();
        RosterChange::read(Fields::read(body.as_bytes()).unwrap()).unwrap()
    };
    calls.change_roster(ID, joins("q")).unwrap();
    assert_eq!(numbers(&calls), [(json!("p"), json!(1)), (json!("q"), json!(2))]);
    calls.change_roster(ID, RosterChange::removal("q")).unwrap();
    calls.change_roster(ID, joins("r")).unwrap();
    assert_eq!(numbers(&calls), [(json!("p"), json!(1)), (json!("r"), json!(4))]);
}

#[test]
fn an_id_is_one_segment_of_a_path() {
    let mut calls = Calls::default();
    let body = json!({"id": "a/b c?", "source": "8856", "targets": "8857"}).to_string();
    let new = NewCall::read(Fields::read(body.as_bytes()).unwrap(), "t".to_owned()).unwrap();
    let call = calls.add(new, Timestamp(0)).unwrap();
    assert_eq!(path("/app", call), "/app/calls/a%2Fb%20c%3F");
}

#[test]
fn the_end_of_an_invitation_is_told_on_its_operation() {
    let mut calls = call(&json!({"inviteMs": 0}));
    calls.answer(ID).unwrap();
    let body = json!({"participants": [{"identity": {"phone": {"id": "+4930123"}}}]});
    let invite = Invite::read(Fields::read(body.to_string().as_bytes()).unwrap()).unwrap();
    calls.invite(ID, invite, Timestamp(0)).unwrap();
    assert!(calls.settle(Timestamp(0)).unwrap().joined);
    let operation = calls.get(ID).unwrap().invitations[0].id.clone();
    for (form, member, prefix) in
        [(Form::V1, "resourceUrl", "/communications"), (Form::Beta2018, "resource", "/app")]
    {
        let bodies = bodies(form, &calls, News::Invitation(0));
        let entry = &bodies[0]["value"][0];
        assert_eq!(entry["changeType"], "deleted");
        assert_eq!(entry[member], format!("{prefix}/calls/{ID}/operations/{operation}"));
        let data = &entry["resourceData"];
        assert_eq!(data["@odata.type"], "#microsoft.graph.inviteParticipantsOperation");
        assert_eq!(data["status"], "completed");
        let joined = &calls.get(ID).unwrap().participants[0];
        assert_eq!(data["participants"][0]["participantId"], joined.id);
    }
}
