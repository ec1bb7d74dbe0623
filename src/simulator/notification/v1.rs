//! The form of today: `commsNotification`, as real traffic carries it.

use serde_json::{Map, Value, json};

use super::{LANGUAGE, News, REGION, below, path};
use crate::simulator::calls::{Call, CallState, IdentitySet};

/// The entry that tells of `news`.
pub(super) fn entry(call: &Call, news: News, callback: &str) -> Value {
    let (change, data) = match news {
        News::Made if call.state == CallState::Terminated => ("deleted", whole(call, callback)),
        News::Made => ("created", whole(call, callback)),
        News::State(state) => ("updated", moved(call, state, callback)),
        News::Ended => ("deleted", ended(call, callback)),
        News::Rejected => ("deleted", rejected(call)),
        News::Roster => ("updated", roster(call)),
        // An operation that is over is deleted, in the service's own words; the call goes on.
        News::Invitation(place) => ("deleted", call.invitations[place].entity(IdentitySet::typed)),
    };
    let below = below(call, news);
    json!({
        "@odata.type": "#microsoft.graph.commsNotification",
        "changeType": change,
        "resource": path("/app", call) + &below,
        "resourceUrl": path("/communications", call) + &below,
        "resourceData": data,
    })
}

/// Everything that is known of a call.
fn whole(call: &Call, callback: &str) -> Value {
    let mut data = members(call, callback);
    data.insert("state".into(), json!(call.state.as_str()));
    data.insert("direction".into(), json!(call.direction.as_str()));
    data.insert("source".into(), somebody("participantInfo", &call.source));
    let targets = call.targets.iter().map(|one| somebody("invitationParticipantInfo", one));
    data.insert("targets".into(), targets.collect());
    data.insert("requestedModalities".into(), json!(["audio"]));
    if !call.routes.is_empty() {
        data.insert("callRoutes".into(), json!(call.routes));
    }
    if let Some(context) = &call.context {
        data.insert("incomingContext".into(), context.clone());
    }
    if let Some(subject) = &call.subject {
        data.insert("subject".into(), json!(subject));
    }
    if let Some(thread_id) = &call.thread_id {
        let chat = json!({
            "@odata.type": "#microsoft.graph.chatInfo",
            "threadId": thread_id,
            "messageId": "0",
        });
        data.insert("chatInfo".into(), chat);
    }
    Value::Object(data)
}

/// The new state, and what ties it to its call; the rest was told before.
fn moved(call: &Call, state: CallState, callback: &str) -> Value {
    let mut data = members(call, callback);
    data.insert("state".into(), json!(state.as_str()));
    Value::Object(data)
}

/// The end. Real traffic has numbers where the documents have strings.
fn ended(call: &Call, callback: &str) -> Value {
    let mut data = members(call, callback);
    data.insert("state".into(), json!(CallState::Terminated.as_str()));
    if let Some(reason) = &call.result {
        let result = json!({
            "@odata.type": "#microsoft.graph.resultInfo",
            "code": reason.code,
            "subcode": reason.subcode,
            "message": reason.message,
        });
        data.insert("resultInfo".into(), result);
        if !reason.by_app {
            data.insert("terminationReason".into(), json!("CallTerminated"));
        }
    }
    Value::Object(data)
}

/// The end of a call that was refused: neither state nor reason.
fn rejected(call: &Call) -> Value {
    json!({
        "@odata.type": "#microsoft.graph.call",
        "@odata.id": path("/communications", call),
        "@odata.etag": "W/\"5445\"",
        "id": call.id,
    })
}

/// Everybody who is in the call now; who has left is simply missing.
fn roster(call: &Call) -> Value {
    let participants = call.participants.iter().map(|one| {
        let mut entity = one.entity(&somebody("participantInfo", &one.identity));
        entity["rosterSequenceNumber"] = json!(one.sequence);
        entity
    });
    participants.collect()
}

/// What every state of a call carries.
fn members(call: &Call, callback: &str) -> Map<String, Value> {
    let members = [
        ("@odata.type", "#microsoft.graph.call"),
        ("id", call.id.as_str()),
        ("callChainId", call.chain_id.as_str()),
        ("tenantId", call.tenant_id.as_str()),
        ("callbackUri", callback),
    ];
    let mine = call.my_participant_id.as_deref().map(|id| ("myParticipantId", id));
    let members = members.into_iter().chain(mine);
    members.map(|(name, value)| (name.to_owned(), json!(value))).collect()
}

fn somebody(kind: &str, who: &IdentitySet) -> Value {
    json!({
        "@odata.type": format!("#microsoft.graph.{kind}"),
        "identity": who.typed(),
        "region": REGION,
        "languageId": LANGUAGE,
    })
}
