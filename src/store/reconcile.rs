//! Which calls Graph is to be asked about, and what came of asking.

use crate::clock::Timestamp;
use crate::id::{CallId, DeletionId, GraphCallId, TenantId};

/// The app that asks Graph. Only calls that may be its own are asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asking {
    /// The tenant that it can log in to.
    pub(crate) tenant: TenantId,
    pub(crate) client_id: String,
}

/// A call that Graph is to be asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    /// The store's own number of the call.
    pub(crate) call: i64,
    pub(crate) call_id: CallId,
    pub(crate) graph_id: GraphCallId,
}

/// What Graph said of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LookEnd {
    /// It has the call.
    StillThere,
    /// It has no such call.
    Gone,
    /// Nothing that could be understood; it is asked again then, and who needed to know still does.
    Failed { again_at: Timestamp },
}

/// What followed from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Looked {
    /// The call is looked at again.
    Again {
        /// Graph has had this deletion for a while, still has the call, and this is the first look
        /// that tells so.
        unheeded: Option<DeletionId>,
    },
    /// The call ended with this, and so many deletions were confirmed.
    Ended { confirmed: usize },
    /// Its end was known already.
    Known,
}
