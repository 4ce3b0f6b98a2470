//! The address of a request's client, behind trusted proxies.
//!
//! Threat: a client forges `X-Forwarded-For` to evade the rate limit of its address. Policy: every proxy appends the
//! address of its own peer, so the header is read from its end, and only as far as the proxies are trusted.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use ipnet::IpNet;

/// The address of the client that sent a request. It is in the extensions of every request that came over TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

/// The address of the client: that of the peer, unless the peer is a trusted proxy. Then it is the address that the proxy
/// reports; if that is a trusted proxy too, the address that this one reports, and so on.
///
/// An address that can't be parsed ends the search, and the last address before it is returned.
pub fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut client = peer.to_canonical();
    let lines = headers.get_all("x-forwarded-for").iter().rev();
    // Split bytes, not text: a client may send invalid UTF-8 before the address that the proxy appends.
    let mut hops = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    while is_trusted(&client) {
        match hops.next().map(|hop| std::str::from_utf8(hop).ok().and_then(|hop| parse_address(hop.trim()))) {
            Some(Some(hop)) => client = hop,
            Some(None) | None => break,
        }
    }
    client
}

/// Parses an address, which may have a port or, for IPv6, brackets.
fn parse_address(text: &str) -> Option<IpAddr> {
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    text.parse().ok().or_else(bracketed).or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trusted_proxies_name_the_client() {
        let trusted: Vec<IpNet> =
            ["10.0.0.0/8", "fd00::/8"].iter().map(|network| network.parse().unwrap()).collect();
        let cases: &[(&str, &[&str], &str)] = &[
            ("10.0.0.1", &["203.0.113.7"], "203.0.113.7"),
            // The peer is not trusted.
            ("198.51.100.1", &["203.0.113.7"], "198.51.100.1"),
            ("198.51.100.1", &[], "198.51.100.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            // Addresses on the left may be forged by the client.
            ("10.0.0.1", &["1.1.1.1, 203.0.113.7"], "203.0.113.7"),
            ("10.0.0.1", &["1.1.1.1, 203.0.113.7, 10.0.0.2"], "203.0.113.7"),
            ("10.0.0.1", &["1.1.1.1", "203.0.113.7", "10.0.0.2, 10.0.0.3"], "203.0.113.7"),
            // All are trusted: the first one.
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            // An invalid address ends the search.
            ("10.0.0.1", &["203.0.113.7, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.7, unknown, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &[""], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.7,"], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.7, \u{e9}"], "10.0.0.1"),
            ("10.0.0.1", &["\u{e9}, 203.0.113.7"], "203.0.113.7"),
            ("10.0.0.1", &["203.0.113.300"], "10.0.0.1"),
            // Other spellings of the same address.
            ("::ffff:10.0.0.1", &["::ffff:203.0.113.7"], "203.0.113.7"),
            ("::ffff:198.51.100.1", &["203.0.113.7"], "198.51.100.1"),
            ("10.0.0.1", &["203.0.113.7:4711"], "203.0.113.7"),
            ("10.0.0.1", &["[2001:db8::7]:4711"], "2001:db8::7"),
            ("10.0.0.1", &["[2001:db8::7]"], "2001:db8::7"),
            ("fd00::1", &["2001:db8::7,fd00::2"], "2001:db8::7"),
            ("10.0.0.1", &["203.0.113.7,10.0.0.2:80 ,\tfd00::9"], "203.0.113.7"),
        ];
        for (peer, lines, expected) in cases {
            let mut headers = HeaderMap::new();
            for line in *lines {
                headers.append("x-forwarded-for", http::HeaderValue::from_bytes(line.as_bytes()).unwrap());
            }
            let client = client_address(peer.parse().unwrap(), &headers, &trusted);
            assert_eq!(client.to_string(), *expected, "{peer} {lines:?}");
        }
    }

    #[test]
    fn no_proxy_is_trusted_by_default() {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", http::HeaderValue::from_static("203.0.113.7"));
        let peer = IpAddr::from([127, 0, 0, 1]);
        assert_eq!(client_address(peer, &headers, &[]), peer);
    }
}
