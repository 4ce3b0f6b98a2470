//! Where the HTTP requests of a plugin may go: an origin, optionally with methods and a path prefix.

use std::fmt;
use std::str::FromStr;

use http::{Method, Uri};
use percent_encoding::percent_decode_str;

use crate::error::GrantError;
use crate::origin::Origin;

/// One origin that requests may go to, optionally only with certain methods or below a path.
///
/// Written as `https://api.example.com`, `https://api.example.com/v1/` or `GET,POST https://api.example.com/v1/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpGrant {
    origin: Origin,
    /// Empty means any method.
    methods: Vec<Method>,
    /// Starts with `/`. `/` stands for every path.
    path: String,
}

impl HttpGrant {
    /// The origin that may be reached.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Whether the grant allows a request with this method to this path of this origin.
    pub fn allows(&self, method: &Method, origin: &Origin, path: &str) -> bool {
        &self.origin == origin
            && (self.methods.is_empty() || self.methods.contains(method))
            && (self.path == "/" || (is_unambiguous(path) && has_segment_prefix(path, &self.path)))
    }
}

/// How often a path is decoded to see whether it changes its meaning. A proxy and the server behind it each decode once;
/// the third time is a margin.
const MAX_DECODINGS: usize = 3;

/// Whether every server reads the path in the same way.
///
/// Threat: a server that normalises `/v1/../admin` leaves the granted prefix `/v1/`. Policy: a path is refused if it has
/// dot segments (also with parameters, which some servers remove first: `/..;x/`), backslashes, control characters or
/// an encoded separator, even if any of them is encoded several times.
fn is_unambiguous(path: &str) -> bool {
    let mut path = path.to_owned();
    for _ in 0..=MAX_DECODINGS {
        let is_dot_segment = |segment: &str| matches!(segment.split(';').next(), Some("." | ".."));
        if path.contains('\\')
            || path.contains(|c: char| c.is_control())
            || path.split('/').any(is_dot_segment)
        {
            return false;
        }
        // Servers disagree about overlong and other broken encodings.
        let Ok(decoded) = percent_decode_str(&path).decode_utf8() else { return false };
        if decoded == path {
            return true;
        }
        let count_separators = |path: &str| path.matches('/').count();
        if count_separators(&decoded) != count_separators(&path) {
            return false;
        }
        path = decoded.into_owned();
    }
    false
}

/// Whether the path begins with all segments of the prefix. `/v1` and `/v1/` are prefixes of `/v1` and `/v1/chat`, and
/// not of `/v10`.
fn has_segment_prefix(path: &str, prefix: &str) -> bool {
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
        let extra_part = |part| GrantError::Part { given: target.to_owned(), part };
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(extra_part("a user name"));
        }
        if uri.query().is_some() {
            return Err(extra_part("a query"));
        }
        if !is_unambiguous(uri.path()) {
            return Err(extra_part("a dot segment or an encoded separator"));
        }
        let origin = Origin::read(&uri, target)?;
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
    fn a_path_prefix_matches_whole_segments_and_can_not_be_escaped() {
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
    fn an_error_about_a_grant_shows_the_right_form() {
        for (grant, part) in [
            ("api.example.com", "not an origin"),
            ("ftp://a.test", "not an origin"),
            ("/v1", "not an origin"),
            ("https://", "not an origin"),
            ("http://127.0.0.1:99999", "no number from 1 to 65535"),
            ("GET http://127.0.0.1:/v1", "no number from 1 to 65535"),
            ("http://127.0.0.1:0", "no number from 1 to 65535"),
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
