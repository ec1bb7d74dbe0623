//! The composition root: configuration to store, Graph client, [`App`] and servers, and back down.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;

use super::lock;
use crate::access::Access;
use crate::app::App;
use crate::audit::Audit;
use crate::clock::Clock;
use crate::config::Config;
use crate::graph::{ClientError, GraphClient};
use crate::health::Health;
use crate::http::rules::{RequestRules, head_bytes};
use crate::http::{LegacyHttp, health};
use crate::journal::{Journal, JournalRules};
use crate::keys::Keys;
use crate::model::number::NumberingPlan;
use crate::server::descriptors;
use crate::server::drain::{self, Shutdown};
use crate::server::workers::{WorkerFailed, Workers};
use crate::server::{self, ServeSettings};
use crate::sessions::Sessions;
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::pepper::Pepper;
use crate::store::sqlite::Missing;

/// How often it is looked whether keys, users or sessions have changed by another hand. Admission
/// looks itself, in its transaction; this is for the answers before it.
const ACCESS_INTERVAL: Duration = Duration::from_millis(250);
/// Connections to the admin listener at the same time.
const ADMIN_CONNECTIONS: usize = 64;
/// Descriptors besides connections: listeners, the database and its log, the runtime, the log.
const FILES: usize = 64;

/// The listeners of a gateway, bound.
#[derive(Debug)]
pub struct Listeners {
    /// The legacy API.
    pub legacy: TcpListener,
    /// `/livez` and `/readyz`.
    pub admin: TcpListener,
}

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
    #[error("the store failed: {0}")]
    Store(String),
    /// There is no client for Graph.
    #[error("no client for Graph")]
    Graph(#[source] Box<dyn std::error::Error + Send + Sync>),
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
    for sentence in config.missing_for_real_use() {
        tracing::warn!("{sentence}");
    }
    let listeners = Listeners::bind(&config).await?;
    let stop = async {
        match drain::signalled().await {
            Ok(signal) => tracing::info!("{signal}: stopping"),
            Err(error) => tracing::error!("signals cannot be received, stopping: {error}"),
        }
    };
    gateway(listeners, config, stop, Listeners::announce).await
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
    gateway(listeners, config, stop, |_| Ok(())).await
}

/// As [`serve`]; `ready` is called when everything is open and requests are about to be taken.
async fn gateway(
    listeners: Listeners,
    mut config: Config,
    stop: impl Future<Output = ()> + Send,
    ready: impl FnOnce(&Listeners) -> io::Result<()>,
) -> Result<(), ServeError> {
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    fit_connections(&mut config);
    let path = &config.store.path;
    let _lock = lock::take(path).map_err(|error| ServeError::Open(error.into()))?;
    let (store, pepper) = Store::open_sqlite(path, &config.store.pepper_file, Missing::Create)
        .map_err(|error| ServeError::Open(error.into()))?;
    let (shutdown, stopping) = watch::channel(false);
    let mut workers = Workers::new(shutdown.clone());
    let health = Health::starting(["sender"]);
    let app = build(&config, store, pepper, &health, &mut workers, stopping.clone()).await?;
    tracing::info!(
        store = %path.display(),
        "callgate {} serves the legacy API",
        env!("CARGO_PKG_VERSION")
    );
    ready(&listeners)?;
    // The admin listener outlives the others, so that it can say that the gateway is stopping.
    let (end, ending) = watch::channel(false);
    let (mut failed, leaving) = (stopping.clone(), health.clone());
    let served = async {
        legacy(listeners.legacy, &config, app, stopping).await;
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
        tokio::join!(served, admin(listeners.admin, &config, health, ending), stop);
    // One time for all of it: what the connections have used the workers do not have.
    let stopped = workers.stop(config.listen.drain.saturating_sub(began.elapsed())).await;
    tracing::info!("stopped");
    stopped.map_err(|WorkerFailed(name)| ServeError::Worker(name.to_owned()))
}

/// Takes no more legacy connections than leave descriptors for Graph, probes and the store.
fn fit_connections(config: &mut Config) {
    let wished = config.listen.max_connections;
    let limit = descriptors::raise();
    let reserve = FILES + ADMIN_CONNECTIONS + config.graph.concurrency;
    let fitting = descriptors::connections(wished, limit, reserve);
    if let Some(limit) = limit
        && fitting < wished
    {
        tracing::warn!(
            "listen.max_connections is {wished}, but this process may have {limit} files open: at \
             most {fitting} connections are taken; raise the limit, or lower the setting"
        );
    }
    config.listen.max_connections = fitting;
}

impl Listeners {
    /// Binds the configured addresses.
    ///
    /// # Errors
    ///
    /// [`ServeError::Listen`] names the key.
    pub async fn bind(config: &Config) -> Result<Self, ServeError> {
        Ok(Self {
            legacy: bind("listen.address", config.listen.address).await?,
            admin: bind("admin.address", config.admin.address).await?,
        })
    }

    /// Prints where it listens, for scripts: with port 0 there is no other way to know.
    fn announce(&self) -> io::Result<()> {
        use std::io::Write;
        let mut out = io::stdout().lock();
        writeln!(out, "legacy http://{}", self.legacy.local_addr()?)?;
        writeln!(out, "admin http://{}", self.admin.local_addr()?)?;
        out.flush()
    }
}

async fn bind(key: &'static str, address: SocketAddr) -> Result<TcpListener, ServeError> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|source| ServeError::Listen { key, address, source })
}

/// Builds every part and starts those that run by themselves.
async fn build(
    config: &Config,
    store: Store,
    pepper: Pepper,
    health: &Health,
    workers: &mut Workers,
    shutdown: Shutdown,
) -> Result<Arc<App>, ServeError> {
    let clock = Clock::System;
    let graph = GraphClient::new(&config.graph, clock.clone())
        .map_err(|error: ClientError| ServeError::Graph(error.into()))?;
    if config.graph.other_host {
        health.degraded("graph.host", "Graph is at a host that is not Microsoft's");
    }
    if config.graph.tenant.is_none() {
        health.degraded("graph.tenant", "no tenant is configured: nothing can be sent");
    }
    let (journal, dispatch) =
        Journal::new(store.clone(), graph, clock.clone(), rules(config), health.clone());
    let unfinished = journal.take_over().await.map_err(|error| store_failed(&error))?;
    if unfinished > 0 {
        tracing::info!(unfinished, "attempts that an earlier process had begun are taken up again");
    }
    let access = Access::new(
        Keys::new(store.clone(), pepper.clone(), clock.clone()),
        Sessions::new(store.clone(), pepper, clock.clone()),
    );
    access.refresh().await.map_err(|error| store_failed(&error))?;
    let audit = Audit::new(store, clock.clone());

    let (recorder, watched) = (audit.clone(), access.clone());
    workers.spawn("audit", |stop| recorder.run(stop));
    workers.spawn("access", |stop| watch_access(watched, stop));
    workers.spawn("sender", |stop| dispatch.run(stop));
    Ok(Arc::new(App {
        access,
        journal,
        audit,
        clock,
        limits: config.limits.clone(),
        legacy: config.legacy.clone(),
        other_host: config.graph.other_host,
        shutdown,
    }))
}

fn rules(config: &Config) -> JournalRules {
    JournalRules {
        tenant: config.graph.tenant.as_ref().map(|tenant| tenant.id.clone()),
        numbering: NumberingPlan::new(&config.numbering.prefixes),
        mapping: config.legacy.mapping.clone(),
        match_roster: config.legacy.match_roster,
        on_ended: config.legacy.on_ended,
        deadline: config.graph.deadline,
        concurrency: config.graph.concurrency,
        request_timeout: config.graph.request_timeout,
    }
}

async fn watch_access(access: Access, mut stop: Shutdown) {
    let mut interval = tokio::time::interval(ACCESS_INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = drain::requested(&mut stop) => return,
            _ = interval.tick() => {
                if let Err(error) = access.refresh().await {
                    tracing::error!("keys could not be read anew: {error}");
                }
            }
        }
    }
}

async fn legacy(listener: TcpListener, config: &Config, app: Arc<App>, shutdown: Shutdown) {
    let settings = ServeSettings {
        name: "legacy",
        max_connections: config.listen.max_connections,
        header_timeout: config.listen.header_timeout,
        idle_timeout: config.listen.idle_timeout,
        drain: config.listen.drain,
        head_bytes: head_bytes(&config.limits),
    };
    let rules = RequestRules {
        paths: config.legacy.paths.clone(),
        limits: config.limits.clone(),
        body_timeout: config.listen.header_timeout,
    };
    let http = Arc::new(LegacyHttp::new(app, rules));
    let handler = move |request, peer| Arc::clone(&http).answer(request, peer);
    server::serve(listener, handler, settings, shutdown).await;
}

async fn admin(listener: TcpListener, config: &Config, of: Health, shutdown: Shutdown) {
    let settings = ServeSettings {
        name: "admin",
        max_connections: ADMIN_CONNECTIONS,
        header_timeout: config.listen.header_timeout,
        idle_timeout: config.listen.idle_timeout,
        drain: config.listen.drain,
        head_bytes: head_bytes(&config.limits),
    };
    let handler = move |request, peer| {
        let response = health::answer(&of, request, peer);
        async { response }
    };
    server::serve(listener, handler, settings, shutdown).await;
}

fn store_failed(error: &StoreError) -> ServeError {
    ServeError::Store(error.to_string())
}
