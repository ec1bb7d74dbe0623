//! Invitations: people who are asked into a call, who join it after a while, do not, or are taken
//! back before.

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::identity::{IdentitySet, Participant};
use super::{Call, CallError, CallState, Calls, EndReason};
use crate::clock::Timestamp;
use crate::simulator::fields::{BadField, Fields};

/// The most that one request may name.
const MOST: usize = 5;

/// The most characters of `clientContext`.
const LONGEST_CONTEXT: usize = 256;

/// How invitations into a call go.
#[derive(Clone, Debug)]
pub(in crate::simulator) struct InviteRules {
    /// How long they are pending.
    pub(super) pending: Duration,
    /// Why they fail; without it they succeed.
    pub(super) failure: Option<EndReason>,
    /// Whether the answer says which ids the participants are going to have.
    pub(super) shows_ids: bool,
}

/// What an app asks for.
#[derive(Debug)]
pub(in crate::simulator) struct Invite {
    invited: Vec<Invited>,
    client_context: Option<String>,
}

/// One person of an invitation.
#[derive(Clone, Debug)]
struct Invited {
    participant: Participant,
    replaces_call: Option<String>,
}

/// The operation that an invitation is.
#[derive(Clone, Debug)]
pub(in crate::simulator) struct Invitation {
    pub(in crate::simulator) id: String,
    client_context: Option<String>,
    invited: Vec<Invited>,
    status: Status,
    result: Option<EndReason>,
    due: Timestamp,
    shows_ids: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Running,
    Completed,
    Failed,
}

/// An invitation that is over.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::simulator) struct Settled {
    pub(in crate::simulator) call_id: String,
    /// Its place in the call.
    pub(in crate::simulator) invitation: usize,
    /// Whether somebody joined.
    pub(in crate::simulator) joined: bool,
}

impl Default for InviteRules {
    fn default() -> Self {
        Self { pending: Duration::from_secs(1), failure: None, shows_ids: true }
    }
}

impl InviteRules {
    /// Takes `inviteMs`, `inviteFails` and `inviteShowsIds`; what is not there stays as it is.
    ///
    /// # Errors
    ///
    /// When a field is malformed.
    pub(super) fn take(mut self, fields: &mut Fields) -> Result<Self, BadField> {
        const DAY: u64 = 24 * 60 * 60 * 1000;
        if let Some(pending) = fields.number("inviteMs", 0..=DAY)? {
            self.pending = Duration::from_millis(pending);
        }
        match fields.take("inviteFails") {
            None => {}
            Some(Value::Bool(false)) => self.failure = None,
            Some(Value::Bool(true)) => self.failure = Some(not_reachable()),
            Some(reason @ Value::Object(_)) => {
                let inner = |error: BadField| BadField::new("inviteFails", error.to_string());
                let fields = Fields::read(reason.to_string().as_bytes()).map_err(inner)?;
                self.failure = Some(EndReason::read(fields).map_err(inner)?);
            }
            Some(_) => {
                return Err(BadField::new("inviteFails", "must be true, false or a reason"));
            }
        }
        if let Some(shows) = fields.flag("inviteShowsIds")? {
            self.shows_ids = shows;
        }
        Ok(self)
    }
}

impl Invite {
    /// Takes the parameters of the action `invite`.
    ///
    /// # Errors
    ///
    /// When one is missing or is not what the schema says.
    pub(in crate::simulator) fn read(mut fields: Fields) -> Result<Self, BadField> {
        let wrong = |problem: String| BadField::new("participants", problem);
        let list = match fields.required("participants")? {
            Value::Array(list) if (1..=MOST).contains(&list.len()) => list,
            _ => return Err(wrong(format!("must be a list of 1 to {MOST}"))),
        };
        let client_context = fields.text("clientContext")?;
        if client_context.as_ref().is_some_and(|text| text.chars().count() > LONGEST_CONTEXT) {
            let problem = format!("must not be longer than {LONGEST_CONTEXT} characters");
            return Err(BadField::new("clientContext", problem));
        }
        let invited = list.into_iter().map(Invited::read).collect::<Result<_, _>>()?;
        Ok(Self { invited, client_context })
    }
}

impl Invited {
    fn read(mut info: Value) -> Result<Self, BadField> {
        const FIELD: &str = "participants";
        let Some(identity @ Value::Object(_)) = info.get_mut("identity").map(Value::take) else {
            return Err(BadField::new(FIELD, "must each have an identity"));
        };
        let replaces_call = match info["replacesCallId"].take() {
            Value::Null => None,
            Value::String(id) => Some(id),
            _ => return Err(BadField::new(FIELD, "have a replacesCallId that is no string")),
        };
        let id = Uuid::new_v4().to_string();
        let identity = IdentitySet::read(FIELD, identity)?;
        Ok(Self { participant: Participant { id, identity, sequence: 0 }, replaces_call })
    }
}

impl Calls {
    /// Asks people into a call that is under way; gives the invitation's place in it.
    pub(in crate::simulator) fn invite(
        &mut self,
        id: &str,
        invite: Invite,
        now: Timestamp,
    ) -> Result<(&Call, usize), CallError> {
        let call = self.get_mut(id)?;
        if matches!(call.state, CallState::Terminating | CallState::Terminated) {
            return Err(CallError::Ended);
        }
        if invite.invited.len() > 1 && call.thread_id.is_none() {
            return Err(CallError::NoGroup);
        }
        let due = now + call.invites.pending;
        let place = call.invitations.len();
        call.invitations.push(Invitation {
            id: Uuid::new_v4().to_string(),
            client_context: invite.client_context,
            invited: invite.invited,
            status: Status::Running,
            result: None,
            due,
            shows_ids: call.invites.shows_ids,
        });
        self.pending.insert((due, id.to_owned(), place));
        self.get(id).map(|call| (call, place))
    }

    /// Takes back whoever is to have this id: the rest of the invitation goes on. An invitation of
    /// nobody else is over at once, and its place is given.
    pub(in crate::simulator) fn take_back(
        &mut self,
        id: &str,
        participant: &str,
    ) -> Result<(&Call, Option<usize>), CallError> {
        let call = self.get_mut(id)?;
        if call.state == CallState::Terminated {
            return Err(CallError::Ended);
        }
        let is_meant = |one: &Invited| one.participant.id == participant;
        let running = |one: &Invitation| one.status == Status::Running;
        let place = call
            .invitations
            .iter()
            .position(|invitation| running(invitation) && invitation.invited.iter().any(is_meant))
            .ok_or(CallError::UnknownParticipant)?;
        let invitation = &mut call.invitations[place];
        if invitation.invited.len() > 1 {
            invitation.invited.retain(|one| !is_meant(one));
            return self.get(id).map(|call| (call, None));
        }
        let message = "The invitation was canceled.".to_owned();
        invitation.fail(EndReason { code: 487, subcode: 0, message, by_app: true });
        let due = invitation.due;
        self.pending.remove(&(due, id.to_owned(), place));
        self.get(id).map(|call| (call, Some(place)))
    }

    /// When the next pending invitation is decided.
    pub(in crate::simulator) fn next_due(&self) -> Option<Timestamp> {
        self.pending.first().map(|(due, ..)| *due)
    }

    /// Decides the first pending invitation, if its time has come.
    pub(in crate::simulator) fn settle(&mut self, now: Timestamp) -> Option<Settled> {
        let first = self.pending.first().filter(|(due, ..)| *due <= now)?.clone();
        self.pending.remove(&first);
        let (_, call_id, place) = first;
        let call = self.get_mut(&call_id).expect("calls are never forgotten");
        let over = matches!(call.state, CallState::Terminating | CallState::Terminated);
        let failure = call.invites.failure.clone().or_else(|| over.then(not_reachable));
        let joined = failure.is_none();
        match failure {
            Some(reason) => call.invitations[place].fail(reason),
            None => call.join(place),
        }
        Some(Settled { call_id, invitation: place, joined })
    }
}

impl Call {
    fn join(&mut self, place: usize) {
        let invitation = &mut self.invitations[place];
        invitation.status = Status::Completed;
        self.roster_changes += 1;
        for one in &mut invitation.invited {
            one.participant.sequence = self.roster_changes;
            self.participants.push(one.participant.clone());
        }
    }
}

impl Invitation {
    fn fail(&mut self, reason: EndReason) {
        self.status = Status::Failed;
        self.result = Some(reason);
    }

    /// Whether it is decided.
    pub(in crate::simulator) fn is_over(&self) -> bool {
        self.status != Status::Running
    }

    /// The `inviteParticipantsOperation`. `identity` is the form of identities.
    pub(in crate::simulator) fn entity(&self, identity: fn(&IdentitySet) -> Value) -> Value {
        let shows_ids = self.shows_ids || self.is_over();
        let participants = self.invited.iter().map(|one| {
            json!({
                "@odata.type": "#microsoft.graph.invitationParticipantInfo",
                "endpointType": null,
                "id": null,
                "participantId": shows_ids.then_some(&one.participant.id),
                "replacesCallId": one.replaces_call,
                "identity": identity(&one.participant.identity),
            })
        });
        json!({
            "@odata.type": "#microsoft.graph.inviteParticipantsOperation",
            "id": self.id,
            // Capital only while it runs, as the page's examples have it.
            "status": match self.status {
                Status::Running => "Running",
                Status::Completed => "completed",
                Status::Failed => "failed",
            },
            "clientContext": self.client_context,
            "resultInfo": self.result.as_ref().map(|result| json!({
                "@odata.type": "#microsoft.graph.resultInfo",
                "code": result.code,
                "subcode": result.subcode,
                "message": result.message,
            })),
            "participants": participants.collect::<Value>(),
        })
    }

    /// The form in which the control API shows it.
    pub(super) fn listing(&self) -> Value {
        let participants = self.invited.iter().map(|one| one.participant.listing());
        json!({
            "id": self.id,
            "status": self.entity(IdentitySet::plain)["status"],
            "clientContext": self.client_context,
            "participants": participants.collect::<Value>(),
        })
    }
}

fn not_reachable() -> EndReason {
    let message = "The callee could not be reached. DiagCode: 480#10076.@".to_owned();
    EndReason { code: 480, subcode: 10_076, message, by_app: false }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::NewCall;
    use super::*;

    fn fields(body: &Value) -> Fields {
        Fields::read(body.to_string().as_bytes()).unwrap()
    }

    fn calls(more: &Value) -> Calls {
        let mut call = json!({"id": "a", "source": "8856", "targets": "8857", "threadId": "19:x"});
        call.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut calls = Calls::default();
        calls.add(NewCall::read(fields(&call), "t".to_owned()).unwrap(), Timestamp(0)).unwrap();
        calls
    }

    fn invite(numbers: &[&str]) -> Invite {
        let people = numbers.iter().map(|number| json!({"identity": {"phone": {"id": number}}}));
        Invite::read(fields(&json!({"participants": people.collect::<Value>()}))).unwrap()
    }

    fn roster(calls: &Calls) -> usize {
        calls.get("a").unwrap().participants.len()
    }

    #[test]
    fn who_is_invited_joins_when_the_time_has_come() {
        let mut calls = calls(&json!({"inviteMs": 500}));
        calls.invite("a", invite(&["+491", "+492"]), Timestamp(0)).unwrap();
        assert_eq!(calls.next_due(), Some(Timestamp(500)));
        assert_eq!(calls.settle(Timestamp(499)), None);
        assert_eq!(roster(&calls), 0);
        let settled = Settled { call_id: "a".to_owned(), invitation: 0, joined: true };
        assert_eq!(calls.settle(Timestamp(500)), Some(settled));
        assert_eq!((roster(&calls), calls.next_due()), (2, None));
    }

    #[test]
    fn who_is_taken_back_does_not_join() {
        let mut calls = calls(&json!({}));
        let (call, _) = calls.invite("a", invite(&["+491", "+492"]), Timestamp(0)).unwrap();
        let ids: Vec<String> =
            call.invitations[0].invited.iter().map(|one| one.participant.id.clone()).collect();
        assert_eq!(calls.take_back("a", &ids[0]).unwrap().1, None);
        assert_eq!(calls.take_back("a", &ids[0]).unwrap_err(), CallError::UnknownParticipant);
        assert_eq!(calls.take_back("a", &ids[1]).unwrap().1, Some(0));
        assert_eq!(calls.settle(Timestamp(i64::MAX)), None);
        assert_eq!(roster(&calls), 0);
    }

    #[test]
    fn an_invitation_fails_on_demand_and_when_the_call_ends() {
        for fails in [true, false] {
            let mut calls = calls(&json!({"inviteFails": fails}));
            calls.invite("a", invite(&["+491"]), Timestamp(0)).unwrap();
            if !fails {
                calls.end("a", EndReason::by_other()).unwrap();
            }
            assert!(!calls.settle(Timestamp(1_000)).unwrap().joined);
            let entity = calls.get("a").unwrap().invitations[0].entity(IdentitySet::plain);
            assert_eq!(
                (&entity["status"], &entity["resultInfo"]["code"]),
                (&json!("failed"), &json!(480))
            );
            assert_eq!(roster(&calls), 0);
        }
    }

    #[test]
    fn what_the_schema_does_not_allow_is_refused_by_name() {
        let one = json!({"identity": {"phone": {"id": "+491"}}});
        for (body, field) in [
            (json!({}), "participants"),
            (json!({"participants": []}), "participants"),
            (json!({"participants": [one, one, one, one, one, one]}), "participants"),
            (json!({"participants": ["+491"]}), "participants"),
            (json!({"participants": [{"identity": "+491"}]}), "participants"),
            (json!({"participants": [one], "clientContext": "x".repeat(257)}), "clientContext"),
        ] {
            let error = Invite::read(fields(&body)).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{field}: ")), "{body}: {error}");
        }
        let context = json!({"participants": [one], "clientContext": "\u{e4}".repeat(256)});
        assert!(Invite::read(fields(&context)).is_ok());

        let mut calls = calls(&json!({"threadId": null}));
        let two = calls.invite("a", invite(&["+491", "+492"]), Timestamp(0));
        assert_eq!(two.unwrap_err(), CallError::NoGroup);
    }

    proptest! {
        #[test]
        fn whatever_is_sent_is_read_or_refused(text in r#"[{}\[\]":, a-zA-Z0-9+]{0,60}"#) {
            let body = format!(r#"{{"participants": [{{"identity": {{{text}}}}}]}}"#);
            if let Ok(fields) = Fields::read(body.as_bytes()) {
                let _read_or_refused = Invite::read(fields);
            }
        }
    }
}
