//! What happened or was found, in our words: no codes, no markup.
//!
//! Nothing here may read as if a recording had been erased: what ends is our leg of a call.

use std::fmt;

use super::error::Reason;
use crate::clock::Timestamp;
use crate::id::{CallId, DeletionId};
use crate::model::deletion::DeletionKind;
use crate::model::end_reason::CallEnd;
use crate::model::plan::{Operation, Progress};
use crate::sessions::NewToken;
use crate::store::lookup::CallReport;

/// The end of a request that was carried out.
#[derive(Debug)]
pub(crate) enum Done {
    /// That of what is done to a call.
    Deletion(Outcome),
    /// That of every other action.
    Found {
        what: Box<Found>,
        /// What the caller should know besides, each a sentence.
        notes: Vec<String>,
    },
}

impl Done {
    /// Its word in records and logs.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::Deletion(outcome) => outcome.kind.as_str(),
            Self::Found { what, .. } => what.as_str(),
        }
    }
}

/// What was looked up, or came of a login.
#[derive(Debug)]
pub(crate) enum Found {
    CallId(CallId),
    Call(CallInformation),
    Deletion(DeletionStanding),
    /// The one time that a token can be seen.
    Token(NewToken),
    /// The token ended.
    Released,
}

impl Found {
    /// Its word in records and logs.
    pub(crate) const fn as_str(&self) -> &'static str {
        match self {
            Self::CallId(_) | Self::Call(_) | Self::Deletion(_) => "found",
            Self::Token(_) => "logged_in",
            Self::Released => "released",
        }
    }
}

/// A call, and what its other names are by the configuration.
#[derive(Clone, Debug)]
pub(crate) struct CallInformation {
    pub(crate) call: CallReport,
    pub(crate) platform_call_id: Option<String>,
    pub(crate) native_id: Option<String>,
    pub(crate) meeting_id: Option<String>,
}

/// Where a deletion stands, as far as its key may know.
#[derive(Clone, Debug)]
pub(crate) struct DeletionStanding {
    pub(crate) deletion_id: DeletionId,
    pub(crate) call_id: Option<CallId>,
    /// The word of its state.
    pub(crate) state: &'static str,
    /// What its caller would be told now.
    pub(crate) word: Option<Result<OutcomeKind, Reason>>,
    pub(crate) operation: Option<Operation>,
    /// Graph's id of the operation that an invitation is.
    pub(crate) operation_id: Option<String>,
    /// Graph's id of who is removed, or was invited.
    pub(crate) participant_id: Option<String>,
    /// Of `scope=all`: how far it got.
    pub(crate) progress: Option<Progress>,
    pub(crate) created_at: Timestamp,
    pub(crate) deadline_at: Timestamp,
    pub(crate) settled_at: Option<Timestamp>,
    /// When the end of the call became known after Graph had taken the deletion.
    pub(crate) confirmed_at: Option<Timestamp>,
    pub(crate) attempts: usize,
    pub(crate) last_attempt_at: Option<Timestamp>,
    /// None while an attempt is under way, and when there will be no other.
    pub(crate) next_attempt_at: Option<Timestamp>,
    /// Why it ended without success.
    pub(crate) failure: Option<String>,
    /// The end of the call, when that is known.
    pub(crate) end: Option<CallEnd>,
}

/// What became of a `DeleteCall`, `RejectCall`, `DeleteParticipant` or `InviteParticipant`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) kind: OutcomeKind,
    pub(crate) facts: Facts,
    /// What the caller should know besides, each a sentence.
    pub(crate) notes: Vec<String>,
}

/// What is known of what was asked for, done or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) subject: Subject,
    pub(crate) call_id: Option<CallId>,
    pub(crate) deletion_id: Option<DeletionId>,
    pub(crate) operation: Option<Operation>,
    /// Graph's id of the operation that an invitation is.
    pub(crate) operation_id: Option<String>,
    /// Graph's id of who is removed, or was invited.
    pub(crate) participant_id: Option<String>,
    /// Of `scope=all`: how far it got.
    pub(crate) progress: Option<Progress>,
}

/// What a text speaks of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Subject {
    /// Our leg of a call, or everybody's.
    #[default]
    Call,
    /// A call that rings, and is rejected.
    Rejection,
    /// One participant, who is removed.
    Participant,
    /// One user, who is invited.
    Invitation,
}

impl From<&DeletionKind> for Subject {
    fn from(kind: &DeletionKind) -> Self {
        match kind {
            DeletionKind::DeleteCall(_) => Self::Call,
            DeletionKind::RejectCall(_) => Self::Rejection,
            DeletionKind::DeleteParticipant(_) => Self::Participant,
            DeletionKind::InviteParticipant(_) => Self::Invitation,
        }
    }
}

/// The closed list of `Outcome` words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutcomeKind {
    /// Graph took it.
    Sent,
    /// Recorded, and tried until its deadline.
    Accepted,
    /// Recorded for the first call of the number that begins in time.
    Armed,
    /// An earlier deletion of the same call is under way.
    Joined,
    /// Graph has no such call or participant any more, after an attempt of ours.
    Gone,
    /// An earlier deletion of ours was taken.
    AlreadyDeleted,
    /// It had ended, and the configuration counts that as success.
    AlreadyEnded,
    /// A dry run: what would be sent.
    WouldSend,
}

impl OutcomeKind {
    /// Its word in answers, records and logs.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Accepted => "accepted",
            Self::Armed => "armed",
            Self::Joined => "joined",
            Self::Gone => "gone",
            Self::AlreadyDeleted => "already_deleted",
            Self::AlreadyEnded => "already_ended",
            Self::WouldSend => "would_send",
        }
    }
}

impl fmt::Display for OutcomeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
