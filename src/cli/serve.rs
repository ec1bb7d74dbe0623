//! The composition root: configuration to store, Graph client, [`App`] and servers, and back down.

mod listeners;
mod paused;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

pub use self::listeners::Listeners;
use self::paused::Pauses;
use super::lock;
use crate::access::Access;
use crate::access::hosts::{self, Hosts, Resolver};
use crate::app::App;
use crate::audit::Audit;
use crate::clock::Clock;
use crate::config::Config;
use crate::config::graph::TenantConfig;
use crate::config::notifications::is_key_host;
use crate::graph::{ClientError, GraphClient};
use crate::health::Health;
use crate::http::metrics::Observed;
use crate::journal::{Journal, JournalRules};
use crate::keys::Keys;
use crate::model::number::NumberingPlan;
use crate::notifications::forward::Forward;
use crate::notifications::token::{self, Verifier};
use crate::notifications::{Notifications, Strangers};
use crate::registry::Registry;
use crate::registry::lookup::Lookup;
use crate::registry::reconcile::{ReconcileRules, Reconciler};
use crate::server::drain::{self, Shutdown};
use crate::server::workers::{WorkerFailed, Workers};
use crate::sessions::Sessions;
use crate::store::Store;
use crate::store::admission::SelectionRules;
use crate::store::error::{OpenError, StoreError};
use crate::store::pepper::Pepper;
use crate::store::reconcile::Asking;
use crate::store::sqlite::Missing;
use crate::telemetry::metrics::count::{Counts, Requests};
use crate::users::Users;

/// How often it is looked whether keys, users or sessions have changed by another hand. Admission
/// looks itself, in its transaction; this is for the answers before it.
const ACCESS_INTERVAL: Duration = Duration::from_millis(250);

/// Why a gateway did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An address could not be bound.
    #[error("cannot listen on {address} ({key})")]
    Listen {
        /// The configuration key.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The store could not be opened; the source says what to do.
    #[error("the store could not be opened")]
    Open(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The store failed while the gateway was starting.
    #[error("the store failed")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// There is no client for Graph.
    #[error("no client for Graph")]
    Graph(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Notifications cannot be proven or passed on.
    #[error("notifications cannot be taken")]
    Notifications(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A part that must always run has ended.
    #[error("a part of the gateway failed: {0}")]
    Worker(String),
    /// The operating system refused.
    #[error("the operating system refused")]
    System(#[from] io::Error),
}

/// `callgate serve`: binds what the configuration names, prints where, and serves until a signal.
///
/// # Errors
///
/// [`ServeError`], before anything was served or after everything was stopped.
pub(crate) async fn run(config: Config) -> Result<(), ServeError> {
    let listeners = Listeners::bind(&config).await.map_err(|error| who_listens(error, &config))?;
    let stop = async {
        match drain::signalled().await {
            Ok(signal) => tracing::info!("{signal}: stopping"),
            Err(error) => tracing::error!("signals cannot be received, stopping: {error}"),
        }
    };
    gateway(listeners, config, Clock::System, stop, Listeners::announce).await
}

/// An address is taken by whoever serves the database already, as a rule.
fn who_listens(error: ServeError, config: &Config) -> ServeError {
    match &error {
        ServeError::Listen { source, .. }
            if source.kind() == io::ErrorKind::AddrInUse && lock::is_held(&config.store.path) =>
        {
            let path = config.store.path.display().to_string();
            ServeError::Open(OpenError::AlreadyServed(path).into())
        }
        _ => error,
    }
}

/// Serves until `stop` is over, then drains: nothing new is accepted, who waits for Graph is
/// answered at once, and the rest has `listen.drain` to finish.
///
/// # Errors
///
/// When it could not start, or one of its parts failed; nothing that was recorded is lost.
pub async fn serve(
    listeners: Listeners,
    config: Config,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    serve_by(Clock::System, listeners, config, stop).await
}

/// As [`serve`], with the time of `clock` for everything but the log.
///
/// # Errors
///
/// As [`serve`].
pub(crate) async fn serve_by(
    clock: Clock,
    listeners: Listeners,
    config: Config,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    gateway(listeners, config, clock, stop, |_| Ok(())).await
}

/// As [`serve`]; `ready` is called when everything is open and requests are about to be taken.
async fn gateway(
    listeners: Listeners,
    mut config: Config,
    clock: Clock,
    stop: impl Future<Output = ()> + Send,
    ready: impl FnOnce(&Listeners) -> io::Result<()>,
) -> Result<(), ServeError> {
    let credentials = config.graph.credentials(Clock::System.now());
    for (_, warning) in credentials.iter().filter(|(is_soon, _)| *is_soon) {
        tracing::warn!("{warning}");
    }
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    listeners::fit_connections(&mut config);
    let path = &config.store.path;
    let _lock = lock::take(path).map_err(|error| ServeError::Open(error.into()))?;
    let (store, pepper) = Store::open_sqlite(path, &config.store.pepper_file, Missing::Create)
        .map_err(|error| ServeError::Open(error.into()))?;
    let (shutdown, stopping) = watch::channel(false);
    let mut workers = Workers::new(shutdown.clone());
    let health = Health::starting(["sender"]);
    store.keep_reserve(health.clone());
    let Built { app, notifications, observed } =
        build(&config, clock, store, pepper, &health, &mut workers, stopping.clone()).await?;
    for sentence in config.missing_for_real_use() {
        tracing::warn!("{sentence}");
    }
    tracing::info!(
        store = %path.display(),
        "callgate {} serves the legacy API",
        env!("CARGO_PKG_VERSION")
    );
    ready(&listeners)?;
    // The admin listener outlives the others, so that it can say that the gateway is stopping.
    let (end, ending) = watch::channel(false);
    let (mut failed, leaving) = (stopping.clone(), health);
    let served = async {
        tokio::join!(
            listeners::legacy(listeners.legacy, &config, app, stopping.clone()),
            listeners::webhook(listeners.notifications, &config, notifications, stopping),
        );
        end.send_replace(true);
    };
    let stop = async {
        tokio::select! {
            () = stop => {}
            // A worker that fails stops the gateway.
            () = drain::requested(&mut failed) => {}
        }
        leaving.unready("server", "stopping");
        shutdown.send_replace(true);
        Instant::now()
    };
    let ((), (), began) =
        tokio::join!(served, listeners::admin(listeners.admin, &config, observed, ending), stop);
    // One time for all of it: what the connections have used the workers do not have.
    let stopped = workers.stop(config.listen.drain.saturating_sub(began.elapsed())).await;
    tracing::info!("stopped");
    stopped.map_err(|WorkerFailed(name)| ServeError::Worker(name.to_owned()))
}

/// What the listeners hand their requests to.
struct Built {
    app: Arc<App>,
    notifications: Notifications,
    observed: Arc<Observed>,
}

/// Builds every part and starts those that run by themselves.
async fn build(
    config: &Config,
    clock: Clock,
    store: Store,
    pepper: Pepper,
    health: &Health,
    workers: &mut Workers,
    shutdown: Shutdown,
) -> Result<Built, ServeError> {
    let graph = GraphClient::new(&config.graph, clock.clone())
        .map_err(|error: ClientError| ServeError::Graph(error.into()))?;
    if config.graph.other_host {
        health.degraded("graph.host", "Graph is at a host that is not Microsoft's");
    }
    let mut key_hosts = config.notifications.openid_urls.iter().map(|url| url.host_str());
    if key_hosts.any(|host| !host.is_some_and(is_key_host)) {
        let reason = "whose signatures are believed is said by a host that is not Microsoft's";
        health.degraded("notifications.host", reason);
    }
    if config.graph.tenants().next().is_none() {
        health.degraded("graph.tenant", "no tenant is configured: nothing can be sent or proven");
    }
    let registry = Registry::new(store.clone(), clock.clone());
    let reconciler = Reconciler::new(
        registry.clone(),
        graph.clone(),
        clock.clone(),
        ReconcileRules::new(apps(config)),
        health.clone(),
    );
    let (journal, dispatch) =
        Journal::new(store.clone(), graph.clone(), clock.clone(), rules(config), health.clone());
    let unfinished = journal.take_over().await.map_err(store_failed)?;
    if unfinished > 0 {
        tracing::info!(unfinished, "attempts that an earlier process had begun are taken up again");
    }
    let mut pauses = Pauses::new(store.clone(), health.clone());
    pauses.look().await.map_err(store_failed)?;
    let keys = Keys::new(store.clone(), pepper.clone(), clock.clone());
    let access = Access::new(
        keys.clone(),
        Sessions::new(store.clone(), pepper, clock.clone()),
        Users::new(store.clone(), clock.clone()),
        Hosts::new(Resolver::System),
    );
    access.refresh().await.map_err(store_failed)?;
    let lookup = Lookup::new(store.clone(), clock.clone(), selection_rules(config));
    let audit = Audit::new(store.clone(), clock.clone());
    let notifications = notifications(config, &clock, &access, &audit, registry, health)?;

    let verifier = notifications.verifier.clone();
    workers.spawn("notification-keys", |stop| verifier.run(stop));
    let (recorder, watched) = (audit.clone(), access.clone());
    workers.spawn("audit", |stop| recorder.run(stop));
    workers.spawn("key-uses", |stop| keys.run_uses(stop));
    workers.spawn("access", |stop| watch_access(watched, stop));
    let resolving = access.clone();
    workers.spawn("host-names", |stop| resolve_hosts(resolving, Clock::System, stop));
    workers.spawn("pauses", |stop| pauses.run(stop));
    workers.spawn("sender", |stop| dispatch.run(stop));
    workers.spawn("reconciler", |stop| reconciler.run(stop));
    let requests = Requests::default();
    let observed = Arc::new(Observed {
        health: health.clone(),
        requests: requests.clone(),
        notifications: notifications.counts.clone(),
        journal: journal.clone(),
        graph,
        store,
        clock: clock.clone(),
        started: clock.now(),
        turn: Mutex::default(),
    });
    let app = Arc::new(App {
        access,
        journal,
        lookup,
        audit,
        clock,
        requests,
        limits: config.limits.clone(),
        legacy: config.legacy.clone(),
        other_host: config.graph.other_host,
        shutdown,
    });
    Ok(Built { app, notifications, observed })
}

fn notifications(
    config: &Config,
    clock: &Clock,
    access: &Access,
    audit: &Audit,
    registry: Registry,
    health: &Health,
) -> Result<Notifications, ServeError> {
    token::self_test::self_test().map_err(|error| ServeError::Notifications(error.into()))?;
    let settings = &config.notifications;
    let verifier = Verifier::new(settings, clock.clone(), health.clone())
        .map_err(|error| ServeError::Notifications(error.into()))?;
    let forward = settings
        .forward_url
        .clone()
        .map(|url| Forward::new(url, settings.forward_timeout, health.clone()))
        .transpose()
        .map_err(|error| ServeError::Notifications(error.into()))?;
    Ok(Notifications {
        registry,
        access: access.clone(),
        audit: audit.clone(),
        verifier,
        forward,
        clock: clock.clone(),
        strangers: Strangers::new(config.graph.tenants().map(|tenant| tenant.id.clone())),
        counts: Counts::default(),
    })
}

/// The tenants that we can log in to, each with the app that we are there.
pub(super) fn apps(config: &Config) -> Vec<Asking> {
    let app = |tenant: &TenantConfig| Asking {
        tenant: tenant.id.clone(),
        client_id: tenant.client_id.clone(),
    };
    config.graph.tenants().map(app).collect()
}

fn rules(config: &Config) -> JournalRules {
    JournalRules {
        apps: apps(config),
        selection: selection_rules(config),
        on_ended: config.legacy.on_ended,
        deadline: config.graph.deadline,
        concurrency: config.graph.concurrency,
        rate: config.graph.rate,
        request_timeout: config.graph.request_timeout,
    }
}

fn selection_rules(config: &Config) -> SelectionRules {
    SelectionRules {
        numbering: NumberingPlan::new(&config.numbering.prefixes),
        mapping: config.legacy.mapping.clone(),
        match_roster: config.legacy.match_roster,
    }
}

async fn watch_access(access: Access, mut stop: Shutdown) {
    let mut interval = tokio::time::interval(ACCESS_INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = drain::requested(&mut stop) => return,
            _ = interval.tick() => {
                if let Err(error) = access.refresh().await
                    && !error.is_shown()
                {
                    tracing::error!("keys could not be read anew: {error}");
                }
            }
        }
    }
}

async fn resolve_hosts(access: Access, clock: Clock, mut stop: Shutdown) {
    let mut interval = tokio::time::interval(hosts::INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let resolved = async {
            interval.tick().await;
            access.resolve_hosts(clock.now()).await;
        };
        tokio::select! {
            () = drain::requested(&mut stop) => return,
            () = resolved => {}
        }
    }
}

fn store_failed(error: StoreError) -> ServeError {
    ServeError::Store(error.into())
}
