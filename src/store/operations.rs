//! What operators look for among the deletions, and what they change about them.

use std::time::Duration;

use super::Store;
use super::access::AuditEntry;
use super::error::StoreError;
use super::reconcile::Asking;
use super::records::{DeletionDetails, DeletionRow};
use crate::clock::Timestamp;
use crate::id::{CallId, DeletionId, KeyId, TenantId};
use crate::model::deletion::DeletionState;

/// Which deletions are meant; all of them when nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeletionFilter {
    /// In one of these states; in any when there are none.
    pub(crate) states: Vec<DeletionState>,
    /// Of one of these kinds, as columns spell them; of any when there are none.
    pub(crate) kinds: Vec<&'static str>,
    /// Asked for with this key.
    pub(crate) key: Option<KeyId>,
    pub(crate) tenant: Option<TenantId>,
    /// Of a call with this id, ours or Graph's.
    pub(crate) call: Option<CallId>,
    /// Recorded then or later.
    pub(crate) since: Option<Timestamp>,
    /// Recorded before then.
    pub(crate) until: Option<Timestamp>,
    /// Recorded before this one.
    pub(crate) before: Option<DeletionId>,
}

/// A change that an operator wants.
#[derive(Clone, Debug)]
pub(crate) struct Intervention {
    pub(crate) change: Change,
    pub(crate) ids: Vec<DeletionId>,
    pub(crate) manner: Manner,
    /// The record of each change, but for what it says of the deletion; it is changed at its time.
    pub(crate) entry: AuditEntry,
}

/// What is to be changed.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// What ended without success is tried again, as soon as nothing that Graph or its login asked for
    /// keeps it back, and for so long from then on.
    Retry {
        tried_for: Duration,
        /// The tenants that we can log in to, each with the app that we are there.
        apps: Vec<Asking>,
    },
    /// What was not sent yet is not sent any more.
    Cancel,
}

/// What happens when some of the deletions cannot be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// None of them is changed.
    AllOrNone,
    /// The others are changed.
    WhateverCan,
    /// Nothing is changed in any case: it is only said what [`Manner::WhateverCan`] would do.
    Preview,
}

/// One of the deletions that were to be changed, as it was before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Judged {
    pub(crate) deletion_id: DeletionId,
    /// None when there is no such deletion.
    pub(crate) state: Option<DeletionState>,
    pub(crate) kind: Option<String>,
    pub(crate) call_id: Option<String>,
    /// When it is tried again, if that is later.
    pub(crate) due: Option<Timestamp>,
    /// Why it cannot be changed.
    pub(crate) obstacle: Option<Obstacle>,
}

/// Why a deletion cannot be tried again, or not be cancelled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Obstacle {
    #[error("no deletion has this id")]
    Unknown,
    #[error("Graph has taken it: it is {0}")]
    Taken(DeletionState),
    #[error("Graph accepted one of its attempts")]
    Accepted,
    #[error("its caller was told that nothing will be sent")]
    Denied,
    #[error("its call has ended since one of its attempts was sent: nothing is left to be ended")]
    EndedSince,
    #[error("it is not over: it is {0}")]
    NotOver(DeletionState),
    #[error("it is over already: it is {0}")]
    Over(DeletionState),
    #[error("it is being sent")]
    BeingSent,
    #[error("one of its attempts was sent and may have taken effect")]
    EffectPossible,
    #[error("its time is over: a call is rejected while it rings, and not later")]
    RingsNoMore,
    #[error("Graph may have taken the invitation: sent again, it could invite twice")]
    InvitesTwice,
    #[error("no call began: its client has to ask again")]
    NoCall,
    #[error("its call has ended")]
    CallEnded,
    #[error("its tenant {0} is not configured")]
    TenantNotConfigured(TenantId),
    #[error("its call belongs to another app than the one that is configured")]
    OtherApp,
    #[error("hold {0} stands on its call")]
    Held(String),
    #[error("deletion {0} of the same call is open")]
    AnotherOpen(String),
    #[error("Graph has taken deletion {0} of the same call")]
    AnotherTaken(String),
}

impl Store {
    /// Up to `limit` of these deletions, the newest first.
    pub(crate) async fn deletions(
        &self,
        filter: DeletionFilter,
        limit: usize,
    ) -> Result<Vec<DeletionRow>, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.deletions(filter, limit).await,
        }
    }

    /// As [`Store::deletions`], each with its steps and attempts, all as they are at one moment.
    pub(crate) async fn deletions_in_detail(
        &self,
        filter: DeletionFilter,
        limit: usize,
    ) -> Result<Vec<DeletionDetails>, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.deletions_in_detail(filter, limit).await,
        }
    }

    /// How many of these deletions there are.
    pub(crate) async fn count_deletions(&self, filter: DeletionFilter) -> Result<u64, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.count_deletions(filter).await,
        }
    }

    /// Whether there is a call with this id, ours or Graph's.
    pub(crate) async fn knows_call(&self, call: CallId) -> Result<bool, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.knows_call(call).await,
        }
    }

    /// Changes deletions for an operator, in one transaction with a record of each, in the order of
    /// their ids; says of each whether it can be changed. With [`Manner::AllOrNone`] nothing was changed
    /// when one of them has an obstacle.
    ///
    /// # Errors
    ///
    /// Nothing was changed.
    pub(crate) async fn intervene(
        &self,
        intervention: Intervention,
    ) -> Result<Vec<Judged>, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.intervene(intervention).await,
        }
    }
}
