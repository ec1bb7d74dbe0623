//! One tenant: `graph.…` for the first one, `graph.tenants.<id>.…` for each further one.
//!
//! A further tenant takes over nothing of the first one: what is not set in its own section has the
//! built-in default.

use crate::config::endpoint::{self, GRAPH_HOSTS, LOGIN_HOSTS};
use crate::config::graph::credential::{Credential, Faulty};
use crate::config::keys;
use crate::config::source::Source;
use crate::config::value::Expected;
use crate::id::TenantId;
use crate::secret::Secret;

const L4_GRAPH: &str = "https://graph.microsoft.us";
const L5_GRAPH: &str = "https://dod-graph.microsoft.us";
const US_GOV_LOGIN: &str = "https://login.microsoftonline.us";
/// Where Graph and its login are, for each cloud.
const CLOUDS: &[(&str, (&str, &str))] = &[
    ("global", ("https://graph.microsoft.com", "https://login.microsoftonline.com")),
    ("usgov-l4", (L4_GRAPH, US_GOV_LOGIN)),
    ("usgov-l5", (L5_GRAPH, US_GOV_LOGIN)),
];

const APIS: &[(&str, Api)] =
    &[("v1.0", Api::V1), ("beta-app", Api::BetaApp), ("beta-applications", Api::BetaApplications)];

const MISSING: &str = "is missing; a tenant needs tenant_id, client_id and a credential";

/// One tenant and the app that acts in it.
#[derive(Clone, Debug)]
pub(crate) struct TenantConfig {
    pub(crate) id: TenantId,
    /// Its keys are those of `graph.tenants.<id>`.
    pub(crate) is_further: bool,
    pub(crate) client_id: String,
    pub(crate) credential: Credential,
    pub(crate) api: Api,
    /// Without a trailing slash, such as `https://graph.microsoft.com`.
    pub(crate) base_url: String,
    /// Without a trailing slash, such as `https://login.microsoftonline.com`.
    pub(crate) login_url: String,
}

/// The form of the paths that calls are at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Api {
    /// `/v1.0/communications/calls`
    V1,
    /// `/beta/app/calls`
    BetaApp,
    /// `/beta/applications/{client id}/calls`
    BetaApplications,
}

impl TenantConfig {
    /// A tenant with a client secret, whose Graph and login are both at `url`.
    pub(crate) fn at(url: &str, id: TenantId, client_id: &str, secret: &str) -> Self {
        Self {
            id,
            is_further: false,
            client_id: client_id.to_owned(),
            credential: Credential::Secrets(vec![Secret::new(secret.to_owned())]),
            api: Api::V1,
            base_url: url.to_owned(),
            login_url: url.to_owned(),
        }
    }
}

/// A text that names keys of the first tenant, in the names that they have for the further tenant `id`.
pub(crate) fn in_keys_of(id: &TenantId, text: &str) -> String {
    let section = text.replace("graph.tenant_id", &keys::of_tenants(id.as_str()));
    keys::OF_A_TENANT.iter().fold(section, |text, last| {
        text.replace(&format!("graph.{last}"), &keys::of_tenant(id.as_str(), last))
    })
}

/// Where a tenant's keys are.
pub(super) struct Section {
    /// None for the first one, whose id is a key of its own.
    id: Option<String>,
}

impl Section {
    pub(super) fn first() -> Self {
        Self { id: None }
    }

    pub(super) fn further(id: String) -> Self {
        Self { id: Some(id) }
    }

    /// The whole name of a key.
    pub(super) fn key(&self, last: &str) -> String {
        match &self.id {
            None => format!("graph.{last}"),
            Some(id) => keys::of_tenant(id, last),
        }
    }

    pub(super) fn is_of(&self, tenant: &TenantId) -> bool {
        self.id.as_deref() == Some(tenant.as_str())
    }

    /// Records that the first tenant has this section's id.
    pub(super) fn refuse_second(&self, from: &mut Source) {
        let problem = "are of one tenant; keep its keys in one of the two sections";
        from.contradiction(&["graph.tenant_id", &self.key("client_id")], problem);
    }

    /// The tenant, if it is whole; an error is on record when only a part of it is there.
    /// `other_host` is set when one of its hosts is not Microsoft's.
    pub(super) fn read(
        &self,
        from: &mut Source,
        allowed: bool,
        other_host: &mut bool,
    ) -> Option<TenantConfig> {
        let api = from.word(self.key("api"), APIS);
        let (graph, login) = from.word(self.key("cloud"), CLOUDS);
        let mut address = |last, microsoft: &[&str], usual: &str| {
            let key = self.key(last);
            let Some(endpoint) = endpoint::read(from, &key, microsoft, allowed) else {
                return usual.to_owned();
            };
            if !microsoft.contains(&endpoint.host.as_str()) {
                *other_host = true;
                from.warn(format!("{key}: the host {} is not Microsoft's", endpoint.host));
            }
            endpoint.url
        };
        let base_url = address("base_url", GRAPH_HOSTS, graph);
        let login_url = address("login_url", LOGIN_HOSTS, login);
        let id = match &self.id {
            None => from.optional("graph.tenant_id", tenant_id),
            Some(id) => Some(TenantId::new(id)),
        };
        let client_id = from.optional(self.key("client_id"), client_id);
        let credential = Credential::read(from, self);
        match (id, client_id, credential) {
            (Some(id), Some(client_id), Ok(Some(credential))) => {
                let is_further = self.id.is_some();
                Some(TenantConfig {
                    id,
                    is_further,
                    client_id,
                    credential,
                    api,
                    base_url,
                    login_url,
                })
            }
            (None, None, Ok(None)) => None,
            (id, client_id, credential) => {
                self.report_missing(from, id.is_none(), client_id.is_none(), &credential);
                None
            }
        }
    }

    fn report_missing(
        &self,
        from: &mut Source,
        no_id: bool,
        no_client_id: bool,
        credential: &Result<Option<Credential>, Faulty>,
    ) {
        let (id, client_id) = ("graph.tenant_id".to_owned(), self.key("client_id"));
        // What is wrong by itself only looks as if it were missing.
        if credential.is_err() || from.has_refused(&[&id, &client_id]) {
            return;
        }
        let no_credential = matches!(credential, Ok(None));
        let secret = self.key("client_secret_file");
        let all = [(no_id, id), (no_client_id, client_id), (no_credential, secret)];
        let missing: Vec<_> = all.into_iter().filter(|one| one.0).map(|one| one.1).collect();
        let missing: Vec<_> = missing.iter().map(String::as_str).collect();
        from.contradiction(&missing, MISSING);
    }
}

fn tenant_id(text: &str) -> Result<TenantId, Expected> {
    parse_tenant(text).ok_or_else(|| Expected::new(TENANT_EXPECTED))
}

/// What [`parse_tenant`] takes.
pub(crate) const TENANT_EXPECTED: &str = "the tenant's GUID or a domain name of it";

/// A GUID or a domain name; it becomes part of an address.
pub(crate) fn parse_tenant(text: &str) -> Option<TenantId> {
    let id = TenantId::new(text);
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let is_name = id.as_str().starts_with(|c: char| c.is_ascii_alphanumeric())
        && id.as_str().chars().all(is_part);
    // Places where people log in, not a tenant in which an app acts.
    let is_shared = matches!(id.as_str(), "common" | "organizations" | "consumers");
    (is_name && !is_shared).then_some(id)
}

fn client_id(text: &str) -> Result<String, Expected> {
    let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
    let expected = "the application (client) id, a GUID";
    if is_plain { Ok(text.to_owned()) } else { Err(Expected::new(expected)) }
}
