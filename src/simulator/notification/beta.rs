//! The form of the first beta, of 2018, as its pages showed it.

use serde_json::{Map, Value, json};

use super::{LANGUAGE, News, REGION, below, path};
use crate::simulator::calls::{Call, CallState, IdentitySet};

/// The entries that tell of `news`: an end takes two after the `terminating`.
pub(super) fn entries(call: &Call, news: News) -> Vec<Value> {
    match news {
        News::Made if call.state == CallState::Terminated => vec![gone(call)],
        News::Made => vec![entry("created", call, &made(call))],
        News::State(state) => vec![entry("updated", call, &moved(call, state))],
        News::Ended => {
            let mut last = moved(call, CallState::Terminated);
            // The pages know no word for an end that the app did not ask for; this one is from
            // traffic of later years.
            let by_app = call.result.as_ref().is_some_and(|reason| reason.by_app);
            let reason = if by_app { "AppInitiated" } else { "CallTerminated" };
            last.insert("terminationReason".into(), json!(reason));
            vec![entry("updated", call, &last), gone(call)]
        }
        News::Rejected => vec![gone(call)],
        News::Roster => vec![roster(call)],
        News::Invitation(place) => vec![json!({
            "changeType": "deleted",
            "resource": path("/app", call) + &below(call, news),
            "resourceData": call.invitations[place].entity(IdentitySet::plain),
        })],
    }
}

fn entry(change: &str, call: &Call, data: &Map<String, Value>) -> Value {
    json!({"changeType": change, "resource": path("/app", call), "resourceData": data})
}

/// The page of the incoming call says `state`, those of its end say `callState`.
fn made(call: &Call) -> Map<String, Value> {
    let mut data = members(call);
    data.insert("state".into(), json!(call.state.as_str()));
    data.insert("direction".into(), json!(call.direction.as_str()));
    data.insert("source".into(), somebody(&call.source));
    data.insert("targets".into(), call.targets.iter().map(somebody).collect());
    data.insert("requestedModalities".into(), json!(["audio", "video"]));
    if let Some(id) = &call.my_participant_id {
        data.insert("myParticipantId".into(), json!(id));
    }
    data
}

fn moved(call: &Call, state: CallState) -> Map<String, Value> {
    let mut data = members(call);
    data.insert("callState".into(), json!(state.as_str()));
    data
}

fn gone(call: &Call) -> Value {
    entry("deleted", call, &members(call))
}

fn roster(call: &Call) -> Value {
    let participants = call.participants.iter().map(|one| one.entity(&somebody(&one.identity)));
    json!({
        "changeType": "updated",
        "resource": path("/app", call) + "/participants",
        "resourceData": participants.collect::<Vec<_>>(),
    })
}

fn members(call: &Call) -> Map<String, Value> {
    let members = [
        ("@odata.type", "#microsoft.graph.call".to_owned()),
        ("@odata.id", path("/app", call)),
        ("@odata.etag", "W/\"5445\"".to_owned()),
    ];
    members.into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect()
}

fn somebody(who: &IdentitySet) -> Value {
    json!({"identity": who.plain(), "region": REGION, "languageId": LANGUAGE})
}
