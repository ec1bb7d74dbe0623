//! Reads what a tester says of a call: a new one, a change of its roster, a reason for its end.

use std::time::Duration;

use serde_json::Value;
use uuid::Uuid;

use super::identity::{IdentitySet, Participant};
use super::{Call, CallState, Direction, EndReason, InviteRules};
use crate::clock::Timestamp;
use crate::simulator::fields::{BadField, Fields};
use crate::simulator::trouble::Trouble;

/// A call that was read and not yet kept.
#[derive(Debug)]
pub(in crate::simulator) struct NewCall {
    pub(super) call: Call,
    /// Whether its making is told to the callback.
    pub(in crate::simulator) announced: bool,
}

impl NewCall {
    /// Takes the fields of `POST /sim/calls`. Without a state the call is established, so that it
    /// can be hung up at once; without a tenant it is of `usual_tenant`.
    ///
    /// # Errors
    ///
    /// When a field is missing or malformed.
    pub(in crate::simulator) fn read(
        mut fields: Fields,
        usual_tenant: String,
    ) -> Result<Self, BadField> {
        let made_up = || Uuid::new_v4().to_string();
        let state = match fields.text("state")? {
            None => CallState::Established,
            Some(word) => CallState::parse(&word).ok_or_else(|| {
                let words = CallState::ALL.map(CallState::as_str).join(", ");
                BadField::new("state", format!("must be one of {words}"))
            })?,
        };
        let direction = match fields.text("direction")?.as_deref() {
            None | Some("incoming") => Direction::Incoming,
            Some("outgoing") => Direction::Outgoing,
            Some(_) => return Err(BadField::new("direction", "must be incoming or outgoing")),
        };
        let tenant_id = fields.text("tenantId")?;
        let context = read_context(&mut fields)?;
        let call = Call {
            id: fields.text("id")?.unwrap_or_else(made_up),
            state,
            direction,
            subject: fields.text("subject")?,
            source: IdentitySet::read("source", fields.required("source")?)?,
            targets: IdentitySet::read_list("targets", fields.required("targets")?)?,
            routes: read_routes(&mut fields)?,
            rings: read_ring(&mut fields, context.as_ref())?,
            context,
            chain_id: fields.text("callChainId")?.unwrap_or_else(made_up),
            thread_id: fields.text("threadId")?,
            tenant_is_said: tenant_id.is_some(),
            tenant_id: tenant_id.unwrap_or(usual_tenant),
            app_id: fields.text("appId")?,
            error: Trouble::take(&mut fields)?,
            invites: InviteRules::default().take(&mut fields)?,
            invitations: Vec::new(),
            participants: match fields.take("participants") {
                Some(list) => Participant::read_list("participants", list)?,
                None => Vec::new(),
            },
            my_participant_id: fields.text("myParticipantId")?,
            roster_changes: 1,
            scenario_id: made_up(),
            made_at: Timestamp(0),
            result: None,
        };
        let announced = fields.flag("announce")?.unwrap_or(true);
        fields.finish()?;
        Ok(Self { call, announced })
    }
}

/// Who joins a call and who leaves it.
#[derive(Debug)]
pub(in crate::simulator) struct RosterChange {
    pub(super) add: Vec<Participant>,
    /// Ids of participants.
    pub(super) remove: Vec<String>,
}

impl RosterChange {
    /// Takes the fields of `POST /sim/calls/{id}/participants`.
    ///
    /// # Errors
    ///
    /// When a field is malformed, or nobody is named.
    pub(in crate::simulator) fn read(mut fields: Fields) -> Result<Self, BadField> {
        let add = match fields.take("add") {
            Some(list) => Participant::read_list("add", list)?,
            None => Vec::new(),
        };
        let remove = match fields.take("remove") {
            None => Vec::new(),
            Some(Value::String(id)) => vec![id],
            Some(Value::Array(ids)) => {
                let ids = ids.into_iter().map(|id| match id {
                    Value::String(id) => Ok(id),
                    _ => Err(BadField::new("remove", "must be a list of participants' ids")),
                });
                ids.collect::<Result<_, _>>()?
            }
            Some(_) => return Err(BadField::new("remove", "must be a list of participants' ids")),
        };
        fields.finish()?;
        if add.is_empty() && remove.is_empty() {
            return Err(BadField::new("add", "or remove must name somebody"));
        }
        Ok(Self { add, remove })
    }

    /// The one participant with this id leaves.
    pub(in crate::simulator) fn removal(id: &str) -> Self {
        Self { add: Vec::new(), remove: vec![id.to_owned()] }
    }
}

impl EndReason {
    /// Takes the fields of `POST /sim/calls/{id}/end`. Without any, the other party left.
    ///
    /// # Errors
    ///
    /// When a field is malformed.
    pub(in crate::simulator) fn read(mut fields: Fields) -> Result<Self, BadField> {
        let code = fields.number("code", 100..=999)?;
        let subcode = fields.number("subcode", 0..=u64::from(i32::MAX.unsigned_abs()))?;
        let message = fields.text("message")?;
        fields.finish()?;
        let other = Self::by_other();
        if code.is_none() && subcode.is_none() {
            return Ok(Self { message: message.unwrap_or(other.message), ..other });
        }
        let code = code.unwrap_or(other.code);
        let subcode = subcode.unwrap_or(0);
        // As the service writes what it has no sentence for.
        let message =
            message.unwrap_or_else(|| format!("The call has ended. DiagCode: {code}#{subcode}.@"));
        Ok(Self { code, subcode, message, by_app: false })
    }
}

fn read_routes(fields: &mut Fields) -> Result<Vec<Value>, BadField> {
    match fields.take("callRoutes") {
        None => Ok(Vec::new()),
        Some(Value::Array(routes)) if routes.iter().all(Value::is_object) => Ok(routes),
        Some(_) => Err(BadField::new("callRoutes", "must be a list of objects")),
    }
}

fn read_context(fields: &mut Fields) -> Result<Option<Value>, BadField> {
    match fields.take("incomingContext") {
        None => Ok(None),
        Some(context) if context.is_object() => Ok(Some(context)),
        Some(_) => Err(BadField::new("incomingContext", "must be an object")),
    }
}

/// The documented times to answer or reject, unless it is said: a policy recording has less.
fn read_ring(fields: &mut Fields, context: Option<&Value>) -> Result<Duration, BadField> {
    const LONGEST_MILLIS: u64 = 24 * 60 * 60 * 1000;
    let is_recording = context.is_some_and(|context| context["observedParticipantId"].is_string());
    let usual = Duration::from_secs(if is_recording { 5 } else { 15 });
    let said = fields.number("ringMs", 0..=LONGEST_MILLIS)?;
    Ok(said.map_or(usual, Duration::from_millis))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::Calls;
    use super::*;

    fn fields(body: &Value) -> Fields {
        Fields::read(body.to_string().as_bytes()).unwrap()
    }

    fn read(call: &Value) -> Result<Value, String> {
        let mut calls = Calls::default();
        let new = NewCall::read(fields(call), "t".to_owned()).map_err(|error| error.to_string())?;
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
    fn a_bad_field_of_a_call_is_named() {
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
            (json!({"source": "8856", "targets": ["8857"], "direction": "up"}), "direction"),
            (json!({"source": "8856", "targets": ["8857"], "announce": 1}), "announce"),
            (json!({"source": "8856", "targets": ["8857"], "callRoutes": [1]}), "callRoutes"),
            (
                json!({"source": "8856", "targets": ["8857"], "incomingContext": "x"}),
                "incomingContext",
            ),
            (json!({"source": "8856", "targets": ["8857"], "participants": 1}), "participants"),
        ] {
            let error = read(&call).unwrap_err();
            assert!(error.starts_with(&format!("{field}: ")), "{call}: {error}");
        }
    }

    #[test]
    fn a_change_of_the_roster_names_somebody() {
        for (change, field) in [
            (json!({}), "add"),
            (json!({"add": []}), "add"),
            (json!({"remove": [1]}), "remove"),
            (json!({"remove": {"id": "p"}}), "remove"),
            (json!({"participants": ["8856"]}), "participants"),
        ] {
            let error = RosterChange::read(fields(&change)).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{field}: ")), "{change}: {error}");
        }
    }

    #[test]
    fn an_end_without_a_reason_is_the_other_partys() {
        let read = |body| EndReason::read(fields(&body)).unwrap();
        assert_eq!(read(json!({})), EndReason::by_other());
        let given = read(json!({"code": 200, "subcode": 5001, "message": "The end."}));
        assert_eq!((given.code, given.subcode, given.message.as_str()), (200, 5001, "The end."));
        let coded = read(json!({"code": 500, "subcode": 7106}));
        assert_eq!(coded.message, "The call has ended. DiagCode: 500#7106.@");
        for (body, field) in [
            (json!({"code": "200"}), "code"),
            (json!({"subcode": -1}), "subcode"),
            (json!({"message": ""}), "message"),
            (json!({"why": 1}), "why"),
        ] {
            let error = EndReason::read(fields(&body)).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{field}: ")), "{body}: {error}");
        }
    }

    /// Any JSON of a few levels.
    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[+0-9a-z ]{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            let name =
                prop_oneof![Just("id"), Just("identity"), Just("phone"), Just("@odata.type")];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(name, inner, 0..4).prop_map(|members| json!(members)),
            ]
        })
    }

    proptest! {
        #[test]
        fn whatever_is_sent_is_read_or_refused_with_the_name_of_a_field(
            source in any_json(), participants in any_json(), number in any_json()
        ) {
            let named = |error: BadField| {
                let error = error.to_string();
                let known = ["source", "participants", "add", "remove", "code", "message"];
                assert!(known.iter().any(|field| error.starts_with(&format!("{field}: "))), "{error}");
            };
            let call =
                json!({"source": source, "targets": "8856", "participants": participants});
            if let Err(error) = NewCall::read(fields(&call), "t".to_owned()) {
                named(error);
            }
            let change = json!({"add": participants, "remove": source});
            if let Err(error) = RosterChange::read(fields(&change)) {
                named(error);
            }
            if let Err(error) = EndReason::read(fields(&json!({"code": number, "message": source})))
            {
                named(error);
            }
        }
    }
}
