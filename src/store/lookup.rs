//! What a client looks up in the store, and what it is shown.

use super::access::Checked;
use super::admission::Selection;
use crate::clock::{Moment, Timestamp};
use crate::id::{CallId, DeletionId, GraphCallId};
use crate::model::call::CallState;
use crate::model::end_reason::CallEnd;

/// A question for the one call that a selector means.
#[derive(Clone, Debug)]
pub(crate) struct CallLookup {
    /// Who looks.
    pub(crate) checked: Checked,
    pub(crate) selection: Selection,
    /// The key may see the candidates of an ambiguous answer.
    pub(crate) sees_candidates: bool,
    pub(crate) now: Moment,
}

/// A question for a deletion of a key's own line.
#[derive(Clone, Debug)]
pub(crate) struct DeletionLookup {
    /// Who looks.
    pub(crate) checked: Checked,
    pub(crate) deletion_id: DeletionId,
}

/// What came of a look-up.
#[derive(Clone, Debug)]
pub(crate) enum LookedUp<T> {
    /// Key, session or user changed since the caller was checked: check again and ask again.
    AccessChanged,
    Seen(T),
}

/// A call as its tenant's clients may see it.
#[derive(Clone, Debug)]
pub(crate) struct CallReport {
    pub(crate) call_id: CallId,
    pub(crate) graph_id: GraphCallId,
    pub(crate) state: CallState,
    pub(crate) direction: Option<String>,
    pub(crate) chain_id: Option<String>,
    pub(crate) thread_id: Option<String>,
    pub(crate) join_meeting_id: Option<String>,
    /// What an import said.
    pub(crate) platform_call_id: Option<String>,
    /// What an import said.
    pub(crate) native_id: Option<String>,
    /// What an import said.
    pub(crate) meeting_id: Option<String>,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) answered_at: Option<Timestamp>,
    /// None while it has not ended.
    pub(crate) end: Option<CallEnd>,
    /// In the order they became known.
    pub(crate) parties: Vec<PartyReport>,
    /// The deletion that Graph has taken.
    pub(crate) deletion_id: Option<DeletionId>,
}

/// One who called or was called.
#[derive(Clone, Debug)]
pub(crate) struct PartyReport {
    /// `source`, `target` or `dialled`.
    pub(crate) role: String,
    pub(crate) raw: String,
    pub(crate) display_name: Option<String>,
}
