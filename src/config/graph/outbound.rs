//! The way out: `graph.proxy` and `graph.ca_file`.

use std::path::Path;

use reqwest::Url;

use crate::config::error::{CertificateFault, ConfigError, Origin};
use crate::config::graph::certificate;
use crate::config::graph::credential::warn_if_open;
use crate::config::source::Source;
use crate::config::value::Expected;
use crate::secret::Secret;

const PROXY: &str = "graph.proxy";
const CA_FILE: &str = "graph.ca_file";

/// How Microsoft is reached: Graph, its logins, and the keys of its notifications.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outbound {
    /// The proxy for everything but this machine. It may hold a password.
    pub(crate) proxy: Option<Secret<Url>>,
    /// Certificates in DER that are trusted besides the system's.
    pub(crate) authorities: Vec<Vec<u8>>,
}

impl Outbound {
    pub(super) fn read(from: &mut Source) -> Self {
        let proxy = from.optional(PROXY, proxy);
        if proxy.as_ref().is_some_and(|url| url.password().is_some()) {
            match from.origin(PROXY) {
                Origin::Set => from.contradiction(
                    &[PROXY],
                    "holds a password, and every user of the machine can read command lines; use \
                     the configuration file or the variable CALLGATE_GRAPH__PROXY",
                ),
                Origin::File { path, .. } => {
                    let what = "the configuration file with the password of graph.proxy in it";
                    warn_if_open(from, what, &path);
                }
                Origin::Variable(_) | Origin::Defaults => {}
            }
        }
        let authorities = match from.path(CA_FILE).map(|file| authorities(&file)) {
            None => Vec::new(),
            Some(Ok(authorities)) => authorities,
            Some(Err(fault)) => {
                let origin = from.origin(CA_FILE);
                let key = CA_FILE.into();
                from.refuse(CA_FILE, ConfigError::CertificateFile { key, fault, origin });
                Vec::new()
            }
        };
        Self { proxy: proxy.map(Secret::new), authorities }
    }
}

fn proxy(text: &str) -> Result<Url, Expected> {
    let url = Url::parse(text).ok().filter(|url| {
        let is_bare = url.path() == "/" && !text.contains(['?', '#']);
        matches!(url.scheme(), "http" | "https") && url.host_str().is_some() && is_bare
    });
    url.ok_or_else(|| Expected::new("an address such as http://proxy.example:3128, without a path"))
}

fn authorities(file: &Path) -> Result<Vec<Vec<u8>>, CertificateFault> {
    let bytes = std::fs::read(file).map_err(|error| CertificateFault::Unreadable(error.kind()))?;
    let found = certificate::all(&String::from_utf8_lossy(&bytes));
    if found.is_empty() {
        return Err(CertificateFault::NoCertificate);
    }
    let is_readable = |der: &Vec<u8>| certificate::Facts::read(der).is_some();
    if found.iter().all(is_readable) { Ok(found) } else { Err(CertificateFault::NotX509) }
}
