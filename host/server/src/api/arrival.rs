//! How a request came to the host: by which listener, over what, and from whom.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use ipnet::IpNet;

/// The listener that a request came by. In the extensions of every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Via {
    /// The one for everybody.
    Public,
    /// The operators' own, where they have one.
    Admin,
    /// The socket in the data folder: for the host's own user, and no web page.
    Socket,
}

impl Via {
    /// Whether the path is served here. `apart` is a host whose operators have a listener of their own.
    pub(super) fn serves(self, path: &str, apart: bool) -> bool {
        match self {
            Self::Public => !(apart && is_for_operators(path)),
            Self::Admin | Self::Socket => is_for_operators(path) || is_for_probes(path),
        }
    }
}

fn is_for_operators(path: &str) -> bool {
    let below =
        |root: &str| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    ["/admin", "/docs", "/metrics", "/status", "/openapi.json"].into_iter().any(below)
}

fn is_for_probes(path: &str) -> bool {
    matches!(path, "/livez" | "/readyz" | "/health")
}

/// What a connection is known by. Whoever accepts one puts it into the extensions of each of its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub(crate) via: Via,
    /// The other end: none of a Unix socket.
    pub(crate) peer: Option<SocketAddr>,
    /// Over TLS that the host itself speaks.
    pub(crate) encrypted: bool,
}

/// Whom a request came from, as far as that can be known. In the extensions of every request that came over TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientAddress(pub(crate) IpAddr);

/// The address that a request came from: the other end of the connection, unless that is a trusted proxy. Then it is who
/// the proxy says; where it names another trusted one, who that one says.
///
/// Every proxy appends to `X-Forwarded-For`, so it is read from its end, and what stands before the first address that is
/// not trusted may be the client's own invention. What can't be read ends the walk: the last address known counts.
pub(crate) fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut client = peer.to_canonical();
    let lines = headers.get_all("x-forwarded-for").iter().rev();
    // By bytes: what a client puts before the proxy's own hop must not spoil that one.
    let mut hops = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    while is_trusted(&client) {
        match hops.next().map(|hop| std::str::from_utf8(hop).ok().and_then(|hop| address(hop.trim()))) {
            Some(Some(hop)) => client = hop,
            Some(None) | None => break,
        }
    }
    client
}

/// Some proxies add the port, and IPv6 may stand in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    text.parse().ok().or_else(bracketed).or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_named_by_trusted_proxies_alone() {
        let trusted: Vec<IpNet> =
            ["10.0.0.0/8", "fd00::/8"].iter().map(|network| network.parse().unwrap()).collect();
        let cases: &[(&str, &[&str], &str)] = &[
            ("10.0.0.1", &["203.0.113.7"], "203.0.113.7"),
            // Someone else's word.
            ("198.51.100.1", &["203.0.113.7"], "198.51.100.1"),
            ("198.51.100.1", &[], "198.51.100.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            // The left is the client's own invention.
            ("10.0.0.1", &["1.1.1.1, 203.0.113.7"], "203.0.113.7"),
            ("10.0.0.1", &["1.1.1.1, 203.0.113.7, 10.0.0.2"], "203.0.113.7"),
            ("10.0.0.1", &["1.1.1.1", "203.0.113.7", "10.0.0.2, 10.0.0.3"], "203.0.113.7"),
            // All of them trusted: the first.
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            // Garbage ends the walk.
            ("10.0.0.1", &["203.0.113.7, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.7, unknown, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &[""], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.7,"], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.7, \u{e9}"], "10.0.0.1"),
            ("10.0.0.1", &["\u{e9}, 203.0.113.7"], "203.0.113.7"),
            ("10.0.0.1", &["203.0.113.300"], "10.0.0.1"),
            // One client, however it is written.
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
            let client = client(peer.parse().unwrap(), &headers, &trusted);
            assert_eq!(client.to_string(), *expected, "{peer} {lines:?}");
        }
    }

    #[test]
    fn nobody_is_trusted_unless_it_is_said() {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", http::HeaderValue::from_static("203.0.113.7"));
        let peer = IpAddr::from([127, 0, 0, 1]);
        assert_eq!(client(peer, &headers, &[]), peer);
    }

    #[test]
    fn operators_have_their_routes_apart_and_probes_are_answered_everywhere() {
        let operators =
            ["/admin", "/admin/keys", "/docs", "/docs/errors", "/metrics", "/status", "/openapi.json"];
        for path in operators {
            assert!(Via::Public.serves(path, false), "{path}");
            assert!(!Via::Public.serves(path, true), "{path}");
            assert!(Via::Admin.serves(path, true) && Via::Socket.serves(path, true), "{path}");
            assert!(Via::Socket.serves(path, false), "{path}");
        }
        for path in ["/livez", "/readyz", "/health"] {
            for via in [Via::Public, Via::Admin, Via::Socket] {
                assert!(via.serves(path, true), "{path} {via:?}");
            }
        }
        for path in ["/chat", "/conversations", "/administrators", "/docsx", "/", "/status.json"] {
            assert!(Via::Public.serves(path, true), "{path}");
            assert!(!Via::Admin.serves(path, true) && !Via::Socket.serves(path, true), "{path}");
        }
    }
}
