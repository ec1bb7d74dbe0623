//! Who a request is from, when proxies that are trusted stand between: pure, and the only place that
//! reads `X-Forwarded-For`.
//!
//! Each proxy writes the address that it was asked from at the right end. So what stands at the left
//! is the client's own word, and the walk from the right ends at the first address that nobody
//! vouches for.

use std::net::{IpAddr, SocketAddr};

use hyper::header::{HeaderMap, HeaderName};
use ipnet::IpNet;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address that a request is from, which came from `peer`: that one, unless it is a trusted
/// proxy's; then the first from the right in `X-Forwarded-For` that is not. What is no address ends
/// the walk, and the one to its right counts.
pub(super) fn client(peer: IpAddr, trusted: &[IpNet], headers: &HeaderMap) -> IpAddr {
    let mut client = peer.to_canonical();
    let lines = headers.get_all(FORWARDED_FOR).iter().rev();
    let mut hops = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    while trusted.iter().any(|net| net.contains(&client))
        && let Some(hop) = hops.next().and_then(address)
    {
        client = hop;
    }
    client
}

/// An address as proxies write it: alone, in brackets, or with the port.
fn address(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?.trim_matches([' ', '\t']);
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    let address = text.parse().ok().or_else(with_port).or_else(bracketed);
    address.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const PROXY: &str = "10.0.0.1";

    fn trusted() -> Vec<IpNet> {
        vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]
    }

    fn forwarded(lines: &[&[u8]]) -> HeaderMap {
        let line = |line: &&[u8]| Some((FORWARDED_FOR, HeaderValue::from_bytes(line).ok()?));
        lines.iter().filter_map(line).collect()
    }

    fn from(peer: &str, lines: &[&str]) -> String {
        let lines: Vec<_> = lines.iter().map(|line| line.as_bytes()).collect();
        client(peer.parse().unwrap(), &trusted(), &forwarded(&lines)).to_string()
    }

    #[test]
    fn the_client_is_the_first_from_the_right_that_is_not_trusted() {
        for (peer, lines, expected) in [
            (PROXY, &[][..], PROXY),
            (PROXY, &["192.0.2.7"], "192.0.2.7"),
            (PROXY, &["198.51.100.1, 192.0.2.7"], "192.0.2.7"),
            (PROXY, &["198.51.100.1, 192.0.2.7,10.9.9.9"], "192.0.2.7"),
            (PROXY, &["198.51.100.1", "192.0.2.7", "10.9.9.9"], "192.0.2.7"),
            (PROXY, &["10.3.3.3, 10.2.2.2"], "10.3.3.3"),
            ("fd00::1", &["2001:db8::7"], "2001:db8::7"),
            ("::ffff:10.0.0.1", &["::ffff:192.0.2.7"], "192.0.2.7"),
            (PROXY, &["192.0.2.7, ::ffff:10.2.2.2"], "192.0.2.7"),
        ] {
            assert_eq!(from(peer, lines), expected, "{peer} {lines:?}");
        }
    }

    #[test]
    fn nobody_else_can_say_who_they_are() {
        for lines in [&["10.0.0.1"][..], &["198.51.100.1"], &["198.51.100.1, 10.0.0.1"]] {
            assert_eq!(from("192.0.2.7", lines), "192.0.2.7", "{lines:?}");
        }
        let headers = forwarded(&[b"198.51.100.1"]);
        assert_eq!(client(PROXY.parse().unwrap(), &[], &headers).to_string(), PROXY);
    }

    #[test]
    fn an_address_may_have_brackets_and_a_port() {
        for hop in ["192.0.2.7", " 192.0.2.7\t", "192.0.2.7:1234", "[::ffff:192.0.2.7]:1234"] {
            assert_eq!(from(PROXY, &[hop]), "192.0.2.7", "{hop}");
        }
        for hop in ["2001:db8::7", "[2001:db8::7]", "[2001:DB8::7]:443"] {
            assert_eq!(from(PROXY, &[hop]), "2001:db8::7", "{hop}");
        }
    }

    #[test]
    fn what_is_no_address_ends_the_walk() {
        for hop in ["", " ", "unknown", "_hidden", "pbx.example.com", "192.0.2", "1.2.3.4:99999"] {
            assert_eq!(from(PROXY, &[&format!("192.0.2.7, {hop}")]), PROXY, "{hop}");
            assert_eq!(from(PROXY, &[&format!("192.0.2.7, {hop}, 10.2.2.2")]), "10.2.2.2");
            assert_eq!(from(PROXY, &[&format!("{hop}, 192.0.2.7")]), "192.0.2.7", "{hop}");
        }
        assert_eq!(from(PROXY, &["192.0.2.7", ""]), PROXY);
    }

    proptest! {
        #[test]
        fn whoever_is_found_was_vouched_for(
            peer in any::<IpAddr>(),
            lines in prop::collection::vec(prop_oneof![
                "[0-9a-f:., \\[\\]]{0,40}".prop_map(String::into_bytes),
                prop::collection::vec(any::<u8>(), 0..40),
                prop::collection::vec((0_u8..12, any::<u8>()), 0..5).prop_map(|hops| {
                    let hops = hops.iter().map(|(net, host)| format!("{net}.0.0.{host}"));
                    hops.collect::<Vec<_>>().join(",").into_bytes()
                }),
            ], 0..4),
            is_proxy in any::<bool>(),
        ) {
            let peer = if is_proxy { PROXY.parse().unwrap() } else { peer.to_canonical() };
            let lines: Vec<_> = lines.iter().map(Vec::as_slice).collect();
            let (headers, trusted) = (forwarded(&lines), trusted());
            let is_trusted = |of: IpAddr| trusted.iter().any(|net| net.contains(&of));
            let lines = headers.get_all(FORWARDED_FOR).iter().map(HeaderValue::as_bytes);
            let joined = lines.collect::<Vec<_>>().join(&b","[..]);
            let mut hops: Vec<_> = joined.split(|byte| *byte == b',').map(address).collect();
            hops.reverse();

            let found = client(peer, &trusted, &headers);
            if is_trusted(peer) {
                // All to the right of it are trusted; it is not, or nothing that is an address follows.
                let right = hops.iter().take_while(|hop| hop.is_some_and(is_trusted)).count();
                let last = right.checked_sub(1).map_or(Some(peer), |last| hops[last]);
                prop_assert_eq!(Some(found), hops.get(right).copied().flatten().or(last));
            } else {
                prop_assert_eq!(found, peer);
            }
        }
    }
}
