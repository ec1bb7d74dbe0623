//! Who takes part in a call: identities as a tester gives them and as Graph shows them.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::simulator::fields::BadField;

/// The members of a communications identity set; a GET sends those that are not used as `null`.
const KINDS: [&str; 11] = [
    "application",
    "applicationInstance",
    "assertedIdentity",
    "azureCommunicationServicesUser",
    "device",
    "encrypted",
    "endpointType",
    "guest",
    "onPremises",
    "phone",
    "user",
];

/// One member of a call's roster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::simulator) struct Participant {
    pub(in crate::simulator) id: String,
    pub(in crate::simulator) identity: IdentitySet,
    /// The change of the roster with which it joined.
    pub(in crate::simulator) sequence: u64,
}

impl Participant {
    /// Reads what [`IdentitySet::read`] reads; an object with a member `identity` may also say its
    /// `id` in the roster, which is made up otherwise.
    fn read(field: &str, mut value: Value) -> Result<Self, BadField> {
        let Some(identity) = value.get_mut("identity").map(Value::take) else {
            let id = Uuid::new_v4().to_string();
            return Ok(Self { id, identity: IdentitySet::read(field, value)?, sequence: 1 });
        };
        let id = match value["id"].take() {
            Value::Null => Uuid::new_v4().to_string(),
            Value::String(id) if !id.is_empty() => id,
            _ => return Err(BadField::new(field, "has an id that is not a string")),
        };
        Ok(Self { id, identity: IdentitySet::read(field, identity)?, sequence: 1 })
    }

    /// Reads a list of different participants; a single one is a list of one.
    pub(in crate::simulator) fn read_list(
        field: &str,
        value: Value,
    ) -> Result<Vec<Self>, BadField> {
        let list = match value {
            Value::Array(list) => list,
            one => vec![one],
        };
        let mut read: Vec<Self> = Vec::with_capacity(list.len());
        for one in list {
            let one = Self::read(field, one)?;
            if read.iter().any(|other| other.id == one.id) {
                return Err(BadField::new(field, format!("names the id {} twice", one.id)));
            }
            read.push(one);
        }
        Ok(read)
    }

    /// The form in which the control API shows it, and takes it.
    pub(in crate::simulator) fn listing(&self) -> Value {
        json!({"id": self.id, "identity": self.identity.0})
    }

    /// The `participant` entity around `info`.
    pub(in crate::simulator) fn entity(&self, info: &Value) -> Value {
        json!({
            "@odata.type": "#microsoft.graph.participant",
            "id": self.id,
            "info": info,
            "isInLobby": false,
            "isMuted": false,
            "mediaStreams": [{
                "mediaType": "audio",
                "sourceId": "1",
                "direction": "sendReceive",
                "serverMuted": false,
            }],
        })
    }
}

/// Who somebody is: the members of Graph's identity set that are not null.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::simulator) struct IdentitySet(pub(super) Map<String, Value>);

impl IdentitySet {
    /// Reads a plain string (a phone number if it looks like one, otherwise a user id), an
    /// identity set, or an object with an identity set as its member `identity`.
    pub(super) fn read(field: &str, value: Value) -> Result<Self, BadField> {
        let bad = || {
            BadField::new(
                field,
                "must be a phone number, a user id, or an identity such as \
                 {\"phone\": {\"id\": \"+4930123456\"}}",
            )
        };
        let mut members = match value {
            Value::String(text) if !text.trim().is_empty() => {
                let kind = if looks_like_a_number(&text) { "phone" } else { "user" };
                Map::from_iter([(kind.to_owned(), json!({"id": text}))])
            }
            Value::Object(mut members) => match members.remove("identity") {
                Some(Value::Object(identity)) => identity,
                Some(_) => return Err(bad()),
                None => members,
            },
            _ => return Err(bad()),
        };
        members.retain(|_, identity| !identity.is_null());
        let named = |identity: &Value| identity["id"].as_str().is_some_and(|id| !id.is_empty());
        let kinds = members.iter().filter(|(name, _)| !name.starts_with('@')).map(|(_, kind)| kind);
        if kinds.clone().count() == 0 || !kinds.clone().all(named) {
            return Err(bad());
        }
        Ok(Self(members))
    }

    /// Reads a list that is not empty; a single identity is a list of one.
    pub(super) fn read_list(field: &str, value: Value) -> Result<Vec<Self>, BadField> {
        match value {
            Value::Array(list) if list.is_empty() => Err(BadField::new(field, "must not be empty")),
            Value::Array(list) => {
                list.into_iter().map(|identity| Self::read(field, identity)).collect()
            }
            one => Ok(vec![Self::read(field, one)?]),
        }
    }

    /// As a GET shows it: typed, and every member that is not used is `null`.
    pub(in crate::simulator) fn with_nulls(&self) -> Value {
        let mut set = Map::new();
        set.insert("@odata.type".into(), json!("#microsoft.graph.communicationsIdentitySet"));
        for kind in KINDS {
            set.insert(kind.into(), Value::Null);
        }
        for (kind, given) in &self.0 {
            let identity = json!({"@odata.type": "#microsoft.graph.identity", "displayName": null});
            set.insert(kind.clone(), over(identity, given));
        }
        Value::Object(set)
    }

    /// As a notification of v1.0 shows it: typed, and nothing for what is not used.
    pub(in crate::simulator) fn typed(&self) -> Value {
        let mut set = Map::new();
        set.insert("@odata.type".into(), json!("#microsoft.graph.identitySet"));
        for (kind, given) in &self.0 {
            set.insert(
                kind.clone(),
                over(json!({"@odata.type": "#microsoft.graph.identity"}), given),
            );
        }
        Value::Object(set)
    }

    /// As the first beta's notifications show it, and the control API: what was given.
    pub(in crate::simulator) fn plain(&self) -> Value {
        Value::Object(self.0.clone())
    }
}

/// `given` with the members of `base` that it lacks.
fn over(mut base: Value, given: &Value) -> Value {
    match (base.as_object_mut(), given.as_object()) {
        (Some(members), Some(given)) => {
            members.extend(given.clone());
            base
        }
        _ => given.clone(),
    }
}

/// Digits with the usual punctuation, and no more digits than the longest number has.
fn looks_like_a_number(text: &str) -> bool {
    let digits = text.chars().filter(char::is_ascii_digit).count();
    (2..=20).contains(&digits) && text.chars().all(|c| c.is_ascii_digit() || "+ ()-.#*".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_participant_says_its_id_beside_its_identity() {
        let phone = json!({"phone": {"id": "+4930123"}});
        for given in
            [json!({"id": "p", "identity": phone}), json!({"id": "p", "identity": "+4930123"})]
        {
            let read = Participant::read("add", given.clone()).unwrap();
            assert_eq!(read.listing(), json!({"id": "p", "identity": phone}), "{given}");
        }
        let made_up = Participant::read("add", json!("+4930123")).unwrap();
        assert_eq!(made_up.identity.plain(), phone);
        assert_ne!(made_up.id, Participant::read("add", phone).unwrap().id);
    }

    #[test]
    fn a_bad_roster_is_refused_by_name() {
        for given in [
            json!([7]),
            json!({"id": 7, "identity": "8856"}),
            json!({"id": "", "identity": "8856"}),
            json!([{"id": "p", "identity": "1234"}, {"id": "p", "identity": "8856"}]),
        ] {
            let error = Participant::read_list("add", given.clone()).unwrap_err().to_string();
            assert!(error.starts_with("add: "), "{given}: {error}");
        }
    }
}
