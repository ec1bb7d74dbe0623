//! The operator's switch: while it is off, nothing is sent to Graph, for one tenant or for all.

use super::Store;
use super::access::AuditEntry;
use super::error::StoreError;
use crate::clock::Timestamp;
use crate::id::TenantId;

/// A pause that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pause {
    /// `None` is all tenants.
    pub(crate) tenant: Option<TenantId>,
    pub(crate) since: Timestamp,
    /// The operator, as `user@host`.
    pub(crate) by: String,
    pub(crate) reason: Option<String>,
    /// This database is a copy that was made then, and has been paused ever since.
    pub(crate) backup_at: Option<Timestamp>,
}

/// What came of a pause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Paused {
    /// The tenant is not known.
    Unknown,
    /// It was paused before, and nothing was changed.
    Before(Pause),
    /// It is paused.
    Now,
}

/// What came of a resumption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Resumed {
    /// The tenant is not known.
    Unknown,
    /// It was not paused, and nothing was changed.
    Before,
    /// This pause is over.
    Now(Pause),
}

impl Store {
    /// Pauses one tenant or all, with the record. What was not leased when this is on disk is not sent
    /// before [`Store::resume`]: it is recorded as ever, and ends at its deadline.
    pub(crate) async fn pause(
        &self,
        tenant: Option<TenantId>,
        entry: AuditEntry,
    ) -> Result<Paused, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.pause(tenant, entry).await,
        }
    }

    /// Ends the pause of one tenant, or the one of all, with the record: what it kept back is due when it
    /// would have been, unless the other kind still stands.
    pub(crate) async fn resume(
        &self,
        tenant: Option<TenantId>,
        entry: AuditEntry,
    ) -> Result<Resumed, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.resume(tenant, entry).await,
        }
    }

    /// The pauses that stand, the one of all tenants first.
    pub(crate) async fn pauses(&self) -> Result<Vec<Pause>, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.pauses().await,
        }
    }
}
