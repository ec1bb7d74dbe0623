//! `/metrics` on the admin listener: what the parts say of themselves, at one moment.

use tokio::sync::Mutex;

use crate::clock::{Clock, Timestamp};
use crate::graph::GraphClient;
use crate::health::Health;
use crate::journal::Journal;
use crate::reply::{ContentType, Reply};
use crate::store::Store;
use crate::telemetry::metrics::Scrape;
use crate::telemetry::metrics::count::{Counts, Requests};
use crate::telemetry::metrics::label::Notified;

/// What an operator can look at.
#[derive(Debug)]
pub(crate) struct Observed {
    pub(crate) health: Health,
    pub(crate) requests: Requests,
    pub(crate) notifications: Counts<Notified>,
    pub(crate) journal: Journal,
    pub(crate) graph: GraphClient,
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) started: Timestamp,
    /// However many ask, one reads the database.
    pub(crate) turn: Mutex<()>,
}

impl Observed {
    /// The metrics, as they are now. Of a database that cannot be read they say nothing.
    pub(super) async fn scrape(&self) -> Reply {
        let _turn = self.turn.lock().await;
        let scrape = Scrape {
            store: self.store.figures().await,
            now: self.clock.now(),
            started: self.started,
            health: self.health.report(),
            requests: self.requests.clone(),
            notifications: self.notifications.clone(),
            journal: self.journal.figures(),
            logins: self.graph.logins(),
        };
        Reply::new(200, ContentType::OpenMetrics, scrape.text())
    }
}
