//! The calls that are known: merged in from imports, and looked at.

use crate::clock::Clock;
use crate::id::{CallId, TenantId};
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::records::{CallDetails, CallRow, ImportReport, ImportedCall};

/// The registry of calls.
#[derive(Clone, Debug)]
pub(crate) struct Registry {
    store: Store,
    clock: Clock,
}

impl Registry {
    /// The calls in `store`.
    pub(crate) fn new(store: Store, clock: Clock) -> Self {
        Self { store, clock }
    }

    /// The store's number of a tenant, made when it is new.
    ///
    /// # Errors
    ///
    /// When the store cannot be written.
    pub(crate) async fn tenant(&self, id: TenantId) -> Result<i64, StoreError> {
        self.store.tenant(id, self.clock.now()).await
    }

    /// The store's number of a tenant that is known.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub(crate) async fn find_tenant(&self, id: TenantId) -> Result<Option<i64>, StoreError> {
        self.store.find_tenant(id).await
    }

    /// Merges calls in one transaction: unknown ones are added, known ones only move forward.
    ///
    /// # Errors
    ///
    /// None of them was merged.
    pub(crate) async fn import(
        &self,
        calls: Vec<ImportedCall>,
    ) -> Result<ImportReport, StoreError> {
        self.store.import_calls(calls, self.clock.now()).await
    }

    /// The positions of those whose call id belongs to another Graph call already.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub(crate) async fn conflicts(
        &self,
        calls: Vec<ImportedCall>,
    ) -> Result<Vec<usize>, StoreError> {
        self.store.import_conflicts(calls).await
    }

    /// Up to `limit` calls, the newest first.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub(crate) async fn list(
        &self,
        limit: usize,
        ongoing: bool,
    ) -> Result<Vec<CallRow>, StoreError> {
        self.store.calls(limit, ongoing).await
    }

    /// The calls of this id, ours or Graph's; several only when tenants share it.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub(crate) async fn show(&self, id: CallId) -> Result<Vec<CallDetails>, StoreError> {
        self.store.call(id).await
    }
}
