//! What `/metrics` says of the budget.

use super::Budget;
use crate::id::TenantId;
use crate::telemetry::metrics::TenantFigures;

impl Budget {
    /// The places in all, how many of them are taken, and the share of each of these tenants.
    pub(in crate::journal) fn figures<'a>(
        &self,
        tenants: impl Iterator<Item = &'a TenantId>,
    ) -> (usize, usize, Vec<TenantFigures>) {
        let state = self.state();
        let of = |id: &TenantId| {
            let known = state.tenants.get(id);
            TenantFigures {
                tenant: id.clone(),
                in_flight: known.map_or(0, |known| known.busy),
                kept: known.map_or(0, |known| known.kept),
                stop: known.and_then(|known| known.breaker.stop()),
            }
        };
        (self.all, state.busy, tenants.map(of).collect())
    }
}
