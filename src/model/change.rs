//! What becomes known of a call: by a notification, or by asking Graph.
//!
//! A change says what is now true and is silent about the rest, so it may come twice, late, or
//! before the news of the call itself.

use super::call::{CallState, Direction, Party};
use crate::id::GraphCallId;

/// What one notification, or one answer of Graph's, says of one call. What it does not say is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CallChange {
    pub(crate) graph_id: GraphCallId,
    /// Graph told of the call as new.
    pub(crate) created: bool,
    /// Graph told that the call is gone, whatever its state says.
    pub(crate) deleted: bool,
    pub(crate) state: Option<CallState>,
    pub(crate) direction: Option<Direction>,
    pub(crate) chain_id: Option<String>,
    pub(crate) thread_id: Option<String>,
    pub(crate) join_meeting_id: Option<String>,
    pub(crate) subject: Option<String>,
    /// `incomingContext.observedParticipantId`: set for policy recording.
    pub(crate) observed: Option<String>,
    /// Those that it names; others that are known stay.
    pub(crate) parties: Vec<Party>,
    pub(crate) end: Option<EndReason>,
    pub(crate) roster: Option<RosterChange>,
    /// `myParticipantId`: our own place in the roster.
    pub(crate) my_participant_id: Option<String>,
    /// An invitation of ours went on.
    pub(crate) invitation: Option<InvitationChange>,
}

/// What is told of an invitation that Graph took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InvitationChange {
    /// Graph's id of the operation.
    pub(crate) operation_id: String,
    /// The id that the one invited participant has in the call; always there unless it failed.
    pub(crate) participant_id: Option<String>,
    /// The user who was invited, as it is compared, where that is told.
    pub(crate) user_id: Option<String>,
    /// Nobody joins by it, for this reason, as far as Graph gives one.
    pub(crate) failed: Option<EndReason>,
}

impl CallChange {
    /// Whether it says that the call is over.
    pub(crate) fn tells_of_the_end(&self) -> bool {
        self.deleted || self.state == Some(CallState::Terminated)
    }

    /// Says of the call that there is one, and nothing else.
    pub(crate) fn of(graph_id: GraphCallId) -> Self {
        Self {
            graph_id,
            created: false,
            deleted: false,
            state: None,
            direction: None,
            chain_id: None,
            thread_id: None,
            join_meeting_id: None,
            subject: None,
            observed: None,
            parties: Vec::new(),
            end: None,
            roster: None,
            my_participant_id: None,
            invitation: None,
        }
    }
}

/// Why a call ended, in Graph's words: `resultInfo`, and `terminationReason` of the first betas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct EndReason {
    pub(crate) code: Option<i64>,
    pub(crate) subcode: Option<i64>,
    pub(crate) message: Option<String>,
    /// Such as `AppInitiated`.
    pub(crate) word: Option<String>,
}

/// Who is in the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RosterChange {
    /// Everybody who is in it now: who is not named has left.
    Whole(Vec<Participant>),
    /// Those of whom something changed.
    Delta {
        /// Graph's number of this change, by which an older one is told from a newer one. Without
        /// it the participants' own count, and without those the order of arrival.
        sequence: Option<i64>,
        participants: Vec<Participant>,
    },
    /// This one, by participant id, has left.
    Left(String),
}

/// One in the roster of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Participant {
    /// Graph's id of this participant in this call.
    #[expect(clippy::struct_field_names, reason = "the same word in code, tables and answers")]
    pub(crate) participant_id: String,
    /// The number or address as it came; the user id of somebody of whom only that is known.
    pub(crate) raw: Option<String>,
    /// As it is compared.
    pub(crate) normalised: Option<String>,
    /// As it is compared.
    pub(crate) user_id: Option<String>,
    pub(crate) display_name: Option<String>,
    /// The id of an application, as it is compared.
    pub(crate) app_id: Option<String>,
    /// `removedState` is set: no longer in the call.
    pub(crate) removed: bool,
    /// `rosterSequenceNumber`.
    pub(crate) sequence: Option<i64>,
}
