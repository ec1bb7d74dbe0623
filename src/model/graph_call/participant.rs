//! One participant of a call, told or asked for.

use serde_json::Value;

use super::identity::Identities;
use super::json::{Object, identifier, integer, member};
use crate::model::change::Participant;

/// What an object says of a participant, whose id may stand elsewhere: then it is `id`. None when
/// there is no id.
pub(crate) fn participant(object: &Object, id: Option<&str>) -> Option<Participant> {
    let info = member(object, "info").and_then(Value::as_object);
    let info_id = || identifier(info?, "participantId");
    let own_id = || identifier(object, "id").or_else(info_id);
    let participant_id = id.map(str::to_owned).or_else(own_id)?;
    let identities = Identities::of(info.unwrap_or(object));
    let user = identities.user();
    let compared = identities.number().or(user);
    Some(Participant {
        participant_id,
        raw: compared.map(|identity| identity.raw.clone()),
        normalised: compared.map(|identity| identity.normalised.clone()),
        user_id: user.map(|identity| identity.normalised.clone()),
        display_name: identities.display_name.clone(),
        app_id: identities.app_id(),
        removed: member(object, "removedState").is_some_and(|state| *state != Value::Bool(false)),
        sequence: counted(object, "rosterSequenceNumber"),
    })
}

/// Graph counts changes up from one; what is below says nothing.
pub(crate) fn counted(object: &Object, name: &str) -> Option<i64> {
    integer(object, name).filter(|number| *number > 0)
}
