//! The layers together: which one wins, what is reported, and that the documentation is complete.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use tempfile::NamedTempFile;

use super::*;
use crate::config::graph::Credential;
use crate::config::log::LogFormat;

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn environment(pairs: &[(&str, &str)]) -> Environment {
    Environment::of(pairs.iter().map(|(name, value)| (name.into(), value.into())))
}

/// Reads the layers; an error text calls the file `callgate.toml`.
fn read(text: &str, variables: &[(&str, &str)], set: &[&str]) -> Result<Config, String> {
    let file = file(text);
    let set = set.iter().map(|&set| set.to_owned()).collect();
    let options = Options { file: Some(file.path().to_owned()), set };
    Config::read(&options, &environment(variables)).map_err(|errors| {
        errors.to_string().replace(file.path().to_str().unwrap(), "callgate.toml")
    })
}

#[track_caller]
fn check_error(text: &str, variables: &[(&str, &str)], set: &[&str], expected: &str) {
    let error = read(text, variables, set).map(|_| ()).unwrap_err();
    assert_eq!(error, expected);
}

#[test]
fn each_layer_beats_the_one_below() {
    let text = "listen.drain = '2s'";
    let variables = [("CALLGATE_LISTEN__DRAIN", "3s")];
    let drain = |config: Result<Config, String>| config.unwrap().listen.drain.as_secs();
    assert_eq!(Config::defaults().listen.drain, Duration::from_secs(8));
    assert_eq!(drain(read(text, &[], &[])), 2);
    assert_eq!(drain(read(text, &variables, &[])), 3);
    assert_eq!(drain(read(text, &variables, &["listen.drain=4s", "listen.drain=5s"])), 5);
}

#[test]
fn a_value_that_is_covered_need_not_be_right() {
    let config = read("listen.drain = 2", &[("CALLGATE_LISTEN__DRAIN", "3s")], &[]).unwrap();
    assert_eq!(config.listen.drain, Duration::from_secs(3));
}

#[test]
fn the_command_line_names_the_file_before_the_environment_does() {
    let (one, other) = (file("log.level = 'warn'"), file("log.level = 'error'"));
    let environment = environment(&[("CALLGATE_CONFIG", one.path().to_str().unwrap())]);
    let config = Config::read(&Options::default(), &environment).unwrap();
    assert_eq!(
        (config.file.as_deref(), config.log.level),
        (Some(one.path()), tracing::Level::WARN)
    );
    let options = Options { file: Some(other.path().to_owned()), ..Options::default() };
    let config = Config::read(&options, &environment).unwrap();
    assert_eq!(config.file.as_deref(), Some(other.path()));
    assert_eq!(config.log.level, tracing::Level::ERROR);
}

#[test]
fn an_empty_name_of_a_file_names_none() {
    let environment = environment(&[("CALLGATE_CONFIG", "")]);
    assert_eq!(Config::read(&Options::default(), &environment).unwrap().file, None);
}

#[test]
fn a_file_that_cannot_be_read_is_an_error() {
    let options = Options { file: Some("/nonexistent/callgate.toml".into()), ..Options::default() };
    let error = Config::read(&options, &Environment::default()).unwrap_err().to_string();
    let expected = "/nonexistent/callgate.toml: cannot be read; check its name and permissions: ";
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn every_error_says_where_it_is_and_what_to_do() {
    let wrong = "listen.max_connections = 'ten'";
    let expected = "`listen.max_connections`: expected a whole number from 1 to 1000000, found \
                    \"ten\" (callgate.toml, line 1)";
    check_error(wrong, &[], &[], expected);
    let cases = [
        (
            "\n[listen]\nadress = '127.0.0.1:1'",
            "`listen.adress`: unknown key; did you mean listen.address? (callgate.toml, line 3)",
        ),
        (
            "colour = 1",
            "`colour`: unknown key; remove it or correct its name (callgate.toml, line 1)",
        ),
        (
            "[colour]",
            "`colour`: unknown key; remove it or correct its name (callgate.toml, line 1)",
        ),
        (
            "'listen.address' = '127.0.0.1:1'",
            "`\"listen.address\"`: unknown key; did you mean listen.address? \
             (callgate.toml, line 1)",
        ),
        (
            "listen = 1",
            "`listen`: is a section and has no value; set a key in it (callgate.toml, line 1)",
        ),
        (
            "store.direct_url = 'a'",
            "`store.direct_url`: not available in this version; remove it (callgate.toml, line 1)",
        ),
        (
            "[graph.tenants.one]\nclient_id = 'a'",
            "`graph.tenants.one.client_id`: a further tenant's section is named by its GUID, such \
             as [graph.tenants.72f988bf-86f1-41af-91ab-2d7cd011db47] (callgate.toml, line 2)",
        ),
        (
            "legacy.match_roster = 1",
            "`legacy.match_roster`: expected true or false, found 1 (callgate.toml, line 1)",
        ),
        (
            "legacy.codes = 'all'",
            "`legacy.codes`: expected verba or documented, found \"all\" (callgate.toml, line 1)",
        ),
        (
            "log.level = ['info']",
            "`log.level`: expected error, warn, info, debug or trace, found a list \
             (callgate.toml, line 1)",
        ),
        (
            "limits.body = '1GB'",
            "`limits.body`: expected a size such as 1024 or 64KiB, from 128B to 16MiB, found \
             \"1GB\" (callgate.toml, line 1)",
        ),
        (
            "legacy.wait = 10",
            "`legacy.wait`: expected a duration such as 250ms, 10s, 5m or 1h, from 1ms to 10m, \
             found 10 (callgate.toml, line 1)",
        ),
        (
            "log.format = {}",
            "`log.format`: expected a text, found a section (callgate.toml, line 1)",
        ),
    ];
    for (text, expected) in cases {
        check_error(text, &[], &[], expected);
    }
}

#[test]
fn a_variable_of_ours_that_sets_nothing_is_an_error() {
    for (name, expected) in [
        (
            "CALLGATE_LISTEN_ADDRESS",
            "CALLGATE_LISTEN_ADDRESS: unknown variable; did you mean CALLGATE_LISTEN__ADDRESS?",
        ),
        ("CALLGATE_COLOUR", "CALLGATE_COLOUR: unknown variable; remove it or correct its name"),
        (
            "CALLGATE_STORE__DIRECT_URL",
            "`store.direct_url`: not available in this version; remove it \
             (variable CALLGATE_STORE__DIRECT_URL)",
        ),
    ] {
        check_error("", &[(name, "hunter2")], &[], expected);
    }
}

#[test]
fn variables_that_others_set_are_no_concern_of_ours() {
    let config = read(
        "",
        &[
            ("PATH", "/bin"),
            ("callgate_listen__drain", "1s"),
            ("CALLGATE_PORT", "tcp://10.0.0.1:8080"),
            ("CALLGATE_PORT_8080_TCP_ADDR", "10.0.0.1"),
            ("CALLGATE_SERVICE_HOST", "10.0.0.1"),
            ("CALLGATE_ADMIN_SERVICE_PORT_HTTP", "8081"),
        ],
        &[],
    );
    assert_eq!(config.unwrap().listen.drain, Duration::from_secs(8));
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_no_text_is_an_error() {
    use std::os::unix::ffi::OsStringExt;

    let value = OsString::from_vec(vec![0xff]);
    let environment = Environment::of([("CALLGATE_LOG__LEVEL".into(), value)]);
    let error = Config::read(&Options::default(), &environment).unwrap_err().to_string();
    assert_eq!(error, "CALLGATE_LOG__LEVEL: expected text in UTF-8, found other bytes");
}

#[test]
fn a_secret_is_refused_on_the_command_line() {
    let expected = "`graph.client_secret`: refused in --set, because every user of the machine can \
                    read command lines; use `graph.client_secret_file` or the variable \
                    CALLGATE_GRAPH__CLIENT_SECRET";
    check_error("", &[], &["graph.client_secret=hunter2"], expected);
    let expected = "--set number 2: expected key=value, such as --set log.level=debug";
    check_error("", &[], &["log.level=warn", "hunter2"], expected);
    let expected = "`graph.client_secrt`: unknown key; did you mean graph.client_secret? (--set)";
    check_error("", &[], &["graph.client_secrt=hunter2"], expected);
}

#[test]
fn all_errors_are_reported_at_once() {
    let text = "[listen]\naddress = 'here'\nmax_connections = 0\n[colour]\n[legacy]\npaths = []";
    let set = ["store.url=mysql:", "log.level=loud"];
    let error = read(text, &[("CALLGATE_LIMITS__BODY", "x")], &set).map(|_| ()).unwrap_err();
    let keys: Vec<_> = error.lines().map(|line| line.split('`').nth(1).unwrap()).collect();
    let expected = [
        "colour",
        "listen.address",
        "listen.max_connections",
        "store.url",
        "legacy.paths",
        "limits.body",
        "log.level",
    ];
    assert_eq!(keys, expected);
}

#[test]
fn a_secret_is_in_no_text_that_can_be_printed() {
    let text =
        "[graph]\ntenant_id = 'contoso.example'\nclient_id = 'app'\nclient_secret = 'hunter2'";
    let config = read(text, &[], &[]).unwrap();
    let credential = &config.graph.tenant.as_ref().unwrap().credential;
    assert!(matches!(credential, Credential::Secrets(all) if all[0].expose() == "hunter2"));
    // Notifications name the tenant by its GUID.
    assert_eq!(config.missing_for_real_use().len(), 1);
    let guid = text.replace("contoso.example", "72f988bf-86f1-41af-91ab-2d7cd011db47");
    assert!(read(&guid, &[], &[]).unwrap().missing_for_real_use().is_empty());
    assert!(!format!("{config:?}").contains("hunter2"));
    for wrong in ["['hunter2']", "'hunter2\nhunter2'", "'''hunter2\nhunter2'''"] {
        let text = format!("graph.client_secret = {wrong}");
        let file = file(&text);
        let options = Options { file: Some(file.path().to_owned()), ..Options::default() };
        let errors = Config::read(&options, &Environment::default()).unwrap_err();
        let printed = format!("{errors} {errors:?}");
        assert!(!printed.contains("hunter2"), "{printed}");
    }
}

#[test]
fn a_file_with_a_secret_in_it_that_others_can_read_gives_a_warning() {
    let text = "graph = { tenant_id = 'a', client_id = 'b', client_secret = 'c' }";
    assert_eq!(read(text, &[], &[]).unwrap().warnings(), [""; 0]);
    #[cfg(unix)]
    {
        let file = file(text);
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        std::fs::set_permissions(file.path(), open).unwrap();
        let options = Options { file: Some(file.path().to_owned()), ..Options::default() };
        let config = Config::read(&options, &Environment::default()).unwrap();
        assert_eq!(config.warnings().len(), 1);
        assert!(
            config.warnings()[0].starts_with("the configuration file with graph.client_secret")
        );
    }
}

#[test]
fn the_defaults_are_those_of_the_contract() {
    let config = Config::defaults();
    assert_eq!(config.listen.address.to_string(), "127.0.0.1:8080");
    assert_eq!(config.admin.address.to_string(), "127.0.0.1:8081");
    assert_eq!(config.listen.max_connections, 10_000);
    assert_eq!(config.listen.idle_timeout, Duration::from_mins(2));
    assert_eq!(config.store.path, Path::new("callgate.db"));
    assert_eq!(config.store.pepper_file, Path::new("callgate.db.pepper"));
    assert_eq!(config.graph.concurrency, 256);
    assert_eq!(config.graph.deadline, Duration::from_hours(24));
    let notifications = &config.notifications;
    assert_eq!(notifications.address.to_string(), "127.0.0.1:8082");
    assert_eq!(notifications.path, "/api/calls");
    assert_eq!(notifications.forward_timeout, Duration::from_secs(10));
    assert_eq!(config.legacy.paths, ["/verba/api"]);
    assert_eq!(config.limits.request_line, 8 << 10);
    assert_eq!(config.limits.headers, 32 << 10);
    assert_eq!(config.limits.body, 64 << 10);
    assert_eq!(config.limits.value, 1024);
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.missing_for_real_use().len(), 1);
    assert!(config.warnings().is_empty() && !config.graph.other_host);
}

#[test]
fn the_documented_defaults_and_the_code_have_the_same_keys() {
    let lines = file::read(Path::new("defaults.toml"), source::DEFAULTS).unwrap();
    let documented: Vec<_> = lines.iter().map(|line| line.name.as_str()).collect();
    assert_eq!(documented, keys::AVAILABLE);
}

#[test]
fn each_documented_key_has_a_comment_of_its_own() {
    let mut comments = BTreeSet::new();
    let mut comment = String::new();
    for line in source::DEFAULTS.lines() {
        if line.starts_with('#') {
            comment.push_str(line);
        } else if !line.starts_with('[') {
            assert!(line.is_empty() || comment.len() > 2, "no comment before: {line}");
            assert!(line.is_empty() || comments.insert(comment.clone()), "twice: {comment}");
            comment.clear();
        } else {
            comment.clear();
        }
    }
}

#[test]
fn each_key_is_read() {
    for key in keys::AVAILABLE {
        let errors = read(&format!("{key} = 1.5"), &[], &[]).map(|_| ()).unwrap_err();
        assert!(errors.starts_with(&format!("`{key}`: expected ")), "{errors}");
    }
}

#[test]
fn the_documented_defaults_are_a_valid_file() {
    let config = read(source::DEFAULTS, &[], &[]).unwrap();
    let shown = |config: &Config| format!("{:?}", Config { file: None, ..config.clone() });
    assert_eq!(shown(&config), shown(&Config::defaults()));
}

fn any_key() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(keys::AVAILABLE)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_text_of_a_file_makes_it_panic(
        key in any_key(),
        value in "[0-9.]{0,6}|\"[^\"\n]{0,12}\"|\\[('[^'\n]{0,6}',?){0,3}\\]|(?s).{0,40}",
        rest in "(?s).{0,40}",
    ) {
        let _ = read(&format!("{key} = {value}\n{rest}"), &[], &[]);
    }

    #[test]
    fn no_variable_and_no_set_makes_it_panic(
        key in any_key(),
        name in "[A-Z_.a-z]{0,20}|.{0,20}",
        value in any::<String>(),
    ) {
        let unknown = format!("CALLGATE_{name}");
        let variables = [(keys::variable_of(key), value.clone()), (unknown, value.clone())];
        let pairs = variables.map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let set = vec![format!("{key}={value}"), value];
        if let Err(errors) = Config::read(&Options { file: None, set }, &Environment::of(pairs)) {
            prop_assert!(errors.lines().all(|line| line.lines().count() == 1));
        }
    }
}
