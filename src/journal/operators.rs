//! What operators change about deletions that were recorded before: they are tried again, or
//! cancelled.
//!
//! It needs no sender: a gateway that runs beside it finds what is due within a second.

use std::time::Duration;

use crate::clock::Clock;
use crate::id::DeletionId;
use crate::operator::Operator;
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::operations::{Change, Intervention, Judged, Manner};
use crate::store::reconcile::Asking;

/// The operator's hand in the journal. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Interventions {
    store: Store,
    clock: Clock,
    /// The tenants that we can log in to, each with the app that we are there.
    apps: Vec<Asking>,
    /// How long a deletion is tried.
    deadline: Duration,
}

impl Interventions {
    /// Those in `store`.
    pub(crate) const fn new(
        store: Store,
        clock: Clock,
        apps: Vec<Asking>,
        deadline: Duration,
    ) -> Self {
        Self { store, clock, apps, deadline }
    }

    /// Tries deletions again that ended without success, each with a new deadline, and none before the
    /// time that Graph or its login asked for. `options` are those that said how, for the record.
    ///
    /// # Errors
    ///
    /// Nothing was changed.
    pub(crate) async fn retry(
        &self,
        operator: &Operator,
        ids: Vec<DeletionId>,
        manner: Manner,
        options: Vec<&'static str>,
    ) -> Result<Vec<Judged>, StoreError> {
        let change = Change::Retry { tried_for: self.deadline, apps: self.apps.clone() };
        self.intervene(operator, "deletions retry", change, ids, manner, options).await
    }

    /// Cancels deletions of which nothing can have reached Graph. `options` are those that said how,
    /// for the record.
    ///
    /// # Errors
    ///
    /// Nothing was changed.
    pub(crate) async fn cancel(
        &self,
        operator: &Operator,
        ids: Vec<DeletionId>,
        manner: Manner,
        options: Vec<&'static str>,
    ) -> Result<Vec<Judged>, StoreError> {
        self.intervene(operator, "deletions cancel", Change::Cancel, ids, manner, options).await
    }

    async fn intervene(
        &self,
        operator: &Operator,
        command: &str,
        change: Change,
        ids: Vec<DeletionId>,
        manner: Manner,
        options: Vec<&'static str>,
    ) -> Result<Vec<Judged>, StoreError> {
        let mut entry = operator.entry(command, self.clock.now());
        entry.event.parameters = options;
        self.store.intervene(Intervention { change, ids, manner, entry }).await
    }
}
