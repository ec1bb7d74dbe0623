//! Who is in a call, as far as a notification says.
//!
//! A roster that was not understood to the end is never taken for the whole one: those that are
//! missing from it would be told to have left.

use std::collections::HashMap;

use serde_json::Value;

use crate::model::change::{Participant, RosterChange};
use crate::model::graph_call::identity::is_set;
use crate::model::graph_call::json::{
    Object, elements, identifier, member, one_or_many, type_name,
};
use crate::model::graph_call::participant::{counted, participant};

/// What is said at `/participants`: an array, a collection, a delta, or one participant.
/// `is_whole` when a plain list is everybody.
pub(super) fn at_roster(data: &Value, is_whole: bool) -> Option<RosterChange> {
    match data {
        Value::Array(people) => list(people, None, is_whole),
        Value::Object(object) => in_object(object, is_whole).or_else(|| {
            let people = member(object, "value").and_then(Value::as_array);
            match people {
                Some(people) => list(people, None, is_whole),
                None => one(object, None),
            }
        }),
        _ => None,
    }
}

/// What an object says in `deltaParticipants`, `participants` and `participant`; a delta is also an
/// object that has a `sequenceNumber` beside its `participants`.
pub(super) fn in_object(object: &Object, is_whole: bool) -> Option<RosterChange> {
    if let Some(delta) = member(object, "deltaParticipants") {
        return match delta {
            Value::Object(inside) => {
                list(elements(inside, "participants"), counted(inside, "sequenceNumber"), false)
            }
            other => list(one_or_many(other), counted(object, "sequenceNumber"), false),
        };
    }
    if let Some(people) = member(object, "participants").and_then(Value::as_array) {
        let sequence = counted(object, "sequenceNumber");
        let is_delta = sequence.is_some() || type_name(object) == "deltaparticipants";
        return list(people, sequence, is_whole && !is_delta);
    }
    one(member(object, "participant")?.as_object()?, None)
}

/// One participant, whose id may stand in the path only.
pub(super) fn one(object: &Object, id: Option<&str>) -> Option<RosterChange> {
    let participant = participant(object, id)?;
    Some(RosterChange::Delta { sequence: None, participants: vec![participant] })
}

/// The participants in a list, `is_whole` when they are everybody. An empty one says nothing: Graph
/// also shows it for calls that somebody is in.
pub(super) fn list(
    people: &[Value],
    sequence: Option<i64>,
    is_whole: bool,
) -> Option<RosterChange> {
    let mut positions = HashMap::with_capacity(people.len());
    let mut participants: Vec<Participant> = Vec::with_capacity(people.len());
    let mut is_understood = true;
    for person in people {
        let person = person.as_object();
        let Some(participant) = person.and_then(|person| participant(person, None)) else {
            is_understood = false;
            continue;
        };
        // Of somebody who is there twice, the last one counts.
        if let Some(at) = positions.get(&participant.participant_id) {
            participants[*at] = participant;
        } else {
            positions.insert(participant.participant_id.clone(), participants.len());
            participants.push(participant);
        }
    }
    if participants.is_empty() {
        None
    } else if is_whole && is_understood {
        Some(RosterChange::Whole(participants))
    } else {
        Some(RosterChange::Delta { sequence, participants })
    }
}

/// Whether an object is a participant, by its members.
pub(super) fn is_participant(object: &Object) -> bool {
    let is_named = |info: &Object| member(info, "identity").is_some() || is_set(info);
    let has = |name: &str| member(object, name).is_some();
    member(object, "info").and_then(Value::as_object).is_some_and(is_named)
        || ["removedState", "rosterSequenceNumber", "isInLobby"].into_iter().any(has)
}

/// A `participantLeftNotification`.
pub(super) fn left(object: &Object) -> Option<RosterChange> {
    identifier(object, "participantId").map(RosterChange::Left)
}
