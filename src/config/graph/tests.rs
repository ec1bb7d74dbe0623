//! Tenants, credentials and the way out, as every layer may give them.

use super::*;
use crate::config::Options;
use crate::config::source::Environment;
use crate::id::TenantId;

const TENANT: [(&str, &str); 2] = [
    (TENANT_ID, "{57DAB8B1-894C-409A-B240-BD8BEAE78896}"),
    (CLIENT_ID, "2a3b4c5d-0000-4000-8000-123456789abc"),
];
const TENANT_ID: &str = "graph.tenant_id";
const CLIENT_ID: &str = "graph.client_id";
const SECRET: &str = "graph.client_secret";
const SECRET_FILE: &str = "graph.client_secret_file";
const OTHER: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
const HIDDEN: &str = "hunter2-hunter2";

fn read(pairs: &[(&str, &str)]) -> Result<(GraphConfig, Vec<String>), String> {
    let mut source = Source::of(pairs);
    let allowed = source.switch("graph.allow_other_host");
    let graph = GraphConfig::read(&mut source, allowed);
    let warnings = source.finish().map_err(|errors| errors.to_string())?;
    Ok((graph, warnings))
}

/// A whole tenant and these.
fn with<'a>(pairs: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&TENANT[..], &[(SECRET, HIDDEN)], pairs].concat()
}

fn secrets(tenant: &TenantConfig) -> Vec<String> {
    match &tenant.credential {
        Credential::Secrets(secrets) => {
            secrets.iter().map(|secret| secret.expose().clone()).collect()
        }
        other => panic!("{other:?}"),
    }
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
        let (graph, warnings) = read(&with(&[("graph.cloud", cloud)])).unwrap();
        let tenant = graph.tenant.as_ref().unwrap();
        assert_eq!((tenant.base_url.as_str(), tenant.login_url.as_str()), (base_url, login_url));
        assert!(!graph.other_host && warnings.is_empty(), "{cloud}");
    }
}

#[test]
fn consent_alone_makes_no_other_host() {
    let allowed = ("graph.allow_other_host", "true");
    assert!(!read(&[allowed]).unwrap().0.other_host);
    let loopback = ("graph.login_url", "http://[::1]:9/");
    let (graph, warnings) = read(&with(&[allowed, loopback])).unwrap();
    assert!(graph.other_host);
    let tenant = graph.tenant.unwrap();
    assert_eq!(tenant.base_url, "https://graph.microsoft.com");
    assert_eq!(tenant.login_url, "http://[::1]:9");
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
    assert_eq!(secrets(&tenant), [HIDDEN]);
    let needs = "is missing; a tenant needs tenant_id, client_id and a credential";
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
    let fault = "`graph.client_secret_file`: the file cannot be read: there is no such file";
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
    assert_eq!(secrets(&graph.tenant.unwrap()), ["hunter2"]);
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
    let expected = "`graph.api`: expected v1.0, beta-app or beta-applications, found \"v2\"";
    check_error(&[("graph.api", "v2")], expected);
}

#[test]
fn a_further_tenant_has_everything_of_its_own() {
    let key = |last| format!("graph.tenants.{OTHER}.{last}");
    let [client_id, secret, cloud, api] = ["client_id", "client_secret", "cloud", "api"].map(key);
    let further = [
        (client_id.as_str(), "app-2"),
        (&secret, "second"),
        (&cloud, "usgov-l5"),
        (&api, "beta-app"),
    ];
    let first = ("graph.api", "beta-applications");
    let (graph, warnings) = read(&with(&[&[first], &further[..]].concat())).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    let all: Vec<_> = graph.tenants().collect();
    let [first, second] = all[..] else { panic!("{all:?}") };
    assert_eq!(first.api, Api::BetaApplications);
    assert_eq!((second.id.as_str(), second.client_id.as_str()), (OTHER, "app-2"));
    assert_eq!(
        (second.base_url.as_str(), second.api),
        ("https://dod-graph.microsoft.us", Api::BetaApp)
    );
    assert_eq!((secrets(first), secrets(second)), (vec![HIDDEN.into()], vec!["second".into()]));

    // Nor does it take anything over.
    let (graph, _) = read(&[&with(&[first_cloud()])[..], &further[..2]].concat()).unwrap();
    assert_eq!(graph.further[0].base_url, "https://graph.microsoft.com");
    let (graph, _) = read(&further).unwrap();
    assert!(graph.tenant.is_none() && graph.tenants().count() == 1);
}

fn first_cloud() -> (&'static str, &'static str) {
    ("graph.cloud", "usgov-l4")
}

#[test]
fn a_further_tenant_is_whole_and_not_the_first_one() {
    let client_id = format!("graph.tenants.{OTHER}.client_id");
    let secret = format!("graph.tenants.{OTHER}.client_secret");
    let missing = format!("`{client_id}` (built-in default): is missing; a tenant needs");
    check_error(&[(&secret, HIDDEN)], &missing);
    let missing =
        format!("`graph.tenants.{OTHER}.client_secret_file` (built-in default): is missing");
    check_error(&[(&client_id, "app")], &missing);
    let id = (TENANT_ID, OTHER);
    let same = [id, TENANT[1], (SECRET, HIDDEN), (&client_id, "app"), (&secret, HIDDEN)];
    check_error(&same, "are of one tenant; keep its keys in one of the two sections");
}

#[test]
fn a_tenant_in_two_spellings_is_not_set_twice() {
    let names = [OTHER.replace('-', "_"), OTHER.replace('-', "")]
        .map(|id| format!("CALLGATE_GRAPH__TENANTS__{}__CLIENT_ID", id.to_uppercase()));
    let pairs = names.each_ref().map(|name| (name.into(), "hunter2".into()));
    let error = Source::gather(&Options::default(), &Environment::of(pairs)).error_text();
    assert!(error.contains("is set twice, for two spellings of one tenant"), "{error}");
    assert!(names.iter().all(|name| error.contains(name)), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn a_tenant_has_one_credential() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "hunter2").unwrap();
    let name = file.path().to_str().unwrap();
    for other in [SECRET_FILE, "graph.certificate_file", "graph.federated_token_file"] {
        check_error(&with(&[(other, name)]), "are both set; keep one of them");
    }
    check_error(&with(&[("graph.managed_identity", "imds")]), "are both set; keep one of them");
    let key = [TENANT[0], TENANT[1], ("graph.key_file", name)];
    check_error(&key, "belongs to a certificate; set certificate_file as well");
    let token = [TENANT[0], TENANT[1], ("graph.federated_token_file", name)];
    let (graph, _) = read(&token).unwrap();
    assert!(matches!(graph.tenant.unwrap().credential, Credential::Federated(_)));
    let missing = [TENANT[0], TENANT[1], ("graph.federated_token_file", "/nonexistent/hunter2")];
    check_error(&missing, "`graph.federated_token_file`: the file cannot be read");
}

#[test]
fn a_file_with_two_secrets_has_the_new_one_first() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "new\nold\n").unwrap();
    let name = file.path().to_str().unwrap();
    let (graph, _) = read(&[TENANT[0], TENANT[1], (SECRET_FILE, name)]).unwrap();
    assert_eq!(secrets(&graph.tenant.unwrap()), ["new", "old"]);
    std::fs::write(file.path(), "hunter2\nold\nolder").unwrap();
    let fault = "holds more lines than it may";
    check_error(&[TENANT[0], TENANT[1], (SECRET_FILE, name)], fault);
}

#[test]
fn the_end_of_a_certificate_is_told_in_days() {
    let made = fixture::make("270101000000Z");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{}{}", made.certificate, made.key)).unwrap();
    let name = file.path().to_str().unwrap();
    let pairs = [TENANT[0], TENANT[1], ("graph.certificate_file", name)];
    let (graph, _) = read(&pairs).unwrap();
    for (now, is_soon, expected) in [
        (
            "2026-11-22T00:00:00Z",
            false,
            "is valid for 40 more days, until 2027-01-01T00:00:00.000Z",
        ),
        ("2026-12-30T12:00:00Z", true, "is valid for 1 more day, until"),
        ("2027-01-01T00:00:00Z", true, "is not valid any more since 2027-01-01"),
    ] {
        let told = graph.credentials(Timestamp::parse(now).unwrap());
        assert_eq!((told.len(), told[0].0), (1, is_soon), "{told:?}");
        assert!(told[0].1.contains(expected), "{told:?}");
    }
    std::fs::write(file.path(), &made.certificate).unwrap();
    let fault = "`graph.certificate_file`: the file holds no private key in PEM";
    check_error(&pairs, fault);
    let key = [&pairs[..], &[("graph.key_file", "/nonexistent/hunter2")]].concat();
    check_error(&key, "`graph.key_file`: the file cannot be read");
}

#[test]
fn a_machines_identity_is_asked_for_at_the_machine() {
    let imds = |address: &str| {
        let pairs = [TENANT[0], TENANT[1], ("graph.managed_identity", address)];
        match read(&pairs).unwrap().0.tenant.unwrap().credential {
            Credential::Managed(ManagedIdentity::Imds(url)) => url,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(imds("imds"), "http://169.254.169.254");
    assert_eq!(imds("http://127.0.0.1:8090/"), "http://127.0.0.1:8090");
    assert_eq!(imds("http://[fe80::1]"), "http://[fe80::1]");
    for wrong in [
        "http://192.0.2.7",
        "https://127.0.0.1",
        "http://hunter2@127.0.0.1",
        "http://127.0.0.1/hunter2",
        "http://169.254.169.254.example",
        "hunter2",
    ] {
        check_error(&[("graph.managed_identity", wrong)], "expected imds, app-service, or an http");
    }
    let needs = "app-service needs the variables IDENTITY_ENDPOINT and IDENTITY_HEADER";
    check_error(&[("graph.managed_identity", "app-service")], needs);
}

#[test]
fn an_app_service_names_its_identity_in_variables_of_its_own() {
    let read = |endpoint: &str| {
        let pairs = [
            ("CALLGATE_GRAPH__TENANT_ID", OTHER),
            ("CALLGATE_GRAPH__CLIENT_ID", "app"),
            ("CALLGATE_GRAPH__MANAGED_IDENTITY", "app-service"),
            ("IDENTITY_ENDPOINT", endpoint),
            ("IDENTITY_HEADER", HIDDEN),
        ];
        let environment = Environment::of(pairs.map(|(name, value)| (name.into(), value.into())));
        let mut source = Source::gather(&Options::default(), &environment);
        let graph = GraphConfig::read(&mut source, false);
        source.finish().map(|_| graph.tenant.unwrap()).map_err(|errors| errors.to_string())
    };
    let tenant = read("http://169.254.130.3:8081/msi/token").unwrap();
    let Credential::Managed(ManagedIdentity::AppService(url, header)) = &tenant.credential else {
        panic!("{tenant:?}")
    };
    assert_eq!(url.as_str(), "http://169.254.130.3:8081/msi/token");
    assert_eq!(header.expose(), HIDDEN);
    assert!(!format!("{tenant:?}").contains("hunter2"));
    let error = read("http://192.0.2.7/msi/token").unwrap_err();
    assert!(error.contains("of this machine or its link in IDENTITY_ENDPOINT"), "{error}");
}

#[test]
fn a_proxy_is_an_address_whose_password_is_not_shown() {
    const PROXY: &str = "graph.proxy";
    let (graph, _) = read(&[(PROXY, "http://user:hunter2@proxy.example:3128")]).unwrap();
    assert_eq!(graph.outbound.proxy.as_ref().unwrap().expose().port(), Some(3128));
    assert!(!format!("{graph:?}").contains("hunter2"));
    for wrong in ["proxy.example:3128", "socks5://hunter2", "http://hunter2/path", "http://"] {
        check_error(&[(PROXY, wrong)], "expected an address such as http://proxy.example:3128");
    }
    let set = vec![format!("{PROXY}=http://user:hunter2@proxy.example")];
    let options = Options { file: None, set };
    let mut source = Source::gather(&options, &Environment::default());
    GraphConfig::read(&mut source, false);
    let error = source.error_text();
    assert!(error.contains("every user of the machine can read command lines"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn further_authorities_are_certificates() {
    let made = [fixture::make("270101000000Z"), fixture::make("280101000000Z")];
    let file = tempfile::NamedTempFile::new().unwrap();
    let name = file.path().to_str().unwrap();
    let both = made.each_ref().map(|made| made.certificate.as_str()).concat();
    std::fs::write(file.path(), both).unwrap();
    assert_eq!(read(&[("graph.ca_file", name)]).unwrap().0.outbound.authorities.len(), 2);
    for (text, fault) in [
        ("hunter2", "`graph.ca_file`: the file holds no certificate in PEM"),
        (
            "-----BEGIN CERTIFICATE-----\naHVudGVy\n-----END CERTIFICATE-----",
            "`graph.ca_file`: the file holds a certificate that cannot be read",
        ),
    ] {
        std::fs::write(file.path(), text).unwrap();
        check_error(&[("graph.ca_file", name)], fault);
    }
}

#[test]
fn a_hint_names_the_keys_of_the_tenant_that_it_is_about() {
    let id = TenantId::new("57dab8b1-894c-409a-b240-bd8beae78896");
    for (first, further) in [
        ("check graph.client_id and graph.tenant_id, and", "check {}.client_id and {}, and"),
        ("graph.client_secret must be", "{}.client_secret must be"),
        ("graph.federated_token_file, graph.cloud", "{}.federated_token_file, {}.cloud"),
        ("the login does not know graph", "the login does not know graph"),
    ] {
        let section = "graph.tenants.57dab8b1-894c-409a-b240-bd8beae78896";
        assert_eq!(in_keys_of(&id, first), further.replace("{}", section));
    }
}
