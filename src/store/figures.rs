//! What `/metrics` says of the store.

use super::Store;
use crate::telemetry::metrics::StoreFigures;

impl Store {
    /// What the store does, and what of it an operator should know. It is cheap with a million deletions.
    pub(crate) async fn figures(&self) -> StoreFigures {
        match self {
            Self::Sqlite(sqlite) => sqlite.figures().await,
        }
    }
}
