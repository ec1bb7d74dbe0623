//! The calls and whoever is told of them: every change of a call goes through here, so that none
//! is made without its notifications.

use super::callback::Callback;
use super::calls::{Call, CallError, CallState, Calls, EndReason, NewCall, RosterChange};
use super::notification::News;
use crate::clock::Timestamp;

/// Calls, and the callback that hears of them.
#[derive(Debug, Default)]
pub(super) struct Switchboard {
    calls: Calls,
    pub(super) callback: Callback,
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
    pub(super) fn reject(&mut self, id: &str) -> Result<&Call, CallError> {
        let call = self.calls.reject(id)?;
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
}
