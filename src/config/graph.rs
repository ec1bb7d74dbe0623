//! `graph.…`: the clouds, the tenants and how we log in to them, and the way there.

use std::time::Duration;

mod certificate;
mod credential;
mod federated;
mod outbound;
mod rate;
mod tenant;

pub(crate) use self::certificate::ClientCertificate;
#[cfg(test)]
pub(crate) use self::certificate::fixture;
pub(crate) use self::credential::{Credential, ManagedIdentity, read_assertion};
pub(crate) use self::outbound::Outbound;
pub(crate) use self::rate::Rate;
pub(crate) use self::tenant::{Api, TENANT_EXPECTED, TenantConfig, in_keys_of, parse_tenant};
use crate::clock::Timestamp;
use crate::config::graph::tenant::Section;
use crate::config::source::Source;

/// A certificate with less than this left is warned of.
const SOON: Duration = Duration::from_hours(30 * 24);

/// How Graph is reached.
#[derive(Clone, Debug)]
pub(crate) struct GraphConfig {
    /// That of `graph.tenant_id`. None until tenant, client id and a credential are configured.
    pub(crate) tenant: Option<TenantConfig>,
    /// Those of `graph.tenants.…`.
    pub(crate) further: Vec<TenantConfig>,
    pub(crate) outbound: Outbound,
    pub(crate) concurrency: usize,
    /// Of each tenant.
    pub(crate) rate: Option<Rate>,
    pub(crate) request_timeout: Duration,
    pub(crate) deadline: Duration,
    /// One of the hosts is not Microsoft's, and `graph.allow_other_host` says that it may be.
    pub(crate) other_host: bool,
}

impl GraphConfig {
    /// `allowed` is what `graph.allow_other_host` says.
    pub(super) fn read(from: &mut Source, allowed: bool) -> Self {
        let millisecond = Duration::from_millis(1);
        let request_timeout =
            from.duration("graph.request_timeout", millisecond..=Duration::from_mins(10));
        let deadline = from.duration("graph.deadline", millisecond..=Duration::from_hours(30 * 24));
        if request_timeout >= deadline {
            from.contradiction(
                &["graph.request_timeout", "graph.deadline"],
                "one request may take longer than the deletion it belongs to; make the first one \
                 shorter than the second",
            );
        }
        let mut other_host = false;
        let tenant = Section::first().read(from, allowed, &mut other_host);
        let mut further = Vec::new();
        for id in from.tenants() {
            let section = Section::further(id);
            if tenant.as_ref().is_some_and(|tenant| section.is_of(&tenant.id)) {
                section.refuse_second(from);
            }
            further.extend(section.read(from, allowed, &mut other_host));
        }
        Self {
            tenant,
            further,
            outbound: Outbound::read(from),
            concurrency: from.whole("graph.concurrency", 1..=10_000),
            rate: Rate::read(from),
            request_timeout,
            deadline,
            other_host,
        }
    }

    /// Every tenant that we can log in to; no two have the same id.
    pub(crate) fn tenants(&self) -> impl Iterator<Item = &TenantConfig> {
        self.tenant.iter().chain(&self.further)
    }

    /// How long each certificate and each federated token that we log in with is valid, in sentences;
    /// `true` with those that somebody must act on. Of a token that is renewed in time nothing is said.
    pub(crate) fn credentials(&self, now: Timestamp) -> Vec<(bool, String)> {
        let told =
            self.tenants().filter_map(|TenantConfig { id, credential, .. }| match credential {
                Credential::Certificate(certificate) => {
                    let (is_soon, text) = certificate_ends(certificate.not_after, now);
                    Some((is_soon, format!("the certificate for tenant {id} {text}")))
                }
                Credential::Federated(file) => {
                    let problem = federated::problem(file, now)?;
                    Some((true, format!("the federated token for tenant {id} {problem}")))
                }
                Credential::Secrets(_) | Credential::Managed(_) => None,
            });
        told.collect()
    }
}

/// How long a certificate is valid; `true` when that is not long.
fn certificate_ends(end: Timestamp, now: Timestamp) -> (bool, String) {
    let left = end.since(now);
    let days = left.as_secs() / 86_400;
    let text = match days {
        _ if end <= now => format!("is not valid any more since {end}"),
        1 => format!("is valid for 1 more day, until {end}"),
        _ => format!("is valid for {days} more days, until {end}"),
    };
    (left < SOON, text)
}

#[cfg(test)]
mod tests;
