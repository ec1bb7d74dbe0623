//! What Graph shows: calls, rosters and operations as its documents have them.

use hyper::StatusCode;
use serde_json::{Value, json};

use super::resource::Resource;
use crate::simulator::answer::Answer;
use crate::simulator::calls::{Call, IdentitySet, Invitation, Participant};

/// The roster as a collection.
pub(super) fn roster(call: &Call, resource: &Resource<'_>) -> Value {
    let Resource { version, collection, .. } = resource;
    let participants = call.participants.iter().map(participant);
    json!({
        "@odata.context": format!(
            "https://graph.microsoft.com/{version}/$metadata#{collection}('{}')/participants",
            call.id
        ),
        "value": participants.collect::<Vec<_>>(),
    })
}

/// The `call` entity as the documentation shows it: members that are not set are `null`.
pub(super) fn call_resource(call: &Call, resource: &Resource<'_>) -> Value {
    let Resource { version, collection, .. } = resource;
    let context = format!("https://graph.microsoft.com/{version}/$metadata#{collection}/$entity");
    let chat = call.thread_id.as_ref().map(|thread_id| {
        json!({
            "@odata.type": "#microsoft.graph.chatInfo",
            "threadId": thread_id,
            "messageId": "0",
            "replyChainMessageId": null,
        })
    });
    let targets = call.targets.iter().map(|target| {
        let mut target = participant_info("#microsoft.graph.invitationParticipantInfo", target);
        target["replacesCallId"] = Value::Null;
        target
    });
    json!({
        "@odata.context": context,
        "@odata.type": "#microsoft.graph.call",
        "id": call.id,
        "state": call.state.as_str(),
        "direction": call.direction.as_str(),
        "subject": call.subject,
        "callbackUri": "https://bot.contoso.com/api/calls",
        "callChainId": call.chain_id,
        "tenantId": call.tenant_id,
        "source": participant_info("#microsoft.graph.participantInfo", &call.source),
        "targets": targets.collect::<Vec<_>>(),
        "callRoutes": call.routes,
        "chatInfo": chat,
        "meetingInfo": null,
        "requestedModalities": ["audio"],
        "mediaConfig": null,
        "mediaState": null,
        "myParticipantId": call.my_participant_id,
        "resultInfo": null,
        "toneInfo": null,
        "transcription": null,
        "incomingContext": call.context,
        "callOptions": null,
    })
}

/// One member of a roster.
pub(super) fn participant(one: &Participant) -> Value {
    one.entity(&participant_info("#microsoft.graph.participantInfo", &one.identity))
}

/// The operation that an invitation is.
pub(super) fn operation(invitation: &Invitation, resource: &Resource<'_>) -> Value {
    let Resource { version, collection, call_id, .. } = resource;
    let mut entity = invitation.entity(IdentitySet::with_nulls);
    entity["@odata.context"] = json!(format!(
        "https://graph.microsoft.com/{version}/$metadata#{collection}('{call_id}')/operations/$entity"
    ));
    entity
}

fn participant_info(odata_type: &str, who: &IdentitySet) -> Value {
    json!({
        "@odata.type": odata_type,
        "endpointType": "default",
        "identity": who.with_nulls(),
        "languageId": null,
        "region": null,
    })
}

/// A body as Graph labels it.
pub(super) fn graph_json(status: StatusCode, body: &Value) -> Answer {
    const MEDIA_TYPE: &str = "application/json;odata.metadata=minimal;odata.streaming=true;\
                              IEEE754Compatible=false;charset=utf-8";
    Answer::text(status, MEDIA_TYPE, body.to_string())
}
