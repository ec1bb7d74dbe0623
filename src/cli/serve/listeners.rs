//! The listeners: their addresses, how many connections each takes, and who answers there.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use super::ServeError;
use crate::app::App;
use crate::config::Config;
use crate::http::metrics::Observed;
use crate::http::rules::{RequestRules, head_bytes};
use crate::http::webhook::Webhook;
use crate::http::{LegacyHttp, health};
use crate::notifications::Notifications;
use crate::notifications::forward::Forward;
use crate::server::drain::Shutdown;
use crate::server::{self, ServeSettings, descriptors};

/// Connections to the admin listener at the same time.
const ADMIN_CONNECTIONS: usize = 64;
/// How long a connection to the notifications' listener may be silent, at most. Everybody can open
/// some, and Graph opens another when it needs one.
const NOTIFICATION_IDLE: Duration = Duration::from_secs(20);
/// How long the head of a notification may take, at most: all of it is sent at once.
const NOTIFICATION_HEAD: Duration = Duration::from_secs(5);
/// Descriptors besides connections: listeners, the database and its log, the runtime, the log.
const FILES: usize = 64;

/// The listeners of a gateway, bound.
#[derive(Debug)]
pub struct Listeners {
    /// The legacy API.
    pub legacy: TcpListener,
    /// Graph's notifications.
    pub notifications: TcpListener,
    /// `/livez`, `/readyz` and `/metrics`.
    pub admin: TcpListener,
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
            notifications: bind("notifications.address", config.notifications.address).await?,
            admin: bind("admin.address", config.admin.address).await?,
        })
    }

    /// Prints where it listens, for scripts: with port 0 there is no other way to know.
    pub(super) fn announce(&self) -> io::Result<()> {
        use std::io::Write;
        let mut out = io::stdout().lock();
        writeln!(out, "legacy http://{}", self.legacy.local_addr()?)?;
        writeln!(out, "notifications http://{}", self.notifications.local_addr()?)?;
        writeln!(out, "admin http://{}", self.admin.local_addr()?)?;
        out.flush()
    }
}

async fn bind(key: &'static str, address: SocketAddr) -> Result<TcpListener, ServeError> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|source| ServeError::Listen { key, address, source })
}

/// Takes no more connections than leave descriptors for Graph, probes and the store.
pub(super) fn fit_connections(config: &mut Config) {
    let wished = [config.listen.max_connections, config.notifications.max_connections];
    let limit = descriptors::raise();
    let forwards = if config.notifications.forward_url.is_some() { Forward::AT_ONCE } else { 0 };
    let reserve = FILES + ADMIN_CONNECTIONS + forwards + config.graph.concurrency;
    let fitting = descriptors::connections(wished, limit, reserve);
    let keys = ["listen.max_connections", "notifications.max_connections"];
    for ((key, wished), fitting) in keys.into_iter().zip(wished).zip(fitting) {
        if let Some(limit) = limit
            && fitting < wished
        {
            tracing::warn!(
                "{key} is {wished}, but this process may have {limit} files open: at most \
                 {fitting} connections are taken; raise the limit, or lower the setting"
            );
        }
    }
    [config.listen.max_connections, config.notifications.max_connections] = fitting;
}

/// Serves the legacy API until `shutdown`.
pub(super) async fn legacy(
    listener: TcpListener,
    config: &Config,
    app: Arc<App>,
    shutdown: Shutdown,
) {
    let settings = ServeSettings {
        name: "legacy",
        max_connections: config.listen.max_connections,
        makes_room: false,
        header_timeout: config.listen.header_timeout,
        idle_timeout: config.listen.idle_timeout,
        drain: config.listen.drain,
        head_bytes: head_bytes(&config.limits),
    };
    let rules = RequestRules {
        paths: config.legacy.paths.clone(),
        limits: config.limits.clone(),
        body_timeout: config.listen.header_timeout,
        trusted_proxies: config.listen.trusted_proxies.clone(),
    };
    let http = Arc::new(LegacyHttp::new(app, rules));
    let handler = move |request, peer| Arc::clone(&http).answer(request, peer);
    server::serve(listener, handler, settings, shutdown).await;
}

/// Serves the notifications until `shutdown`.
pub(super) async fn webhook(
    listener: TcpListener,
    config: &Config,
    notifications: Notifications,
    shutdown: Shutdown,
) {
    let settings = ServeSettings {
        name: "notifications",
        max_connections: config.notifications.max_connections,
        // Strangers can open as many as they like.
        makes_room: true,
        header_timeout: config.listen.header_timeout.min(NOTIFICATION_HEAD),
        idle_timeout: config.listen.idle_timeout.min(NOTIFICATION_IDLE),
        drain: config.listen.drain,
        head_bytes: head_bytes(&config.limits),
    };
    let webhook = Arc::new(Webhook::new(
        notifications,
        config.notifications.path.clone(),
        config.listen.header_timeout,
        config.listen.trusted_proxies.clone(),
    ));
    let log = Arc::clone(&webhook);
    let handler = move |request, peer| Arc::clone(&webhook).answer(request, peer);
    tokio::select! {
        () = server::serve(listener, handler, settings, shutdown) => {}
        () = log.write_folded() => {}
    }
}

/// Serves what operators ask until `shutdown`.
pub(super) async fn admin(
    listener: TcpListener,
    config: &Config,
    observed: Arc<Observed>,
    shutdown: Shutdown,
) {
    let settings = ServeSettings {
        name: "admin",
        max_connections: ADMIN_CONNECTIONS,
        makes_room: false,
        header_timeout: config.listen.header_timeout,
        idle_timeout: config.listen.idle_timeout,
        drain: config.listen.drain,
        head_bytes: head_bytes(&config.limits),
    };
    let handler = move |request, peer| health::answer(Arc::clone(&observed), request, peer);
    server::serve(listener, handler, settings, shutdown).await;
}
