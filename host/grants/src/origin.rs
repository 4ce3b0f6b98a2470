//! Web origins: scheme, host and port.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::{
    Uri,
    uri::{Authority, Scheme},
};

use crate::error::GrantError;

/// Scheme, host and port (RFC 6454). Grants and credentials are given for an origin.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    scheme: Scheme,
    /// In lower case; an IPv6 address is without its brackets.
    host: String,
    port: u16,
}

impl Origin {
    /// The origin of an absolute URI. `None` if the scheme is neither http nor https, the host is missing, or the port is no
    /// number from 1 to 65535.
    pub fn of(uri: &Uri) -> Option<Self> {
        let scheme = uri.scheme()?.clone();
        let default = if scheme == Scheme::HTTPS {
            443
        } else if scheme == Scheme::HTTP {
            80
        } else {
            return None;
        };
        let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        // A trailing dot names the same host (RFC 1034, section 3.1); without this the two would not be equal.
        let host = host.strip_suffix('.').map_or(host.clone(), str::to_owned);
        if host.is_empty() {
            return None;
        }
        Some(Self { scheme, host, port: port_of(uri.authority()?, default)? })
    }

    /// The origin of `uri`, which was written as `given`.
    ///
    /// # Errors
    /// [`GrantError`] if it has none.
    pub(crate) fn read(uri: &Uri, given: &str) -> Result<Self, GrantError> {
        Self::of(uri).ok_or_else(|| {
            let has_port = uri.authority().is_none_or(|authority| port_of(authority, 80).is_some());
            let refused = if has_port { GrantError::Origin } else { GrantError::Port };
            refused(given.to_owned())
        })
    }

    /// The host in lower case; an IPv6 address is without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; the default of the scheme if the URI has none.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether requests to it are encrypted.
    pub fn is_tls(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// Whether the host is this machine: a loopback address in its usual spelling, or `localhost` (RFC 6761, section
    /// 6.3). A name that resolves to a loopback address does not count.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost"
            || self.host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.is_tls(), self.port) {
            (true, 443) | (false, 80) => write!(f, "{}://{host}", self.scheme),
            (_, port) => write!(f, "{}://{host}:{port}", self.scheme),
        }
    }
}

impl FromStr for Origin {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, GrantError> {
        let uri: Uri = text.parse().map_err(|_| GrantError::Origin(text.to_owned()))?;
        let extra_part = |part| GrantError::Part { given: text.to_owned(), part };
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(extra_part("a user name"));
        }
        if uri.path_and_query().is_some_and(|path| path.as_str() != "/") {
            return Err(extra_part("a path"));
        }
        Self::read(&uri, text)
    }
}

/// The port of an authority; `default` if it names none. `None` if the host is followed by anything but `:` and a number from 1
/// to 65535.
///
/// `Authority::port_u16` returns `None` both for no port and for one that is no such number. Whoever takes the default then turns
/// a mistyped port into port 80 or 443, where another server listens.
pub fn port_of(authority: &Authority, default: u16) -> Option<u16> {
    let text = authority.as_str();
    let server = text.rsplit_once('@').map_or(text, |(_, server)| server);
    let rest = server.strip_prefix(authority.host())?;
    if rest.is_empty() {
        return Some(default);
    }
    // `parse` takes a sign, which a port must not have (RFC 3986, section 3.2.3).
    let digits = rest.strip_prefix(':').filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok().filter(|port| *port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_a_number_or_is_left_out_and_never_replaced_by_the_default() {
        for (url, port) in [
            ("http://a.test", Some(80)),
            ("https://a.test/", Some(443)),
            ("http://a.test:8080", Some(8080)),
            ("http://a.test:00080", Some(80)),
            ("http://a.test:65535", Some(65535)),
            ("http://[::1]", Some(80)),
            ("http://[::1]:8080/", Some(8080)),
            ("http://me:9@a.test", Some(80)),
            ("http://a.test:65536", None),
            ("http://a.test:99999", None),
            ("https://a.test:4294967739/", None),
            ("http://a.test:0", None),
            ("http://a.test:", None),
            ("http://a.test:/v1", None),
            ("http://a.test:+80", None),
            ("http://a.test:80a", None),
            ("http://[::1]:99999", None),
            ("http://[::1]80", None),
            ("http://me:9@a.test:99999", None),
        ] {
            let origin = Origin::of(&url.parse().unwrap());
            assert_eq!(origin.map(|origin| origin.port()), port, "{url}");
        }
    }
}
