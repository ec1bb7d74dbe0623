//! What is asked of Graph.

use crate::model::participant::Invitation;

/// What is asked of Graph, with everything that it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Our own leg of the call ends.
    HangUp,
    /// A call that rings is not answered.
    Reject(RejectReason),
    /// Who is in the call, to remove everybody else: the beginning of `scope=all`.
    ReadRoster,
    /// One participant, by Graph's id of it.
    RemoveParticipant(String),
    /// One user is asked into the call.
    Invite(Invitation),
}

impl Order {
    /// Its kind.
    pub(crate) const fn operation(&self) -> Operation {
        match self {
            Self::HangUp => Operation::HangUp,
            Self::Reject(_) => Operation::Reject,
            Self::ReadRoster => Operation::ReadRoster,
            Self::RemoveParticipant(_) => Operation::RemoveParticipant,
            Self::Invite(_) => Operation::Invite,
        }
    }

    /// Whom it is about, where that is not the call itself.
    pub(crate) fn target(&self) -> Option<&str> {
        match self {
            Self::HangUp | Self::Reject(_) | Self::ReadRoster => None,
            Self::RemoveParticipant(participant_id) => Some(participant_id),
            Self::Invite(invitation) => Some(&invitation.user_id),
        }
    }
}

/// What is asked of Graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// `hang-up`
    HangUp,
    /// `reject`
    Reject,
    /// `read-roster`: no effect, and never in an answer
    ReadRoster,
    /// `remove-participant`
    RemoveParticipant,
    /// `invite`
    Invite,
}

impl Operation {
    pub(super) const ALL: [Self; 5] =
        [Self::HangUp, Self::Reject, Self::ReadRoster, Self::RemoveParticipant, Self::Invite];

    /// Reads its word back.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.as_str() == word)
    }

    /// What an answer says of it: the roster is read to hang up after it.
    pub(crate) const fn in_answers(self) -> Self {
        match self {
            Self::ReadRoster => Self::HangUp,
            other => other,
        }
    }

    /// Its word in answers, columns and logs.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::HangUp => "hang-up",
            Self::Reject => "reject",
            Self::ReadRoster => "read-roster",
            Self::RemoveParticipant => "remove-participant",
            Self::Invite => "invite",
        }
    }
}

/// Why a call is rejected, as whoever calls is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum RejectReason {
    /// `none`
    #[default]
    None,
    /// `busy`
    Busy,
    /// `forbidden`
    Forbidden,
}

impl RejectReason {
    pub(super) const ALL: [Self; 3] = [Self::None, Self::Busy, Self::Forbidden];

    /// Reads Graph's word, in any case.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str().eq_ignore_ascii_case(word))
    }

    /// Graph's word.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Busy => "busy",
            Self::Forbidden => "forbidden",
        }
    }
}
