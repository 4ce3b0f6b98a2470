//! Web origins: scheme, host and port.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::{Uri, uri::Scheme};

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
    /// The origin of an absolute URI. `None` if the scheme is neither http nor https or the host is missing.
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
        Some(Self { scheme, host, port: uri.port_u16().unwrap_or(default) })
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
        Self::of(&uri).ok_or_else(|| GrantError::Origin(text.to_owned()))
    }
}
