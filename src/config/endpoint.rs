//! Where Graph and its login are: which addresses are safe to send a credential to.
//!
//! The address is read by the parser of the HTTP client, so that no two opinions exist on which
//! host it names.

use std::net::IpAddr;

use reqwest::Url;

use crate::config::error::ConfigError;
use crate::config::source::Source;
use crate::config::value::Expected;

/// The hosts of Graph, in all clouds.
pub(super) const GRAPH_HOSTS: &[&str] = &[
    "graph.microsoft.com",
    "graph.microsoft.us",
    "dod-graph.microsoft.us",
    "microsoftgraph.chinacloudapi.cn",
];

/// The hosts that give tokens, in all clouds.
pub(super) const LOGIN_HOSTS: &[&str] = &[
    "login.microsoftonline.com",
    "login.microsoftonline.us",
    "login.microsoft.com",
    "login.windows.net",
    "login.partner.microsoftonline.cn",
    "login.chinacloudapi.cn",
];

/// An address without a trailing slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) url: String,
    pub(super) host: String,
}

/// The address that `key` names, if any; an error is on record when its host is neither in
/// `microsoft` nor allowed.
pub(super) fn read(
    from: &mut Source,
    key: &str,
    microsoft: &[&str],
    allow_other_host: bool,
) -> Option<Endpoint> {
    let endpoint = from.optional(key.to_owned(), parse)?;
    let host = endpoint.host.clone();
    if !microsoft.contains(&host.as_str()) && !allow_other_host {
        let origin = from.origin(key);
        let error = ConfigError::OtherHost { key: key.to_owned().into(), host, origin };
        from.refuse(key.to_owned(), error);
    }
    Some(endpoint)
}

/// Why an address cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UrlFault {
    /// It is no address, or has no host.
    #[error("is no address")]
    NoUrl,
    /// What comes from there could have been changed on the way.
    #[error("is not https")]
    NotSecure,
    /// It holds a user name or password.
    #[error("holds a user name or password")]
    User,
    /// It has a fragment, which is never sent.
    #[error("has a fragment")]
    Fragment,
}

/// An `https` address with a host, or an `http` one of this machine, without user name, password
/// and fragment.
///
/// # Errors
///
/// When it is anything else.
pub(super) fn parse_url(text: &str) -> Result<Url, UrlFault> {
    let Ok(url) = Url::parse(text) else { return Err(UrlFault::NoUrl) };
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or(UrlFault::NoUrl)?;
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(host) => {}
        _ => return Err(UrlFault::NotSecure),
    }
    // A name without a password, or none of both, still leaves an `@`, which a path may have.
    let authority = text.find("//").map_or(text, |start| &text[start + 2..]);
    let authority = authority.split(['/', '\\', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') || !url.username().is_empty() || url.password().is_some() {
        return Err(UrlFault::User);
    }
    if text.contains('#') { Err(UrlFault::Fragment) } else { Ok(url) }
}

fn parse(text: &str) -> Result<Endpoint, Expected> {
    let usable = "an https address such as https://graph.microsoft.com";
    let expected = |what: &str| Expected(format!("{usable}{what}"));
    let without_fragment = text.split('#').next().unwrap_or_default();
    let url = parse_url(without_fragment).map_err(|fault| match fault {
        UrlFault::NoUrl => expected(""),
        UrlFault::NotSecure => expected(" (http for loopback hosts only)"),
        UrlFault::User => expected(" without user name or password"),
        UrlFault::Fragment => expected(" without query or fragment"),
    })?;
    if text.contains('@') {
        return Err(expected(" without user name or password"));
    }
    // An empty query still leaves its `?`.
    if text.contains(['?', '#']) {
        return Err(expected(" without query or fragment"));
    }
    let path = url.path().trim_end_matches('/');
    if path.ends_with("/v1.0") || path.ends_with("/beta") {
        return Err(expected(" without the version"));
    }
    let host = url.host_str().unwrap_or_default().to_owned();
    Ok(Endpoint { url: url.as_str().trim_end_matches('/').to_owned(), host })
}

/// Whether `host`, a name or an address, is this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_address_is_kept_without_its_trailing_slash() {
        for (text, url, host) in [
            ("https://graph.microsoft.com", "https://graph.microsoft.com", "graph.microsoft.com"),
            ("HTTPS://Graph.Microsoft.com/", "https://graph.microsoft.com", "graph.microsoft.com"),
            ("https://proxy.example:8443/g//", "https://proxy.example:8443/g", "proxy.example"),
            ("http://127.0.0.1:8090/", "http://127.0.0.1:8090", "127.0.0.1"),
            ("http://localhost:8090", "http://localhost:8090", "localhost"),
            ("http://[::1]:8090", "http://[::1]:8090", "[::1]"),
        ] {
            let expected = Endpoint { url: url.to_owned(), host: host.to_owned() };
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn an_address_that_a_credential_must_not_go_to_is_refused() {
        for (text, reason) in [
            ("graph.microsoft.com", ""),
            ("https://", ""),
            ("http://graph.microsoft.com", " (http for loopback hosts only)"),
            ("http://127.0.0.1.example", " (http for loopback hosts only)"),
            ("http://localhost.example", " (http for loopback hosts only)"),
            ("ftp://127.0.0.1", " (http for loopback hosts only)"),
            ("https://user:password@graph.microsoft.com", " without user name or password"),
            ("https://graph.microsoft.com@evil.example", " without user name or password"),
            ("https://graph.microsoft.com/?a=b", " without query or fragment"),
            ("https://graph.microsoft.com#a", " without query or fragment"),
            ("https://graph.microsoft.com/v1.0/", " without the version"),
            ("https://graph.microsoft.com/beta", " without the version"),
        ] {
            let expected = format!("an https address such as https://graph.microsoft.com{reason}");
            assert_eq!(parse(text), Err(Expected(expected)), "{text}");
        }
    }

    #[test]
    fn a_host_that_only_looks_like_microsofts_needs_consent() {
        for host in ["graph.microsoft.com.example", "xgraph.microsoft.com", "127.0.0.1"] {
            let url = format!("https://{host}");
            let mut source = Source::of(&[("graph.base_url", &url)]);
            read(&mut source, "graph.base_url", GRAPH_HOSTS, false);
            let expected = format!(
                "`graph.base_url`: the host {host} is not Microsoft's; set graph.allow_other_host = \
                 true if that is meant (variable CALLGATE_GRAPH__BASE_URL)"
            );
            assert_eq!(source.error_text(), expected);
        }
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_accepted_again_unchanged(
            text in "https?://[a-z0-9.\\[\\]:@-]{1,12}/?[ -~]{0,12}|\\PC{0,40}"
        ) {
            if let Ok(endpoint) = parse(&text) {
                prop_assert!(!endpoint.url.ends_with('/'));
                prop_assert_eq!(parse(&endpoint.url), Ok(endpoint));
            }
        }
    }
}
