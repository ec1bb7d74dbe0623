//! Whether this process can serve, and what is wrong meanwhile: flags that its parts set.
//!
//! Names and reasons are words of ours, and the ids of tenants, so that no answer made of them can show
//! anything else that is configured, an identifier of a call or a secret.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is known of this process's health. Clones share it.
///
/// A latch that is not set makes the process unready; a degradation never does, because taking
/// every node out of service does not bring Graph back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Health(Arc<Mutex<HealthReport>>);

/// The state at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HealthReport {
    /// Why requests should not be sent here: latch and reason. Empty when ready.
    pub(crate) unready: BTreeMap<&'static str, &'static str>,
    /// What does not work and keeps nobody from asking: part and reason.
    pub(crate) degraded: BTreeMap<Cow<'static, str>, Cow<'static, str>>,
}

impl Health {
    /// Not ready until each of `latches` is.
    pub(crate) fn starting(latches: impl IntoIterator<Item = &'static str>) -> Self {
        let unready = latches.into_iter().map(|latch| (latch, "not started")).collect();
        Self(Arc::new(Mutex::new(HealthReport { unready, degraded: BTreeMap::new() })))
    }

    /// This part can serve.
    pub(crate) fn ready(&self, latch: &'static str) {
        self.lock().unready.remove(latch);
    }

    /// This part cannot serve; nor can the process, until [`Health::ready`].
    pub(crate) fn unready(&self, latch: &'static str, reason: &'static str) {
        self.lock().unready.insert(latch, reason);
    }

    /// This part does not work, and requests are welcome all the same.
    pub(crate) fn degraded(
        &self,
        part: impl Into<Cow<'static, str>>,
        reason: impl Into<Cow<'static, str>>,
    ) {
        self.lock().degraded.insert(part.into(), reason.into());
    }

    /// This part works again.
    pub(crate) fn restored(&self, part: &str) {
        self.lock().degraded.remove(part);
    }

    /// The state now.
    pub(crate) fn report(&self) -> HealthReport {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, HealthReport> {
        // Each change is one insertion or removal: a panic elsewhere cannot leave half of one.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_ready_when_its_last_latch_is() {
        let health = Health::starting(["store", "sender"]);
        health.ready("store");
        assert_eq!(health.report().unready, BTreeMap::from([("sender", "not started")]));
        health.ready("sender");
        assert!(health.report().unready.is_empty());
        health.unready("server", "stopping");
        assert!(!health.report().unready.is_empty());
    }

    #[test]
    fn a_degradation_leaves_the_process_ready_until_it_is_over() {
        let health = Health::default();
        health.clone().degraded("graph", "the app's login is refused");
        assert!(health.report().unready.is_empty());
        assert_eq!(health.report().degraded.len(), 1);
        health.restored("graph");
        assert!(health.report().degraded.is_empty());
    }
}
