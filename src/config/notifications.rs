//! `notifications.…`: where Graph's notifications arrive, whose signature proves them, and the bot
//! that they are passed on to.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use reqwest::Url;

use crate::config::endpoint::{self, UrlFault};
use crate::config::error::ConfigError;
use crate::config::graph::{GraphConfig, Outbound};
use crate::config::legacy::is_path;
use crate::config::listen;
use crate::config::source::Source;
use crate::config::value::Expected;
use crate::id::TenantId;
use crate::secret::Secret;

const ADDRESS: &str = "notifications.address";
const FORWARD_URL: &str = "notifications.forward_url";
const OPENID_URLS: &str = "notifications.openid_urls";

/// The hosts of OpenID documents and keys: Graph's calling service, and the two logins whose
/// documents bots are told to trust as well.
const KEY_HOSTS: &[&str] =
    &["login.microsoftonline.com", "login.microsoftonline.us", "login.windows.net"];
/// Every host below these serves keys of Microsoft's calling and bot services.
const KEY_DOMAINS: &[&str] = &[".skype.com", ".botframework.com", ".botframework.azure.us"];

/// How notifications are taken, proven and passed on.
#[derive(Clone, Debug)]
pub(crate) struct NotificationsConfig {
    pub(crate) address: SocketAddr,
    pub(crate) max_connections: usize,
    /// Without a trailing slash.
    pub(crate) path: String,
    /// The bot that had the callback before. Its query may hold a credential.
    pub(crate) forward_url: Option<Secret<Url>>,
    pub(crate) forward_timeout: Duration,
    /// At least one.
    pub(crate) openid_urls: Vec<Url>,
    /// At least one.
    pub(crate) issuers: Vec<String>,
    /// As configured, else the client ids; none when there is no client id either, and then no
    /// notification can be proven.
    pub(crate) audiences: Vec<String>,
    /// Unless audiences are configured, whom the notifications of each tenant are for.
    pub(crate) apps: Vec<(TenantId, String)>,
    /// The way to the keys.
    pub(crate) outbound: Outbound,
    /// Keys may come from hosts that are not Microsoft's.
    pub(crate) allow_other_host: bool,
}

impl NotificationsConfig {
    /// `allow_other_host` is what `graph.allow_other_host` says.
    pub(super) fn read(from: &mut Source, graph: &GraphConfig, allow_other_host: bool) -> Self {
        let address = listen::address(from, ADDRESS);
        let forward_url = from.optional(FORWARD_URL, forward_url);
        if let Some(url) = &forward_url
            && leads_to(url, address)
        {
            let problem = "notifications would be passed on to callgate itself; name the bot's \
                           own address";
            from.contradiction(&[ADDRESS, FORWARD_URL], problem);
        }
        let audiences = from.list("notifications.audiences", AUDIENCES, 0, name);
        let apps = graph.tenants().map(|tenant| (tenant.id.clone(), tenant.client_id.clone()));
        let apps: Vec<_> = if audiences.is_empty() { apps.collect() } else { Vec::new() };
        let client_ids: BTreeSet<_> = apps.iter().map(|(_, client_id)| client_id.clone()).collect();
        Self {
            address,
            max_connections: from.whole("notifications.max_connections", listen::CONNECTIONS),
            path: from.read("notifications.path", |value| {
                let path = value.text().filter(|text| is_path(text)).map(str::to_owned);
                path.ok_or_else(|| Expected::new(PATH))
            }),
            forward_url: forward_url.map(Secret::new),
            forward_timeout: from.duration(
                "notifications.forward_timeout",
                Duration::from_millis(1)..=Duration::from_mins(1),
            ),
            openid_urls: openid_urls(from, allow_other_host),
            issuers: from.list("notifications.issuers", ISSUERS, 1, name),
            audiences: audiences.into_iter().chain(client_ids).collect(),
            apps,
            outbound: graph.outbound.clone(),
            allow_other_host,
        }
    }
}

const PATH: &str = "a path such as /api/calls, without a slash at the end and without ? # % ; or \
                    blanks";
const ISSUERS: &str = "one or several issuers such as https://api.botframework.com";
const AUDIENCES: &str = "a list of application (client) ids, or of names such as api://botid-… \
                         with one of them in it";

/// Whether the keys of notifications may come from `host`.
pub(crate) fn is_key_host(host: &str) -> bool {
    KEY_HOSTS.contains(&host) || KEY_DOMAINS.iter().any(|domain| host.ends_with(domain))
}

/// The address of an OpenID document or of keys.
///
/// # Errors
///
/// When keys from there could have been changed on the way, or the address holds a credential.
pub(crate) fn parse_key_url(text: &str) -> Result<Url, UrlFault> {
    endpoint::parse_url(text)
}

fn openid_urls(from: &mut Source, allow_other_host: bool) -> Vec<Url> {
    let what = "one or several https addresses such as \
                https://api.aps.skype.com/v1/.well-known/OpenIdConfiguration (http for loopback \
                hosts only), without user name, password or fragment";
    let urls = from.list(OPENID_URLS, what, 1, |text| parse_key_url(text).ok());
    for url in &urls {
        let host = url.host_str().unwrap_or_default().to_owned();
        if is_key_host(&host) {
            continue;
        }
        if allow_other_host {
            from.warn(format!(
                "{OPENID_URLS}: the host {host} is not Microsoft's, and who controls it can make \
                 notifications up"
            ));
        } else {
            let origin = from.origin(OPENID_URLS);
            from.refuse(
                OPENID_URLS,
                ConfigError::OtherHost { key: OPENID_URLS.into(), host, origin },
            );
        }
    }
    urls
}

fn forward_url(text: &str) -> Result<Url, Expected> {
    let usable = "the bot's https address such as https://bot.example.com/api/calls";
    endpoint::parse_url(text).map_err(|fault| {
        Expected(match fault {
            UrlFault::NoUrl => usable.to_owned(),
            UrlFault::NotSecure => format!("{usable} (http for loopback hosts only)"),
            // It would replace the header that proves the notification to the bot.
            UrlFault::User => format!("{usable} without user name or password"),
            UrlFault::Fragment => format!("{usable} without a fragment"),
        })
    })
}

/// Whether a request to `url` arrives at the listener at `address`, as far as can be told without
/// asking anybody.
fn leads_to(url: &Url, address: SocketAddr) -> bool {
    let host = url.host_str().unwrap_or_default();
    let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let listens_at = address.ip().to_canonical();
    let reaches = match literal.map(|ip| ip.to_canonical()) {
        // What is sent to the unspecified address arrives at this machine.
        Ok(ip) if ip.is_unspecified() => listens_at.is_loopback() || listens_at.is_unspecified(),
        Ok(ip) if listens_at.is_unspecified() => ip.is_loopback(),
        Ok(ip) => ip == listens_at,
        Err(_) => host == "localhost" && (listens_at.is_loopback() || listens_at.is_unspecified()),
    };
    reaches && address.port() != 0 && url.port_or_known_default() == Some(address.port())
}

/// An issuer or audience; it is compared, so nothing invisible may be in it.
fn name(text: &str) -> Option<String> {
    let is_plain = text.chars().all(|c| c.is_ascii_graphic());
    (is_plain && text.len() <= 512).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT_ID: &str = "2891555a-92ff-42e6-80fa-6e1300c6b5c6";

    fn read(pairs: &[(&str, &str)]) -> Result<(NotificationsConfig, Vec<String>), String> {
        let mut source = Source::of(pairs);
        let allowed = source.switch("graph.allow_other_host");
        let graph = GraphConfig::read(&mut source, allowed);
        let notifications = NotificationsConfig::read(&mut source, &graph, allowed);
        let warnings = source.finish().map_err(|errors| errors.to_string())?;
        Ok((notifications, warnings))
    }

    #[track_caller]
    fn check_error(pairs: &[(&str, &str)], expected: &str) {
        let error = read(pairs).map(|_| ()).unwrap_err();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }

    #[test]
    fn the_audience_is_the_client_id_unless_others_are_named() {
        let tenant = [
            ("graph.tenant_id", "contoso.example"),
            ("graph.client_id", CLIENT_ID),
            ("graph.client_secret", "hunter2"),
        ];
        assert_eq!(read(&tenant).unwrap().0.audiences, [CLIENT_ID]);
        let named = [&tenant[..], &[("notifications.audiences", "api://botid-1, 2")]].concat();
        assert_eq!(read(&named).unwrap().0.audiences, ["api://botid-1", "2"]);
        assert!(read(&[]).unwrap().0.audiences.is_empty());
    }

    #[test]
    fn a_name_that_is_compared_holds_nothing_invisible() {
        check_error(&[("notifications.issuers", "")], "expected one or several issuers such as");
        check_error(&[("notifications.issuers", "a b")], "expected one or several issuers such as");
        let error = "expected a list of application (client) ids";
        check_error(&[("notifications.audiences", "hunter2\u{e4}")], error);
    }

    #[test]
    fn keys_come_from_hosts_of_microsoft() {
        for url in [
            "https://api.aps.skype.com/v1/.well-known/OpenIdConfiguration",
            "https://login.botframework.com/v1/.well-known/openidconfiguration",
            "https://apigcch.botframework.azure.us/v1/.well-known/OpenIdConfiguration",
            "https://LOGIN.microsoftonline.com/common/v2.0/.well-known/openid-configuration?a=b",
        ] {
            assert!(read(&[(OPENID_URLS, url)]).unwrap().1.is_empty(), "{url}");
        }
        for host in [
            "skype.com.example",
            "api.aps.skype.com.example",
            "evilskype.com",
            "skype.com",
            "x.login.microsoftonline.com",
            "www.microsoft.com",
            "127.0.0.1",
        ] {
            let error = format!(
                "`notifications.openid_urls`: the host {host} is not Microsoft's; set \
                 graph.allow_other_host = true if that is meant (variable \
                 CALLGATE_NOTIFICATIONS__OPENID_URLS)"
            );
            check_error(&[(OPENID_URLS, &format!("https://{host}/keys"))], &error);
        }
    }

    #[test]
    fn keys_of_another_host_need_consent_and_give_a_warning() {
        let simulator = "http://127.0.0.1:9000/v1/.well-known/OpenIdConfiguration";
        let (read, warnings) =
            read(&[(OPENID_URLS, simulator), ("graph.allow_other_host", "true")]).unwrap();
        assert_eq!(read.openid_urls[0].as_str(), simulator);
        assert!(read.allow_other_host);
        let expected = "notifications.openid_urls: the host 127.0.0.1 is not Microsoft's, and who \
                        controls it can make notifications up";
        assert_eq!(warnings, [expected]);
    }

    #[test]
    fn keys_do_not_come_over_a_line_that_others_can_write_to() {
        let error = "expected one or several https addresses such as";
        for wrong in [
            "http://api.aps.skype.com/v1",
            "https://user:hunter2@api.aps.skype.com/v1",
            "https://api.aps.skype.com/v1#hunter2",
            "ftp://127.0.0.1/",
            "",
        ] {
            let text = read(&[(OPENID_URLS, wrong)]).map(|_| ()).unwrap_err();
            assert!(text.contains(error), "{wrong}: {text}");
        }
    }

    #[test]
    fn the_bot_is_anywhere_that_is_safe_and_its_address_is_never_shown() {
        for url in ["https://bot.example.com/api/calls?code=hunter2", "http://localhost:9001/a"] {
            let (read, warnings) = read(&[(FORWARD_URL, url)]).unwrap();
            assert_eq!(read.forward_url.as_ref().unwrap().expose().as_str(), url);
            assert!(warnings.is_empty());
            assert!(!format!("{read:?}").contains("hunter2"));
        }
        for (wrong, reason) in [
            ("hunter2", ", found a value that is not shown"),
            ("http://bot.example.com/?code=hunter2", " (http for loopback hosts only), found a"),
            ("https://hunter2@bot.example.com/", " without user name or password, found a"),
            ("https://bot.example.com/#hunter2", " without a fragment, found a"),
        ] {
            let expected = "the bot's https address such as https://bot.example.com/api/calls";
            check_error(&[(FORWARD_URL, wrong)], &format!("{expected}{reason}"));
        }
    }

    #[test]
    fn notifications_are_not_passed_on_in_a_circle() {
        let error = "passed on to callgate itself; name the bot's own address";
        for (address, url, is_circle) in [
            ("127.0.0.1:8082", "http://127.0.0.1:8082/api/calls", true),
            ("127.0.0.1:8082", "http://localhost:8082/other?code=hunter2", true),
            ("0.0.0.0:443", "https://localhost/", true),
            ("[::]:8082", "http://[::1]:8082/", true),
            ("192.0.2.1:443", "https://192.0.2.1/", true),
            ("[::ffff:127.0.0.1]:8082", "https://0.0.0.0:8082/", true),
            ("127.0.0.1:8082", "http://127.0.0.1:8083/api/calls", false),
            ("127.0.0.1:8082", "https://bot.example.com:8082/", false),
            ("0.0.0.0:8082", "https://192.0.2.1:8082/", false),
            ("127.0.0.1:0", "http://127.0.0.1:9000/", false),
        ] {
            let pairs = [(ADDRESS, address), (FORWARD_URL, url)];
            if is_circle {
                check_error(&pairs, error);
            } else {
                assert!(read(&pairs).is_ok(), "{address} {url}");
            }
        }
    }

    #[test]
    fn a_path_is_one_that_a_request_can_have() {
        assert_eq!(read(&[("notifications.path", "/a/b")]).unwrap().0.path, "/a/b");
        for wrong in ["", "api/calls", "/", "/api/calls/", "/a?b", "/a b"] {
            let error = "`notifications.path`: expected a path such as /api/calls";
            check_error(&[("notifications.path", wrong)], error);
        }
    }
}
