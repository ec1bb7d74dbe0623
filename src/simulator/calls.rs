//! The calls that the simulator holds, and how they move on.
//!
//! A call is never forgotten, but Graph's side shows only those that have not ended. Ids are
//! opaque and compared to the letter, as in Graph.

use std::collections::HashMap;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::fields::{BadField, Fields};
use crate::clock::Timestamp;

/// The tenant of a call that was made without one.
const DEFAULT_TENANT: &str = "aaaabbbb-0000-cccc-1111-dddd2222eeee";

/// All calls, in the order in which they were made.
#[derive(Debug, Default)]
pub(super) struct Calls {
    calls: Vec<Call>,
    by_id: HashMap<String, usize>,
}

/// One leg of a call, seen from the app that owns it.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) id: String,
    pub(super) state: CallState,
    pub(super) source: IdentitySet,
    pub(super) targets: Vec<IdentitySet>,
    pub(super) chain_id: String,
    pub(super) thread_id: Option<String>,
    pub(super) tenant_id: String,
    pub(super) participants: Vec<IdentitySet>,
    pub(super) made_at: Timestamp,
    /// Why it ended; none while it has not, or when it was made as ended.
    pub(super) result: Option<EndReason>,
}

/// Where a call stands, in the words of Graph v1.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallState {
    Incoming,
    Establishing,
    Established,
    Hold,
    Transferring,
    TransferAccepted,
    Redirecting,
    Terminating,
    Terminated,
}

/// `resultInfo` of a call that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EndReason {
    pub(super) code: u16,
    pub(super) subcode: u32,
    pub(super) message: &'static str,
}

impl EndReason {
    /// The app hung up.
    pub(super) const BY_APP: Self =
        Self { code: 200, subcode: 7000, message: "The call was ended by the application." };
    /// Somebody else did.
    pub(super) const BY_OTHER: Self =
        Self { code: 200, subcode: 4521, message: "The other party left the call." };
}

/// A request that does not fit the state of the calls; nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CallError {
    #[error("There is no such call.")]
    Unknown,
    #[error("There is already a call with this id.")]
    Exists,
    #[error("Only a call that is incoming or establishing can be answered.")]
    NotRinging,
    #[error("The call has ended.")]
    Ended,
}

impl Calls {
    /// Keeps a new call.
    pub(super) fn add(&mut self, new: NewCall, now: Timestamp) -> Result<&Call, CallError> {
        let NewCall(mut call) = new;
        call.made_at = now;
        if self.by_id.contains_key(&call.id) {
            return Err(CallError::Exists);
        }
        let index = self.calls.len();
        self.by_id.insert(call.id.clone(), index);
        self.calls.push(call);
        Ok(&self.calls[index])
    }

    /// Every call, ended or not.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Call> {
        self.calls.iter()
    }

    /// The call with this id, ended or not.
    pub(super) fn get(&self, id: &str) -> Result<&Call, CallError> {
        self.by_id.get(id).map(|&index| &self.calls[index]).ok_or(CallError::Unknown)
    }

    /// The other side, or the app, picks up.
    pub(super) fn answer(&mut self, id: &str) -> Result<&Call, CallError> {
        let call = self.get_mut(id)?;
        match call.state {
            CallState::Incoming | CallState::Establishing => call.state = CallState::Established,
            _ => return Err(CallError::NotRinging),
        }
        Ok(call)
    }

    /// Ends a call that has not ended.
    pub(super) fn end(&mut self, id: &str, reason: EndReason) -> Result<&Call, CallError> {
        let call = self.get_mut(id)?;
        if call.state == CallState::Terminated {
            return Err(CallError::Ended);
        }
        call.state = CallState::Terminated;
        call.result = Some(reason);
        Ok(call)
    }

    fn get_mut(&mut self, id: &str) -> Result<&mut Call, CallError> {
        self.by_id.get(id).map(|&index| &mut self.calls[index]).ok_or(CallError::Unknown)
    }
}

impl Call {
    /// The form in which the control API shows a call.
    pub(super) fn listing(&self) -> Value {
        json!({
            "id": self.id,
            "state": self.state.as_str(),
            "direction": "incoming",
            "source": self.source.0,
            "targets": self.targets.iter().map(|target| &target.0).collect::<Vec<_>>(),
            "participants": self.participants.iter().map(|one| &one.0).collect::<Vec<_>>(),
            "callChainId": self.chain_id,
            "threadId": self.thread_id,
            "tenantId": self.tenant_id,
            "createdAt": self.made_at.to_string(),
            "resultInfo": self.result.map(|result| json!({
                "code": result.code,
                "subcode": result.subcode,
                "message": result.message,
            })),
        })
    }
}

impl CallState {
    const ALL: [Self; 9] = [
        Self::Incoming,
        Self::Establishing,
        Self::Established,
        Self::Hold,
        Self::Transferring,
        Self::TransferAccepted,
        Self::Redirecting,
        Self::Terminating,
        Self::Terminated,
    ];

    /// Graph's word.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Incoming => "incoming",
            Self::Establishing => "establishing",
            Self::Established => "established",
            Self::Hold => "hold",
            Self::Transferring => "transferring",
            Self::TransferAccepted => "transferAccepted",
            Self::Redirecting => "redirecting",
            Self::Terminating => "terminating",
            Self::Terminated => "terminated",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str().eq_ignore_ascii_case(word))
    }
}

/// A call that was read and not yet kept.
#[derive(Debug)]
pub(super) struct NewCall(Call);

impl NewCall {
    /// Takes the fields of `POST /sim/calls`. Without a state the call is established, so that it
    /// can be hung up at once.
    ///
    /// # Errors
    ///
    /// When a field is missing or malformed.
    pub(super) fn read(mut fields: Fields) -> Result<Self, BadField> {
        let made_up = || Uuid::new_v4().to_string();
        let state = match fields.text("state")? {
            None => CallState::Established,
            Some(word) => CallState::parse(&word).ok_or_else(|| {
                let words = CallState::ALL.map(CallState::as_str).join(", ");
                BadField::new("state", format!("must be one of {words}"))
            })?,
        };
        let call = Call {
            id: fields.text("id")?.unwrap_or_else(made_up),
            state,
            source: IdentitySet::read("source", fields.required("source")?)?,
            targets: IdentitySet::read_list("targets", fields.required("targets")?)?,
            chain_id: fields.text("callChainId")?.unwrap_or_else(made_up),
            thread_id: fields.text("threadId")?,
            tenant_id: fields.text("tenantId")?.unwrap_or_else(|| DEFAULT_TENANT.to_owned()),
            participants: match fields.take("participants") {
                Some(list) => IdentitySet::read_list("participants", list)?,
                None => Vec::new(),
            },
            made_at: Timestamp(0),
            result: None,
        };
        fields.finish()?;
        Ok(Self(call))
    }
}

/// Who takes part: the members of Graph's identity set that are not null.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct IdentitySet(pub(super) Map<String, Value>);

impl IdentitySet {
    /// Reads a plain string (a phone number if it looks like one, otherwise a user id), an
    /// identity set, or an object with an identity set as its member `identity`.
    fn read(field: &str, value: Value) -> Result<Self, BadField> {
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
    fn read_list(field: &str, value: Value) -> Result<Vec<Self>, BadField> {
        match value {
            Value::Array(list) if list.is_empty() => Err(BadField::new(field, "must not be empty")),
            Value::Array(list) => {
                list.into_iter().map(|identity| Self::read(field, identity)).collect()
            }
            one => Ok(vec![Self::read(field, one)?]),
        }
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

    fn read(call: &Value) -> Result<Value, String> {
        let fields = Fields::read(call.to_string().as_bytes()).unwrap();
        let mut calls = Calls::default();
        let new = NewCall::read(fields).map_err(|error| error.to_string())?;
        Ok(calls.add(new, Timestamp(0)).unwrap().listing())
    }

    #[test]
    fn a_plain_string_is_a_number_only_if_it_looks_like_one() {
        for (text, kind) in [
            ("+4930123456", "phone"),
            ("8856", "phone"),
            ("+1 (234) 567-8901", "phone"),
            ("278405a3-f568-4b3e-b684-009193463064", "user"),
            ("11111111-1111-1111-1111-111111111111", "user"),
            ("ann@contoso.com", "user"),
        ] {
            let call = read(&json!({"source": text, "targets": [text]})).unwrap();
            let expected = json!({kind: {"id": text}});
            assert_eq!(call["source"], expected, "{text}");
            assert_eq!(call["targets"], json!([expected]), "{text}");
        }
    }

    #[test]
    fn an_identity_is_taken_with_or_without_its_envelope() {
        let guest = json!({"guest": {"id": "g", "displayName": "Ann"}});
        for source in [
            guest.clone(),
            json!({"identity": guest}),
            json!({"guest": guest["guest"], "user": null}),
        ] {
            let call = read(&json!({"source": source, "targets": "8856"})).unwrap();
            assert_eq!(call["source"], guest, "{source}");
        }
    }

    #[test]
    fn a_bad_field_is_named() {
        for (call, field) in [
            (json!({"targets": ["1"]}), "source"),
            (json!({"source": "8856"}), "targets"),
            (json!({"source": "8856", "targets": []}), "targets"),
            (json!({"source": {}, "targets": ["8857"]}), "source"),
            (json!({"source": {"user": {}}, "targets": ["8857"]}), "source"),
            (json!({"source": {"identity": "8856"}, "targets": ["8857"]}), "source"),
            (json!({"source": " ", "targets": ["8857"]}), "source"),
            (json!({"source": "8856", "targets": [7]}), "targets"),
            (json!({"source": "8856", "targets": ["8857"], "state": "ringing"}), "state"),
            (json!({"source": "8856", "targets": ["8857"], "tenant": "t"}), "tenant"),
            (json!({"source": "8856", "targets": ["8857"], "id": ""}), "id"),
        ] {
            let error = read(&call).unwrap_err();
            assert!(error.starts_with(&format!("{field}: ")), "{call}: {error}");
        }
    }

    #[test]
    fn a_call_moves_forward_only() {
        let mut calls = Calls::default();
        let new = json!({"id": "a", "state": "INCOMING", "source": "8856", "targets": ["8857"]});
        let new = || NewCall::read(Fields::read(new.to_string().as_bytes()).unwrap()).unwrap();
        calls.add(new(), Timestamp(0)).unwrap();
        assert_eq!(calls.add(new(), Timestamp(0)).unwrap_err(), CallError::Exists);

        assert_eq!(calls.answer("A").unwrap_err(), CallError::Unknown);
        assert_eq!(calls.answer("a").unwrap().state, CallState::Established);
        assert_eq!(calls.answer("a").unwrap_err(), CallError::NotRinging);
        assert_eq!(calls.end("a", EndReason::BY_APP).unwrap().result, Some(EndReason::BY_APP));
        assert_eq!(calls.end("a", EndReason::BY_OTHER).unwrap_err(), CallError::Ended);
        assert_eq!(calls.get("a").unwrap().result, Some(EndReason::BY_APP));
    }
}
