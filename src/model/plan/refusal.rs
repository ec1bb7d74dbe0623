//! Why nothing is done, and among which calls or participants a request could not choose.

use crate::clock::Timestamp;
use crate::id::CallId;
use crate::model::call::CallState;

/// Why nothing is deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No call matches.
    NotFound,
    /// No deletion of this key has the id.
    NoSuchDeletion,
    /// The call has ended; Graph said so.
    Ended,
    /// The call is not known to ring, or not any more, so that it cannot be rejected.
    RingsNoMore,
    /// Several calls match.
    Ambiguous(Ambiguity),
    /// Nobody in the call is meant. Those who are in it, when the key may see them.
    NoParticipant(Vec<ParticipantCandidate>),
    /// Our own place in the call is meant, which ends with our leg only.
    OurOwnPlace,
    /// One is meant who was invited, or may have been, and whose id Graph has not told yet.
    Unnamed,
    /// Several people in the call are meant.
    AmbiguousParticipant {
        count: usize,
        /// When the key may see them.
        candidates: Vec<ParticipantCandidate>,
    },
    /// The participant is no longer in the call; Graph said so.
    ParticipantLeft,
    /// Our own leg has ended, or others end it, and without it nobody can be removed or invited.
    LegOver,
    /// A deletion of ours is to end our own leg.
    LegEnding,
    /// More others are in the call than may be removed; how many may, when it is this key's limit.
    TooMany { most: Option<u32> },
    /// Nobody was removed, because we cannot be told from the others.
    PlaceUnknown,
    /// Everybody was to be removed, and Graph refused some: our leg goes on.
    Partly(Progress),
    /// The call that the invited one is to leave is the one that he is invited into.
    ReplacesItself,
    /// The call belongs to an app that is not the one configured for its tenant.
    OtherApp,
    /// A hold or another rule forbids it.
    Policy,
    /// The key lacks the right; which one, in our words.
    NotPermitted(&'static str),
    /// Graph refused for good.
    RefusedByGraph,
    /// It may or may not have been done.
    UnknownOutcome,
    /// It was withdrawn, cancelled, or its time is over: Graph did not take it, and nothing more will be sent.
    Withdrawn,
    /// A browser or scanner asked ahead of its user.
    Prefetch,
}

/// How far a deletion of everybody's leg got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Those who are not in the call any more.
    pub(crate) removed: u32,
    /// The others who were in it.
    pub(crate) of: u32,
}

/// One in a call, as a caller may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ParticipantCandidate {
    pub(crate) participant_id: String,
    /// Invited, and not known to have joined.
    pub(crate) is_invited: bool,
    /// The number, address or user id, masked to its last three digits.
    pub(crate) party: Option<String>,
}

/// Several calls match a selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ambiguity {
    /// How many match; counting stops at [`Ambiguity::COUNTED`].
    pub(crate) count: usize,
    /// The parameter that would decide, such as `status` or `callID`.
    pub(crate) decided_by: &'static str,
    /// The first ten, when the key may see them.
    pub(crate) candidates: Vec<Candidate>,
}

impl Ambiguity {
    /// More matches than this are not told apart.
    pub(crate) const COUNTED: usize = 100;
    /// More candidates than this are not listed.
    pub(crate) const LISTED: usize = 10;
}

/// One of several calls that match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) call_id: CallId,
    pub(crate) state: CallState,
    pub(crate) started_at: Option<Timestamp>,
    /// Masked to its last three digits.
    pub(crate) other_party: Option<String>,
}
