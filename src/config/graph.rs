//! `graph.…`: the cloud, the tenant and how we log in to it.

use std::path::Path;
use std::time::Duration;

use crate::config::endpoint::{self, GRAPH_HOSTS, LOGIN_HOSTS};
use crate::config::error::{ConfigError, Origin};
use crate::config::secret_file;
use crate::config::source::Source;
use crate::config::value::{Expected, Value};
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

const TENANT_ID: &str = "graph.tenant_id";
const CLIENT_ID: &str = "graph.client_id";
const SECRET: &str = "graph.client_secret";
const SECRET_FILE: &str = "graph.client_secret_file";

/// How Graph is reached.
#[derive(Clone, Debug)]
pub(crate) struct GraphConfig {
    /// Without a trailing slash, such as `https://graph.microsoft.com`.
    pub(crate) base_url: String,
    /// Without a trailing slash, such as `https://login.microsoftonline.com`.
    pub(crate) login_url: String,
    /// None until tenant, client id and a credential are configured.
    pub(crate) tenant: Option<TenantConfig>,
    pub(crate) concurrency: usize,
    pub(crate) request_timeout: Duration,
    pub(crate) deadline: Duration,
    /// One of the two hosts is not Microsoft's, and `graph.allow_other_host` says that it may be.
    pub(crate) other_host: bool,
}

/// One tenant and the app that acts in it.
#[derive(Clone, Debug)]
pub(crate) struct TenantConfig {
    pub(crate) id: TenantId,
    pub(crate) client_id: String,
    pub(crate) client_secret: Secret<String>,
}

impl GraphConfig {
    /// `allowed` is what `graph.allow_other_host` says.
    pub(super) fn read(from: &mut Source, allowed: bool) -> Self {
        from.read("graph.api", api);
        let (graph, login) = from.word("graph.cloud", CLOUDS);
        let mut other_host = false;
        let mut address = |key, microsoft: &[&str], usual: &str| {
            let Some(endpoint) = endpoint::read(from, key, microsoft, allowed) else {
                return usual.to_owned();
            };
            if !microsoft.contains(&endpoint.host.as_str()) {
                other_host = true;
                from.warn(format!("{key}: the host {} is not Microsoft's", endpoint.host));
            }
            endpoint.url
        };
        let base_url = address("graph.base_url", GRAPH_HOSTS, graph);
        let login_url = address("graph.login_url", LOGIN_HOSTS, login);
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
        Self {
            base_url,
            login_url,
            tenant: TenantConfig::read(from),
            concurrency: from.whole("graph.concurrency", 1..=10_000),
            request_timeout,
            deadline,
            other_host,
        }
    }
}

impl TenantConfig {
    fn read(from: &mut Source) -> Option<Self> {
        let id = from.optional(TENANT_ID, tenant_id);
        let client_id = from.optional(CLIENT_ID, client_id);
        let client_secret = client_secret(from);
        match (id, client_id, client_secret) {
            (Some(id), Some(client_id), Some(client_secret)) => {
                Some(Self { id, client_id, client_secret })
            }
            (None, None, None) => None,
            (id, client_id, client_secret) => {
                let missing = [
                    (id.is_none(), TENANT_ID),
                    (client_id.is_none(), CLIENT_ID),
                    (client_secret.is_none(), SECRET_FILE),
                ];
                let missing = missing.into_iter().filter(|(is_missing, _)| *is_missing);
                let names: Vec<_> = missing.map(|(_, key)| key).collect();
                // What is wrong by itself only looks as if it were missing.
                if !from.has_refused(&[TENANT_ID, CLIENT_ID, SECRET, SECRET_FILE]) {
                    let problem = "is missing; a tenant needs tenant_id, client_id and a secret";
                    from.contradiction(&names, problem);
                }
                None
            }
        }
    }
}

fn client_secret(from: &mut Source) -> Option<Secret<String>> {
    let given = from.secret(SECRET);
    let file = from.path(SECRET_FILE);
    if let (Some(_), Origin::File { path, .. }) = (&given, from.origin(SECRET)) {
        warn_if_open(from, "the configuration file with graph.client_secret in it", &path);
    }
    let Some(file) = file else { return given };
    if given.is_some() {
        from.contradiction(&[SECRET, SECRET_FILE], "are both set; keep one of them");
        return given;
    }
    match secret_file::read(&file) {
        Ok(secret) => {
            warn_if_open(from, SECRET_FILE, &file);
            Some(secret)
        }
        Err(fault) => {
            let origin = from.origin(SECRET_FILE);
            from.refuse(SECRET_FILE, ConfigError::SecretFile { key: SECRET_FILE, fault, origin });
            None
        }
    }
}

fn warn_if_open(from: &mut Source, what: &str, path: &Path) {
    if secret_file::is_readable_by_others(path) {
        let path = path.display();
        from.warn(format!("{what}: every user of the machine can read {path}; chmod o-r it"));
    }
}

fn api(value: &Value) -> Result<(), Expected> {
    match value.text() {
        Some("v1.0") => Ok(()),
        Some("beta-app" | "beta-applications") => {
            Err(Expected::new("v1.0 (the beta forms: not available in this version)"))
        }
        _ => Err(Expected::new("v1.0")),
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

#[cfg(test)]
mod tests {
    use super::*;

    const TENANT: [(&str, &str); 2] = [
        (TENANT_ID, "{57DAB8B1-894C-409A-B240-BD8BEAE78896}"),
        (CLIENT_ID, "2a3b4c5d-0000-4000-8000-123456789abc"),
    ];
    const HIDDEN: &str = "hunter2-hunter2";

    fn read(pairs: &[(&str, &str)]) -> Result<(GraphConfig, Vec<String>), String> {
        let mut source = Source::of(pairs);
        let allowed = source.switch("graph.allow_other_host");
        let graph = GraphConfig::read(&mut source, allowed);
        let warnings = source.finish().map_err(|errors| errors.to_string())?;
        Ok((graph, warnings))
    }

    #[track_caller]
    fn check_error(pairs: &[(&str, &str)], expected: &str) {
        let error = read(pairs).map(|_| ()).unwrap_err();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }

    #[test]
    fn a_cloud_names_both_hosts() {
        for (cloud, base_url, login_url) in [
            ("global", "https://graph.microsoft.com", "https://login.microsoftonline.com"),
            ("usgov-l4", "https://graph.microsoft.us", "https://login.microsoftonline.us"),
            ("usgov-l5", "https://dod-graph.microsoft.us", "https://login.microsoftonline.us"),
        ] {
            let (graph, warnings) = read(&[("graph.cloud", cloud)]).unwrap();
            assert_eq!((graph.base_url.as_str(), graph.login_url.as_str()), (base_url, login_url));
            assert!(!graph.other_host && warnings.is_empty(), "{cloud}");
        }
    }

    #[test]
    fn consent_alone_makes_no_other_host() {
        let allowed = ("graph.allow_other_host", "true");
        assert!(!read(&[allowed]).unwrap().0.other_host);
        let (graph, warnings) = read(&[allowed, ("graph.login_url", "http://[::1]:9/")]).unwrap();
        assert!(graph.other_host);
        assert_eq!(graph.base_url, "https://graph.microsoft.com");
        assert_eq!(graph.login_url, "http://[::1]:9");
        assert_eq!(warnings, ["graph.login_url: the host [::1] is not Microsoft's"]);
    }

    #[test]
    fn the_host_of_one_role_is_not_trusted_in_the_other() {
        check_error(&[("graph.base_url", "https://login.microsoftonline.com")], "not Microsoft's");
    }

    #[test]
    fn a_tenant_is_whole_or_absent() {
        assert!(read(&[]).unwrap().0.tenant.is_none());
        let tenant = read(&[TENANT[0], TENANT[1], (SECRET, HIDDEN)]).unwrap().0.tenant.unwrap();
        assert_eq!(tenant.id.as_str(), "57dab8b1-894c-409a-b240-bd8beae78896");
        assert_eq!(tenant.client_secret.expose(), HIDDEN);
        let needs = "is missing; a tenant needs tenant_id, client_id and a secret";
        check_error(&TENANT, &format!("`graph.client_secret_file` (built-in default): {needs}"));
        check_error(&[TENANT[0], (SECRET, HIDDEN)], "`graph.client_id` (built-in default): is");
        check_error(&[(SECRET, HIDDEN)], "`graph.tenant_id` (built-in default), `graph.client_id`");
    }

    #[test]
    fn a_tenant_that_could_leave_its_place_in_an_address_is_refused() {
        for wrong in ["a/b", "..", "a b", "common", "Organizations", "a?b", "ä.example"] {
            check_error(&[(TENANT_ID, wrong)], "`graph.tenant_id`: expected the tenant's GUID");
        }
    }

    #[test]
    fn a_secret_in_the_wrong_place_is_not_printed() {
        check_error(&[(CLIENT_ID, "hunter2~hunter2")], "found a value that is not shown");
        let fault = "`graph.client_secret_file`: the file cannot be read: entity not found";
        check_error(&[(SECRET_FILE, HIDDEN)], fault);
        check_error(
            &[(
                SECRET,
                "hunter2
hunter2",
            )],
            "expected one line of text, found a value",
        );
    }

    #[test]
    fn a_secret_comes_from_one_place_only() {
        let both = [TENANT[0], TENANT[1], (SECRET, HIDDEN), (SECRET_FILE, "/run/secret")];
        check_error(&both, "are both set; keep one of them");
    }

    #[test]
    fn a_secret_file_gives_its_line_and_a_warning_when_others_can_read_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(
            file.path(),
            "hunter2
",
        )
        .unwrap();
        let name = file.path().to_str().unwrap();
        let (graph, warnings) = read(&[TENANT[0], TENANT[1], (SECRET_FILE, name)]).unwrap();
        assert_eq!(graph.tenant.unwrap().client_secret.expose(), "hunter2");
        assert!(warnings.is_empty(), "{warnings:?}");
        #[cfg(unix)]
        {
            let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
            std::fs::set_permissions(file.path(), open).unwrap();
            let (_, warnings) = read(&[TENANT[0], TENANT[1], (SECRET_FILE, name)]).unwrap();
            let expected = format!(
                "graph.client_secret_file: every user of the machine can read {name}; chmod o-r it"
            );
            assert_eq!(warnings, [expected]);
        }
    }

    #[test]
    fn times_and_numbers_fit_together() {
        let times = [("graph.request_timeout", "30s"), ("graph.deadline", "30s")];
        check_error(&times, "make the first one shorter than the second");
        check_error(&[("graph.deadline", "0s")], "`graph.deadline`: expected a duration such as");
        check_error(&[("graph.concurrency", "0")], "expected a whole number from 1 to 10000");
        check_error(&[("graph.api", "beta-app")], "the beta forms: not available in this version");
        check_error(&[("graph.api", "v2")], "`graph.api`: expected v1.0, found \"v2\"");
    }
}
