//! What happened, in our words: no codes, no markup.
//!
//! Nothing here may read as if a recording had been erased: what ends is our leg of a call.

use std::fmt;

use crate::id::{CallId, DeletionId};
use crate::model::plan::Operation;

/// The end of a request that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) kind: OutcomeKind,
    pub(crate) call_id: Option<CallId>,
    pub(crate) deletion_id: Option<DeletionId>,
    pub(crate) operation: Option<Operation>,
    /// What the caller should know besides, each a sentence.
    pub(crate) notes: Vec<String>,
}

/// The closed list of `Outcome` words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutcomeKind {
    /// Graph took it.
    Sent,
    /// Recorded, and tried until its deadline.
    Accepted,
    /// An earlier deletion of the same call is under way.
    Joined,
    /// Graph has no such call any more, after an attempt of ours.
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
