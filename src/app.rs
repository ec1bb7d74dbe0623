//! The handles a request needs. Each part got its section of the configuration when it was built.

use std::time::Duration;

use tokio::sync::watch;

use crate::access::Access;
use crate::audit::Audit;
use crate::clock::Clock;
use crate::config::legacy::{LegacyConfig, OnPending};
use crate::config::limits::LimitsConfig;
use crate::journal::Journal;
use crate::registry::lookup::Lookup;
use crate::telemetry::metrics::count::Requests;

/// Nothing in here is optional.
#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) access: Access,
    pub(crate) journal: Journal,
    pub(crate) lookup: Lookup,
    pub(crate) audit: Audit,
    pub(crate) clock: Clock,
    pub(crate) requests: Requests,
    pub(crate) limits: LimitsConfig,
    pub(crate) legacy: LegacyConfig,
    /// Graph is at a host that is not Microsoft's, which every detail then says.
    pub(crate) other_host: bool,
    /// Turns true when the process is to stop: whoever waits for Graph is then answered at once.
    pub(crate) shutdown: watch::Receiver<bool>,
}

impl App {
    /// How long an answer waits for Graph.
    pub(crate) const fn wait(&self) -> Duration {
        self.legacy.wait
    }

    /// What is answered when Graph has not answered by then.
    pub(crate) const fn on_pending(&self) -> OnPending {
        self.legacy.on_pending
    }
}
