//! A deletion: its states, and how long it is remembered for a caller who repeats himself.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::participant::{Invitation, ParticipantSelector};
use super::plan::RejectReason;

/// An identical request within this time of one whose client went away joins it, because old HTTP
/// stacks repeat a request silently.
pub(crate) const REPEATED_BY_THE_STACK: Duration = Duration::from_secs(30);

/// A selector that matches nothing any more means the deletion that the same key made by it within
/// this time.
pub(crate) const REPEATED_BY_THE_CALLER: Duration = Duration::from_mins(10);

/// For so long a deletion is armed: it is for a call that begins within this time.
pub(crate) const ARMED_FOR: Duration = Duration::from_mins(1);

/// Everybody's leg is tried to be ended for no longer than this: people come and go, and whoever is in the
/// call much later was not meant.
pub(crate) const EVERYBODY_IS_MEANT: Duration = Duration::from_mins(5);

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DeletionKind {
    /// The end of a call, by whatever ends it.
    DeleteCall(Scope),
    /// The rejection of a call that rings, and nothing else.
    RejectCall(RejectReason),
    /// The removal of one participant.
    DeleteParticipant(ParticipantSelector),
    /// The invitation of one user: no deletion, and kept like one.
    InviteParticipant(Invitation),
}

/// Whose leg of a call is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Ours: in a group call the others go on.
    Leg,
    /// Everybody's, when at most so many others are in the call: theirs first, and then ours.
    All { most: u32 },
}

impl DeletionKind {
    /// Its word in columns and logs.
    pub(crate) const fn as_str(&self) -> &'static str {
        match self {
            Self::DeleteCall(_) => "DeleteCall",
            Self::RejectCall(_) => "RejectCall",
            Self::DeleteParticipant(_) => "DeleteParticipant",
            Self::InviteParticipant(_) => "InviteParticipant",
        }
    }

    /// What whoever calls is told of a rejection.
    pub(crate) const fn reject_reason(&self) -> RejectReason {
        match self {
            Self::RejectCall(reason) => *reason,
            Self::DeleteCall(_) | Self::DeleteParticipant(_) | Self::InviteParticipant(_) => {
                RejectReason::None
            }
        }
    }

    /// The word of its scope in columns.
    pub(crate) const fn scope_word(&self) -> &'static str {
        if self.is_all() { "all" } else { "leg" }
    }

    /// How many others may be removed, where everybody's leg is to end.
    pub(crate) const fn most_others(&self) -> Option<u32> {
        match self {
            Self::DeleteCall(Scope::All { most }) => Some(*most),
            _ => None,
        }
    }

    /// Everybody's leg is to end.
    pub(crate) const fn is_all(&self) -> bool {
        matches!(self, Self::DeleteCall(Scope::All { .. }))
    }

    /// How long it is tried, when any other is tried for so long.
    pub(crate) fn tried_for(&self, deadline: Duration) -> Duration {
        if self.is_all() { deadline.min(EVERYBODY_IS_MEANT) } else { deadline }
    }

    /// What belongs to the selector besides the call: one text for all that mean the same.
    pub(crate) fn canonical(&self) -> String {
        match self {
            Self::DeleteCall(Scope::All { .. }) => "scope=all;".to_owned(),
            Self::DeleteCall(Scope::Leg) | Self::RejectCall(_) => String::new(),
            Self::DeleteParticipant(who) => who.canonical(),
            Self::InviteParticipant(invitation) => invitation.canonical(),
        }
    }
}

/// Where a deletion stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum DeletionState {
    /// A second person has to agree.
    PendingApproval,
    /// Waits for a call that has not started.
    Armed,
    /// Recorded; tried until its deadline.
    Open,
    /// Graph has taken it.
    Sent,
    /// A notification or a look confirmed the end of the call.
    Confirmed,
    /// Graph no longer has the call, after an attempt of ours.
    Gone,
    /// Graph refused it for good.
    Failed,
    /// Its deadline passed.
    Obsolete,
    /// A hold came before it was sent.
    Held,
    /// Withdrawn before any attempt began.
    Cancelled,
    /// It may or may not have taken effect.
    Unknown,
}

impl DeletionState {
    const WORDS: [(Self, &'static str); 11] = [
        (Self::PendingApproval, "pending_approval"),
        (Self::Armed, "armed"),
        (Self::Open, "open"),
        (Self::Sent, "sent"),
        (Self::Confirmed, "confirmed"),
        (Self::Gone, "gone"),
        (Self::Failed, "failed"),
        (Self::Obsolete, "obsolete"),
        (Self::Held, "held"),
        (Self::Cancelled, "cancelled"),
        (Self::Unknown, "unknown"),
    ];

    /// Its word in columns, answers and logs.
    pub(crate) fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(state, _)| *state == self).map_or("", |(_, word)| word)
    }

    /// It is still to be sent.
    pub(crate) const fn is_open(self) -> bool {
        matches!(self, Self::Open)
    }

    /// Graph has ended the call because of it, as far as can be known.
    pub(crate) const fn is_taken(self) -> bool {
        matches!(self, Self::Sent | Self::Confirmed | Self::Gone)
    }
}

impl fmt::Display for DeletionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is none of the states.
#[derive(Debug, thiserror::Error)]
#[error(
    "unknown state: expected one of pending_approval, armed, open, sent, confirmed, gone, \
         failed, obsolete, held, cancelled, unknown"
)]
pub(crate) struct UnknownDeletionState;

impl FromStr for DeletionState {
    type Err = UnknownDeletionState;

    fn from_str(word: &str) -> Result<Self, UnknownDeletionState> {
        Self::WORDS
            .iter()
            .find(|(_, known)| *known == word)
            .map(|(state, _)| *state)
            .ok_or(UnknownDeletionState)
    }
}

/// Why a deletion failed whose call Graph does not have, and that no attempt of ours ended.
pub(crate) const NO_SUCH_CALL: &str = "Graph has no such call";

/// Why a rejection came too late for a call that goes on.
pub(crate) const RINGS_NO_MORE: &str =
    "the call was answered, or its time to be rejected was over, before Graph took it";

/// Why a call was not rejected that still rings: Graph asked for a pause that lasts longer.
pub(crate) const PAUSE_TOO_LONG: &str =
    "Graph asked to wait for longer than the call can be rejected";

/// Why a deletion ends that could be sent only after its deadline.
pub(crate) const WAIT_TOO_LONG: &str = "Graph asked to wait for longer than the deletion is tried";

/// Why a rejection came too late for a call that is over.
pub(crate) const ENDED_BEFORE: &str = "the call ended before Graph took it";

/// Why the removal of a participant failed whom Graph does not have in the call, and whom no attempt of
/// ours removed.
pub(crate) const NO_SUCH_PARTICIPANT: &str = "Graph has no such participant in the call";

/// Why nobody was removed from a call: more others are in it than the key may remove.
pub(crate) const TOO_MANY: &str = "more others are in the call than this key may remove";

/// Why nobody was removed from a call, or not everybody: our leg ended before.
pub(crate) const LEG_OVER: &str = "our own leg of the call ended before Graph took it";

/// Why not everybody was removed from a call: it took too long, and somebody asked for less.
pub(crate) const LEG_ASKED_FOR: &str =
    "our own leg alone was asked for meanwhile, so nobody else is removed";

/// Why it is not known whether somebody was invited.
pub(crate) const ANSWER_LOST: &str =
    "it may have been sent, its answer was lost, and doing it twice would invite twice";

/// Why nobody was removed from a call: an app is in it that may be ourselves.
pub(crate) const PLACE_UNKNOWN: &str = "our own place in the call cannot be told from others";

/// Why a deletion that was armed was not tried: nobody called.
pub(crate) const NOT_BEGUN: &str = "no call of that number began in time";

/// Why a deletion that was armed was not tried: its moment is in the future by the clock now.
pub(crate) const CLOCK_SET_BACK: &str =
    "the clock was set back, so that nobody knows which call is the next one";

/// Why a deletion that was armed was not tried: the call that began is not ours to end.
pub(crate) const OTHER_APP: &str =
    "the call belongs to another app than the one that is configured for its tenant";
