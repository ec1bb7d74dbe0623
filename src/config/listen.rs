//! `listen.…` and `admin.…`: addresses and connection limits.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::IpNet;

use crate::config::source::Source;
use crate::config::value::Expected;
use crate::model::key::Peer;

const SHORT: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_hours(1);
const LONG: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_hours(24);
/// More would run into the operating system's limits first.
pub(super) const CONNECTIONS: RangeInclusive<usize> = 1..=1_000_000;

/// Where and how the legacy API listens.
#[derive(Clone, Debug)]
pub(crate) struct ListenConfig {
    pub(crate) address: SocketAddr,
    pub(crate) max_connections: usize,
    pub(crate) header_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) drain: Duration,
    /// Who is believed when they say whom a request is from, for the notifications as well.
    pub(crate) trusted_proxies: Vec<IpNet>,
}

/// Where `/livez` and `/readyz` are.
#[derive(Clone, Debug)]
pub(crate) struct AdminConfig {
    pub(crate) address: SocketAddr,
}

impl ListenConfig {
    pub(super) fn read(from: &mut Source) -> Self {
        Self {
            address: address(from, "listen.address"),
            max_connections: from.whole("listen.max_connections", CONNECTIONS),
            header_timeout: from.duration("listen.header_timeout", SHORT),
            idle_timeout: from.duration("listen.idle_timeout", LONG),
            drain: from.duration("listen.drain", SHORT),
            trusted_proxies: trusted_proxies(from),
        }
    }
}

impl AdminConfig {
    pub(super) fn read(from: &mut Source) -> Self {
        let address = address(from, "admin.address");
        if !address.ip().to_canonical().is_loopback() {
            from.warn(format!(
                "admin.address: {address} is no loopback address, so /livez and /readyz can be \
                 reached from other machines"
            ));
        }
        Self { address }
    }
}

/// The networks of the proxies in front of us.
fn trusted_proxies(from: &mut Source) -> Vec<IpNet> {
    const EXPECTED: &str = "a list of addresses or networks such as 10.0.0.5 or 10.0.0.0/8, without bits behind the network";
    let network = |text: &str| match Peer::written(text) {
        Ok(Peer::Network(net)) => Some(net),
        Ok(Peer::Host(_)) | Err(_) => None,
    };
    let networks = from.list("listen.trusted_proxies", EXPECTED, 0, network);
    for net in networks.iter().filter(|net| net.prefix_len() == 0) {
        from.warn(format!("listen.trusted_proxies: {net}: everybody may say who they are"));
    }
    networks
}

/// Records an error for each two of `listeners`, key and address, that cannot both be opened.
pub(super) fn check_apart(listeners: &[(&'static str, SocketAddr)], from: &mut Source) {
    for (index, (key, address)) in listeners.iter().enumerate() {
        for (other_key, other) in &listeners[index + 1..] {
            if take_the_same_port(address, other) {
                from.contradiction(
                    &[key, other_key],
                    format!("both take port {}; give one of them another port", address.port()),
                );
            }
        }
    }
}

fn take_the_same_port(one: &SocketAddr, other: &SocketAddr) -> bool {
    let overlap =
        one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    overlap && one.port() == other.port() && one.port() != 0
}

/// The address that `key` says.
pub(super) fn address(from: &mut Source, key: &'static str) -> SocketAddr {
    from.read(key, |value| {
        let address = value.text().and_then(|text| text.parse().ok());
        address.ok_or_else(|| Expected::new("an IP address and port such as 127.0.0.1:8080"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(listen: &str, admin: &str, expected: &str) {
        let mut source = Source::of(&[("listen.address", listen), ("admin.address", admin)]);
        let (listen, admin) = (ListenConfig::read(&mut source), AdminConfig::read(&mut source));
        let listeners = [("listen.address", listen.address), ("admin.address", admin.address)];
        check_apart(&listeners, &mut source);
        assert_eq!(source.error_text(), expected);
    }

    #[test]
    fn two_listeners_do_not_share_a_port() {
        let error = "`listen.address` (variable CALLGATE_LISTEN__ADDRESS), `admin.address` \
                     (variable CALLGATE_ADMIN__ADDRESS): both take port 9000; give one of them \
                     another port";
        check("127.0.0.1:9000", "127.0.0.1:9000", error);
        check("0.0.0.0:9000", "127.0.0.1:9000", error);
        check("127.0.0.1:9000", "[::]:9000", error);
        check("127.0.0.2:9000", "127.0.0.1:9000", "");
        check("127.0.0.1:0", "127.0.0.1:0", "");
    }

    #[test]
    fn a_wrong_address_is_not_compared_as_well() {
        let error = "`listen.address`: expected an IP address and port such as 127.0.0.1:8080, \
                     found \"localhost:8080\" (variable CALLGATE_LISTEN__ADDRESS)";
        check("localhost:8080", "127.0.0.1:8080", error);
    }

    #[test]
    fn proxies_are_addresses_and_networks() {
        let read = |text: &str| {
            let mut source = Source::of(&[("listen.trusted_proxies", text)]);
            let networks = ListenConfig::read(&mut source).trusted_proxies;
            (networks.iter().map(ToString::to_string).collect::<Vec<_>>(), source)
        };
        assert_eq!(read("").0, Vec::<String>::new());
        let (networks, source) = read("10.0.0.5, 192.0.2.0/24,::ffff:10.1.0.0/112, FD00::/8");
        assert_eq!(networks, ["10.0.0.5/32", "192.0.2.0/24", "10.1.0.0/16", "fd00::/8"]);
        assert_eq!(source.finish().unwrap(), Vec::<String>::new());
        for wrong in
            ["proxy.example.com", "10.0.0.0/33", "10.0.0.5,", "*", "10.0.0.5:80", "10.0.0.1/8"]
        {
            let error = read(wrong).1.error_text();
            let expected = "`listen.trusted_proxies`: expected a list of addresses or networks";
            assert!(error.starts_with(expected), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_proxy_that_is_everybody_gives_a_warning() {
        for (text, count) in [("0.0.0.0/0", 1), ("::/0,0.0.0.0/0", 2), ("128.0.0.0/1", 0)] {
            let mut source = Source::of(&[("listen.trusted_proxies", text)]);
            ListenConfig::read(&mut source);
            let warnings = source.finish().unwrap();
            assert_eq!(warnings.len(), count, "{text}");
            assert!(warnings.iter().all(|line| line.ends_with("everybody may say who they are")));
        }
    }

    #[test]
    fn an_admin_address_that_others_can_reach_gives_a_warning() {
        for (address, count) in [("0.0.0.0:8081", 1), ("10.1.2.3:8081", 1), ("[::1]:8081", 0)] {
            let mut source = Source::of(&[("admin.address", address)]);
            AdminConfig::read(&mut source);
            assert_eq!(source.finish().unwrap().len(), count, "{address}");
        }
    }
}
