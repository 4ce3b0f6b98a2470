//! Where a plugin's requests may go: an origin, optionally methods, optionally a path prefix.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::{Method, Uri, uri::Scheme};
use percent_encoding::percent_decode_str;

use super::GrantError;

/// Scheme, host and port (RFC 6454): the unit that a grant or credential is given for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    scheme: Scheme,
    /// Lower case; an IPv6 address without its brackets.
    host: String,
    port: u16,
}

impl Origin {
    /// The origin of an absolute URI, or `None` where it has no scheme, host or known default port.
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
        // A trailing dot names the same host (RFC 1034, 3.1) but would be another key.
        let host = host.strip_suffix('.').map_or(host.clone(), str::to_owned);
        if host.is_empty() {
            return None;
        }
        Some(Self { scheme, host, port: uri.port_u16().unwrap_or(default) })
    }

    /// In lower case; an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Its port, the scheme's default where the URI named none.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether requests to it are encrypted.
    pub fn is_tls(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// Whether it says itself that it is this machine: a loopback address in its usual spelling, or `localhost`
    /// (RFC 6761, 6.3). A name that merely resolves to loopback does not.
    pub fn is_loopback(&self) -> bool {
        is_loopback_host(&self.host)
    }
}

/// See [`Origin::is_loopback`]; `host` without brackets, in lower case.
pub(crate) fn is_loopback_host(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
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
        let too_much = |part| GrantError::Part { given: text.to_owned(), part };
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(too_much("a user name"));
        }
        if uri.path_and_query().is_some_and(|path| path.as_str() != "/") {
            return Err(too_much("a path"));
        }
        Self::of(&uri).ok_or_else(|| GrantError::Origin(text.to_owned()))
    }
}

/// One place that requests may go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpGrant {
    origin: Origin,
    /// Empty: any.
    methods: Vec<Method>,
    /// Starts with `/`; `/` stands for every path.
    path: String,
}

impl HttpGrant {
    /// The origin it opens.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Whether it allows the request.
    pub fn allows(&self, method: &Method, origin: &Origin, path: &str) -> bool {
        &self.origin == origin
            && (self.methods.is_empty() || self.methods.contains(method))
            && (self.path == "/" || (is_plain(path) && starts_with_segments(path, &self.path)))
    }
}

/// How often a path may be decoded before it is what it is: a proxy and a server behind it decode once each.
const DECODINGS: usize = 3;

/// A path that no server could read as another one, which would let `/v1/../admin` pass for `/v1/`: without dot segments
/// (also with parameters, which some servers take off first: `/..;x/`), backslashes, control characters, or an encoded
/// separator, however often any of them is encoded.
fn is_plain(path: &str) -> bool {
    let mut path = path.to_owned();
    for _ in 0..=DECODINGS {
        let dots = |segment: &str| matches!(segment.split(';').next(), Some("." | ".."));
        if path.contains('\\') || path.contains(|c: char| c.is_control()) || path.split('/').any(dots) {
            return false;
        }
        // Overlong and other broken encodings are read differently by everyone.
        let Ok(decoded) = percent_decode_str(&path).decode_utf8() else { return false };
        if decoded == path {
            return true;
        }
        let separators = |path: &str| path.matches('/').count();
        if separators(&decoded) != separators(&path) {
            return false;
        }
        path = decoded.into_owned();
    }
    false
}

/// `/v1` and `/v1/` both allow `/v1` and `/v1/chat`, neither allows `/v10`.
fn starts_with_segments(path: &str, prefix: &str) -> bool {
    let prefix = prefix.trim_end_matches('/');
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl FromStr for HttpGrant {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, GrantError> {
        let text = text.trim();
        let (methods, target) = match text.split_once(char::is_whitespace) {
            Some((methods, target)) => (methods, target.trim()),
            None => ("", text),
        };
        let methods = methods
            .split(',')
            .filter(|method| !method.is_empty())
            .map(|method| match Method::from_bytes(method.as_bytes()) {
                Ok(known) if method.bytes().all(|b| b.is_ascii_uppercase()) => Ok(known),
                _ => Err(GrantError::Method(method.to_owned())),
            })
            .collect::<Result<_, _>>()?;
        let uri: Uri = target.parse().map_err(|_| GrantError::Origin(target.to_owned()))?;
        let too_much = |part| GrantError::Part { given: target.to_owned(), part };
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(too_much("a user name"));
        }
        if uri.query().is_some() {
            return Err(too_much("a query"));
        }
        if !is_plain(uri.path()) {
            return Err(too_much("a dot segment or an encoded separator"));
        }
        let origin = Origin::of(&uri).ok_or_else(|| GrantError::Origin(target.to_owned()))?;
        Ok(Self { origin, methods, path: uri.path().to_owned() })
    }
}

impl fmt::Display for HttpGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, method) in self.methods.iter().enumerate() {
            write!(f, "{}{method}", if index == 0 { "" } else { "," })?;
        }
        let space = if self.methods.is_empty() { "" } else { " " };
        let path = if self.path == "/" { "" } else { &self.path };
        write!(f, "{space}{}{path}", self.origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(grant: &str, method: &str, url: &str) -> bool {
        let uri: Uri = url.parse().unwrap();
        let origin = Origin::of(&uri).unwrap();
        grant.parse::<HttpGrant>().unwrap().allows(&method.parse().unwrap(), &origin, uri.path())
    }

    #[test]
    fn a_grant_allows_its_origin_and_no_other() {
        for (grant, method, url, expected) in [
            ("https://api.example.com", "POST", "https://api.example.com/v1/chat", true),
            ("https://api.example.com", "GET", "https://API.example.com./", true),
            ("https://api.example.com", "GET", "https://api.example.com:443/x", true),
            ("https://api.example.com", "GET", "http://api.example.com/x", false),
            ("https://api.example.com", "GET", "https://api.example.com:8443/x", false),
            ("https://api.example.com", "GET", "https://evil-api.example.com/x", false),
            ("https://api.example.com", "GET", "https://api.example.com.evil.test/x", false),
            ("http://127.0.0.1:11434", "POST", "http://127.0.0.1:11434/api", true),
            ("http://127.0.0.1:11434", "POST", "http://localhost:11434/api", false),
            ("http://[::1]:80", "GET", "http://[::1]/", true),
            ("GET,HEAD https://a.test", "HEAD", "https://a.test/", true),
            ("GET,HEAD https://a.test", "POST", "https://a.test/", false),
        ] {
            assert_eq!(allows(grant, method, url), expected, "{grant} for {method} {url}");
        }
    }

    #[test]
    fn a_path_prefix_is_held_to_whole_segments_and_can_not_be_climbed_out_of() {
        for (path, expected) in [
            ("/v1", true),
            ("/v1/", true),
            ("/v1/chat", true),
            ("/v1/a..b", true),
            ("/v10", false),
            ("/", false),
            ("/v1/../admin", false),
            ("/v1/%2e%2E/admin", false),
            ("/v1/.%2e/admin", false),
            ("/v1/..%2fadmin", false),
            ("/v1/x%5c..%5cadmin", false),
            ("/v1/100%25", true),
            ("/v1/caf%C3%A9;lang=fr", true),
            ("/v1/a;..", true),
            ("/v1/..;/admin", false),
            ("/v1/..;x=1/admin", false),
            ("/v1/.;/.%2e;/admin", false),
            ("/v1/..%3b/admin", false),
            ("/v1/%252e%252e/admin", false),
            ("/v1/%252e./admin", false),
            ("/v1/..%252fadmin", false),
            ("/v1/..%255cadmin", false),
            ("/v1/%25252e%25252e/admin", false),
            ("/v1/%252525252e/admin", false),
            ("/v1/%c0%ae%c0%ae/admin", false),
            ("/v1/%00/admin", false),
        ] {
            for grant in ["https://a.test/v1", "https://a.test/v1/"] {
                assert_eq!(
                    allows(grant, "GET", &format!("https://a.test{path}")),
                    expected,
                    "{grant} {path}"
                );
            }
        }
    }

    #[test]
    fn a_wrong_grant_is_told_the_right_form() {
        for (grant, part) in [
            ("api.example.com", "not an origin"),
            ("ftp://a.test", "not an origin"),
            ("/v1", "not an origin"),
            ("https://", "not an origin"),
            ("https://user:secret@a.test", "user name"),
            ("https://a.test/?q=1", "query"),
            ("https://a.test/v1/../x", "dot segment"),
            ("get https://a.test", "not an HTTP method"),
        ] {
            let error = grant.parse::<HttpGrant>().unwrap_err().to_string();
            assert!(error.contains(part), "{grant}: {error}");
        }
    }

    #[test]
    fn a_grant_prints_as_it_is_written() {
        for grant in ["https://a.test", "GET,POST https://a.test:8443/v1/", "http://[::1]:9000"] {
            assert_eq!(grant.parse::<HttpGrant>().unwrap().to_string(), grant);
        }
    }
}
