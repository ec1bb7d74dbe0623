//! The calls and whoever is told of them: every change of a call goes through here, so that none
//! is made without its notifications.

use std::sync::Arc;

use tokio::sync::Notify;

use super::callback::Callback;
use super::calls::{
    AdjustError, Call, CallError, CallState, Calls, EndReason, Invitation, Invite, NewCall,
    RosterChange,
};
use super::fields::Fields;
use super::notification::News;
use crate::clock::Timestamp;

/// Calls, and the callback that hears of them.
#[derive(Debug, Default)]
pub(super) struct Switchboard {
    calls: Calls,
    pub(super) callback: Callback,
    /// Rings when an invitation is made.
    bell: Arc<Notify>,
}

impl Switchboard {
    /// Every call, to be read.
    pub(super) fn calls(&self) -> &Calls {
        &self.calls
    }

    /// Makes a call. Told: the call, unless it is not to be announced, and who is in it.
    pub(super) fn make(&mut self, new: NewCall, now: Timestamp) -> Result<&Call, CallError> {
        let announced = new.announced;
        let call = self.calls.add(new, now)?;
        if announced {
            self.callback.tell(call, News::Made);
            if !call.participants.is_empty() && call.state != CallState::Terminated {
                self.callback.tell(call, News::Roster);
            }
        }
        Ok(call)
    }

    /// Somebody picks up.
    pub(super) fn answer(&mut self, id: &str) -> Result<&Call, CallError> {
        let call = self.calls.answer(id)?;
        self.callback.tell(call, News::State(CallState::Established));
        Ok(call)
    }

    /// Ends a call. Told: that it is ending, and that it has ended, and why.
    pub(super) fn end(&mut self, id: &str, reason: EndReason) -> Result<&Call, CallError> {
        let was = self.calls.get(id)?.state;
        let call = self.calls.end(id, reason)?;
        if was != CallState::Terminating {
            self.callback.tell(call, News::State(CallState::Terminating));
        }
        self.callback.tell(call, News::Ended);
        Ok(call)
    }

    /// The app refuses an incoming call. Told: that it is gone, and nothing else.
    pub(super) fn reject(&mut self, id: &str, now: Timestamp) -> Result<&Call, CallError> {
        let call = self.calls.reject(id, now)?;
        self.callback.tell(call, News::Rejected);
        Ok(call)
    }

    /// Participants join and leave. Told: who is in the call now.
    pub(super) fn change_roster(
        &mut self,
        id: &str,
        change: RosterChange,
    ) -> Result<&Call, CallError> {
        let call = self.calls.change_roster(id, change)?;
        self.callback.tell(call, News::Roster);
        Ok(call)
    }

    /// The app removes somebody from the roster, or takes back an invitation. Told: who is in the
    /// call now, or that the invitation is over.
    pub(super) fn remove(&mut self, id: &str, participant: &str) -> Result<(), CallError> {
        match self.change_roster(id, RosterChange::removal(participant)) {
            Err(CallError::UnknownParticipant) => {}
            removed => return removed.map(|_| ()),
        }
        if let (call, Some(place)) = self.calls.take_back(id, participant)? {
            self.callback.tell(call, News::Invitation(place));
        }
        Ok(())
    }

    /// The app asks people into a call. Told: nothing, before it is decided.
    pub(super) fn invite(
        &mut self,
        id: &str,
        invite: Invite,
        now: Timestamp,
    ) -> Result<&Invitation, CallError> {
        let (call, place) = self.calls.invite(id, invite, now)?;
        self.bell.notify_one();
        Ok(&call.invitations[place])
    }

    /// Decides the invitations whose time has come, and says when the next one is due. Told: that
    /// each is over, and who is in the call now.
    pub(super) fn settle(&mut self, now: Timestamp) -> Option<Timestamp> {
        while let Some(settled) = self.calls.settle(now) {
            let call = self.calls.get(&settled.call_id).expect("calls are never forgotten");
            self.callback.tell(call, News::Invitation(settled.invitation));
            if settled.joined {
                self.callback.tell(call, News::Roster);
            }
        }
        self.calls.next_due()
    }

    /// What whoever waits for invitations waits for.
    pub(super) fn bell(&self) -> Arc<Notify> {
        Arc::clone(&self.bell)
    }

    /// Changes what is answered about a call. Told: nothing, it is the same call.
    pub(super) fn adjust(&mut self, id: &str, fields: Fields) -> Result<&Call, AdjustError> {
        self.calls.adjust(id, fields)
    }
}
