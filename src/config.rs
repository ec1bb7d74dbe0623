//! The configuration: one small struct per section, read in layers and cross-checked.
//!
//! Defaults < file < environment < `--set`. Unknown keys are errors, and all errors are reported
//! at once. A [`Config`] that exists was checked; no part of the program checks it again.

use std::path::PathBuf;

mod endpoint;
pub(crate) mod error;
mod file;
pub(crate) mod graph;
mod keys;
pub(crate) mod legacy;
pub(crate) mod limits;
pub(crate) mod listen;
pub(crate) mod log;
pub(crate) mod notifications;
mod secret_file;
mod source;
pub(crate) mod store;
mod value;

use crate::config::error::ConfigErrors;
use crate::config::graph::GraphConfig;
use crate::config::legacy::{LegacyConfig, NumberingConfig};
use crate::config::limits::LimitsConfig;
use crate::config::listen::{AdminConfig, ListenConfig};
use crate::config::log::LogConfig;
use crate::config::notifications::NotificationsConfig;
use crate::config::source::{Environment, Source};
use crate::config::store::StoreConfig;
use crate::id::canonical_guid;

/// Everything that can be configured, checked.
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) listen: ListenConfig,
    pub(crate) admin: AdminConfig,
    pub(crate) store: StoreConfig,
    pub(crate) graph: GraphConfig,
    pub(crate) notifications: NotificationsConfig,
    pub(crate) legacy: LegacyConfig,
    pub(crate) numbering: NumberingConfig,
    pub(crate) limits: LimitsConfig,
    pub(crate) log: LogConfig,
    /// The file that was read.
    pub(crate) file: Option<PathBuf>,
    warnings: Vec<String>,
}

/// What the command line says about the configuration.
///
/// No `Debug`: somebody may have written a secret after `--set`.
#[derive(Clone, Default)]
pub struct Options {
    /// `--config`
    pub file: Option<PathBuf>,
    /// Each `--set`, as it was written.
    pub set: Vec<String>,
}

impl Config {
    /// Reads every layer of this process: the defaults, the file, the environment, `options`.
    ///
    /// # Errors
    ///
    /// Everything that is wrong in any layer; nothing of it may be used then.
    pub fn load(options: &Options) -> Result<Self, ConfigErrors> {
        Self::read(options, &Environment::of_process())
    }

    /// The defaults alone, as a process without a terminal has them.
    pub(crate) fn defaults() -> Self {
        Self::read(&Options::default(), &Environment::default())
            .expect("the defaults are valid: a test reads them")
    }

    /// What is allowed and yet probably not meant, in sentences for the log.
    pub(crate) fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// What `serve` lacks to do its work, in sentences; nothing when it lacks nothing.
    pub(crate) fn missing_for_real_use(&self) -> Vec<String> {
        let mut missing = Vec::new();
        if self.graph.tenants().next().is_none() {
            missing.push(
                "no tenant is configured, so nothing can be sent to Graph, and no notification can be \
                 proven; set graph.tenant_id, graph.client_id and graph.client_secret_file"
                    .to_owned(),
            );
        }
        let tenant = self.graph.tenant.as_ref();
        if tenant.is_some_and(|tenant| canonical_guid(tenant.id.as_str()).is_none()) {
            missing.push(
                "graph.tenant_id is a domain name, but notifications name the tenant by its GUID, so \
                 no key will see the calls that Graph announces; put the GUID there, and make keys anew"
                    .to_owned(),
            );
        }
        missing
    }

    fn read(options: &Options, environment: &Environment) -> Result<Self, ConfigErrors> {
        let mut from = Source::gather(options, environment);
        let allow_other_host = from.switch("graph.allow_other_host");
        let graph = GraphConfig::read(&mut from, allow_other_host);
        let mut config = Self {
            listen: ListenConfig::read(&mut from),
            admin: AdminConfig::read(&mut from),
            store: StoreConfig::read(&mut from),
            notifications: NotificationsConfig::read(&mut from, &graph, allow_other_host),
            graph,
            legacy: LegacyConfig::read(&mut from),
            numbering: NumberingConfig::read(&mut from),
            limits: LimitsConfig::read(&mut from),
            log: LogConfig::read(&mut from, environment.stderr_is_terminal),
            file: from.file.clone(),
            warnings: Vec::new(),
        };
        let listeners = [
            ("listen.address", config.listen.address),
            ("admin.address", config.admin.address),
            ("notifications.address", config.notifications.address),
        ];
        listen::check_apart(&listeners, &mut from);
        config.warnings = from.finish()?;
        Ok(config)
    }
}

#[cfg(test)]
mod tests;
