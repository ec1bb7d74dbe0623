//! The calls that the simulator holds, and how they move on.
//!
//! A call is never forgotten, but Graph's side shows only those that have not ended. Ids are
//! opaque and compared to the letter, as in Graph.

mod identity;
mod invitation;
mod new;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use serde_json::{Value, json};

pub(super) use self::identity::{IdentitySet, Participant};
pub(super) use self::invitation::{Invitation, Invite, InviteRules};
pub(super) use self::new::{NewCall, RosterChange};
use super::fields::{BadField, Fields};
use super::trouble::Trouble;
use crate::clock::Timestamp;

/// All calls, in the order in which they were made.
#[derive(Debug, Default)]
pub(super) struct Calls {
    list: Vec<Call>,
    by_id: HashMap<String, usize>,
    /// Invitations that are not decided: when they will be, the call, their place in it.
    pending: BTreeSet<(Timestamp, String, usize)>,
}

/// One leg of a call, seen from the app that owns it.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) id: String,
    pub(super) state: CallState,
    pub(super) direction: Direction,
    pub(super) subject: Option<String>,
    pub(super) source: IdentitySet,
    pub(super) targets: Vec<IdentitySet>,
    /// `callRoutes`, as they were given.
    pub(super) routes: Vec<Value>,
    /// `incomingContext`, as it was given.
    pub(super) context: Option<Value>,
    pub(super) chain_id: String,
    pub(super) thread_id: Option<String>,
    pub(super) tenant_id: String,
    /// Whether a tester said whose it is; otherwise every tenant's token opens it.
    pub(super) tenant_is_said: bool,
    /// The app that owns it; without one every app of the tenant does.
    pub(super) app_id: Option<String>,
    pub(super) participants: Vec<Participant>,
    /// The app's own place in the roster, where a tester says which it is.
    pub(super) my_participant_id: Option<String>,
    /// How often the roster changed; the first one counts.
    pub(super) roster_changes: u64,
    /// What ties the requests about this call together in the service's own logs.
    pub(super) scenario_id: String,
    pub(super) made_at: Timestamp,
    /// How long after that it can be rejected.
    pub(super) rings: Duration,
    /// What Graph answers, whatever it is asked about this call.
    pub(super) error: Option<Trouble>,
    pub(super) invites: InviteRules,
    pub(super) invitations: Vec<Invitation>,
    /// Why it ended; none while it has not, when it was rejected, or when it was made as ended.
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

/// Who called whom, seen from the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Incoming,
    Outgoing,
}

/// `resultInfo` of a call that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EndReason {
    pub(super) code: u64,
    pub(super) subcode: u64,
    pub(super) message: String,
    /// The app's request ended it; the first beta says this and has no codes.
    pub(super) by_app: bool,
}

impl EndReason {
    /// The app hung up.
    pub(super) fn by_app() -> Self {
        let message = "The call was ended by the application.".to_owned();
        Self { code: 200, subcode: 7000, message, by_app: true }
    }

    /// Somebody else did.
    pub(super) fn by_other() -> Self {
        let message = "The other party left the call.".to_owned();
        Self { code: 200, subcode: 4521, message, by_app: false }
    }
}

/// A request that does not fit the state of the calls; nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CallError {
    #[error("There is no such call.")]
    Unknown,
    #[error("There is already a call with this id.")]
    Exists,
    #[error("Only a call that rings can be answered or rejected.")]
    NotRinging,
    #[error("The call has ended.")]
    Ended,
    #[error("The call has no such participant.")]
    UnknownParticipant,
    #[error("The call already has a participant with this id.")]
    ParticipantExists,
    #[error("Only a call with chat info takes several people at once.")]
    NoGroup,
}

/// A change of what is answered about a call that was not made.
#[derive(Debug, thiserror::Error)]
pub(super) enum AdjustError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Field(#[from] BadField),
}

impl Calls {
    /// Keeps a new call.
    pub(super) fn add(&mut self, new: NewCall, now: Timestamp) -> Result<&Call, CallError> {
        let call = Call { made_at: now, ..new.call };
        if self.by_id.contains_key(&call.id) {
            return Err(CallError::Exists);
        }
        let index = self.list.len();
        self.by_id.insert(call.id.clone(), index);
        self.list.push(call);
        Ok(&self.list[index])
    }

    /// Every call, ended or not.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Call> {
        self.list.iter()
    }

    /// The call with this id, ended or not.
    pub(super) fn get(&self, id: &str) -> Result<&Call, CallError> {
        self.by_id.get(id).map(|&index| &self.list[index]).ok_or(CallError::Unknown)
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

    /// The app refuses a call that comes in and has not rung for too long.
    pub(super) fn reject(&mut self, id: &str, now: Timestamp) -> Result<&Call, CallError> {
        let call = self.get_mut(id)?;
        if call.state != CallState::Incoming || now >= call.made_at + call.rings {
            return Err(CallError::NotRinging);
        }
        call.state = CallState::Terminated;
        Ok(call)
    }

    /// Participants leave and others join a call that has not ended.
    pub(super) fn change_roster(
        &mut self,
        id: &str,
        change: RosterChange,
    ) -> Result<&Call, CallError> {
        let call = self.get_mut(id)?;
        if call.state == CallState::Terminated {
            return Err(CallError::Ended);
        }
        let RosterChange { mut add, remove } = change;
        let mut roster = call.participants.clone();
        for leaving in remove {
            let place = roster.iter().position(|one| one.id == leaving);
            roster.remove(place.ok_or(CallError::UnknownParticipant)?);
        }
        if add.iter().any(|joining| roster.iter().any(|one| one.id == joining.id)) {
            return Err(CallError::ParticipantExists);
        }
        call.roster_changes += 1;
        for one in &mut add {
            one.sequence = call.roster_changes;
        }
        roster.extend(add);
        call.participants = roster;
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

    /// Changes what is answered about a call: what `fields` do not name stays as it is.
    ///
    /// # Errors
    ///
    /// When there is no such call, or a field is malformed; nothing was changed.
    pub(super) fn adjust(&mut self, id: &str, mut fields: Fields) -> Result<&Call, AdjustError> {
        let call = self.get_mut(id)?;
        // `null` takes the error away; a field that is missing leaves it.
        let error =
            fields.peek("error").is_some().then(|| Trouble::take(&mut fields)).transpose()?;
        let invites = call.invites.clone().take(&mut fields)?;
        fields.finish()?;
        call.error = error.unwrap_or(call.error);
        call.invites = invites;
        Ok(call)
    }

    fn get_mut(&mut self, id: &str) -> Result<&mut Call, CallError> {
        self.by_id.get(id).map(|&index| &mut self.list[index]).ok_or(CallError::Unknown)
    }
}

impl Call {
    /// The form in which the control API shows a call.
    pub(super) fn listing(&self) -> Value {
        json!({
            "id": self.id,
            "state": self.state.as_str(),
            "direction": self.direction.as_str(),
            "subject": self.subject,
            "source": self.source.plain(),
            "targets": self.targets.iter().map(IdentitySet::plain).collect::<Vec<_>>(),
            "callRoutes": self.routes,
            "incomingContext": self.context,
            "participants": self.participants.iter().map(Participant::listing).collect::<Vec<_>>(),
            "myParticipantId": self.my_participant_id,
            "callChainId": self.chain_id,
            "threadId": self.thread_id,
            "tenantId": self.tenant_id,
            "appId": self.app_id,
            "error": self.error.map(Trouble::code),
            "invitations": self.invitations.iter().map(Invitation::listing).collect::<Vec<_>>(),
            "createdAt": self.made_at.to_string(),
            "resultInfo": self.result.as_ref().map(|result| json!({
                "code": result.code,
                "subcode": result.subcode,
                "message": result.message,
            })),
        })
    }
}

impl Direction {
    /// Graph's word.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Incoming => "incoming",
            Self::Outgoing => "outgoing",
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn new() -> NewCall {
        let new = json!({"id": "a", "state": "INCOMING", "source": "8856", "targets": ["8857"]});
        NewCall::read(Fields::read(new.to_string().as_bytes()).unwrap(), "t".to_owned()).unwrap()
    }

    fn change(body: &Value) -> RosterChange {
        RosterChange::read(Fields::read(body.to_string().as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn a_call_moves_forward_only() {
        let mut calls = Calls::default();
        calls.add(new(), Timestamp(0)).unwrap();
        assert_eq!(calls.add(new(), Timestamp(0)).unwrap_err(), CallError::Exists);

        assert_eq!(calls.answer("A").unwrap_err(), CallError::Unknown);
        assert_eq!(calls.answer("a").unwrap().state, CallState::Established);
        assert_eq!(calls.answer("a").unwrap_err(), CallError::NotRinging);
        assert_eq!(calls.reject("a", Timestamp(0)).unwrap_err(), CallError::NotRinging);
        let by_app = Some(EndReason::by_app());
        assert_eq!(calls.end("a", EndReason::by_app()).unwrap().result, by_app);
        assert_eq!(calls.end("a", EndReason::by_other()).unwrap_err(), CallError::Ended);
        assert_eq!(calls.get("a").unwrap().result, by_app);
    }

    #[test]
    fn a_rejected_call_ends_without_a_reason() {
        let mut calls = Calls::default();
        calls.add(new(), Timestamp(0)).unwrap();
        let call = calls.reject("a", Timestamp(0)).unwrap();
        assert_eq!((call.state, &call.result), (CallState::Terminated, &None));
    }

    #[test]
    fn a_call_can_be_rejected_while_it_rings() {
        for (more, millis) in [
            (json!({}), 15_000),
            (json!({"incomingContext": {"observedParticipantId": "p"}}), 5_000),
            (json!({"incomingContext": {"sourceParticipantId": "p"}}), 15_000),
            (json!({"ringMs": 20}), 20),
        ] {
            let mut call =
                json!({"id": "a", "state": "incoming", "source": "8856", "targets": "8857"});
            call.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let fields = Fields::read(call.to_string().as_bytes()).unwrap();
            let mut calls = Calls::default();
            calls.add(NewCall::read(fields, "t".to_owned()).unwrap(), Timestamp(7)).unwrap();
            let late = calls.reject("a", Timestamp(7 + millis));
            assert_eq!(late.unwrap_err(), CallError::NotRinging, "{more}");
            assert!(calls.reject("a", Timestamp(6 + millis)).is_ok(), "{more}");
        }
    }

    #[test]
    fn a_roster_changes_as_a_whole_or_not_at_all() {
        let mut calls = Calls::default();
        calls.add(new(), Timestamp(0)).unwrap();
        let ann = json!({"id": "ann", "identity": "+4930123"});
        let bob = json!({"id": "bob", "identity": "+4930124"});
        let ids = |calls: &Calls| {
            let call = calls.get("a").unwrap();
            call.participants.iter().map(|one| one.id.clone()).collect::<Vec<_>>()
        };
        calls.change_roster("a", change(&json!({"add": [ann]}))).unwrap();
        for (refused, error) in [
            (json!({"add": [bob, ann]}), CallError::ParticipantExists),
            (json!({"add": [bob], "remove": ["eve"]}), CallError::UnknownParticipant),
        ] {
            assert_eq!(calls.change_roster("a", change(&refused)).unwrap_err(), error);
            assert_eq!(ids(&calls), ["ann"]);
        }
        calls.change_roster("a", change(&json!({"add": [bob], "remove": "ann"}))).unwrap();
        assert_eq!(ids(&calls), ["bob"]);
        calls.end("a", EndReason::by_other()).unwrap();
        let late = calls.change_roster("a", RosterChange::removal("bob"));
        assert_eq!(late.unwrap_err(), CallError::Ended);
    }
}
