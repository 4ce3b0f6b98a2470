//! A secret header for one origin. The host adds it to requests on their way out; the guest never holds it.

use http::{HeaderName, HeaderValue};

use crate::error::GrantError;
use crate::origin::Origin;
use crate::secret::Secret;
use crate::secret_parts::secret_parts;

/// The headers that no credential is sent in.
///
/// Threat: a credential replaces what the request has. In `content-length` it would cut the body off, in `transfer-encoding` or
/// `connection` let the server see two requests, and in `host` or `accept-encoding` it would itself be replaced without a word.
/// Policy: the headers of a connection and of the frame of a message (RFC 9110, sections 7.2, 7.6 and 8.6; RFC 9113, section
/// 8.2.2) and those that the host always sets are refused.
const RESERVED_HEADERS: [&str; 12] = [
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A secret header that the host adds to every request to one origin. The origin is reached over TLS or is this machine.
#[derive(Clone, Debug)]
pub struct Credential {
    name: String,
    origin: Origin,
    header: HeaderName,
    value: HeaderValue,
    /// Longest first.
    secrets: Vec<Secret>,
}

impl Credential {
    /// A credential that passed the checks below. White space around `value` is no part of it (RFC 9110, section 5.5).
    ///
    /// # Errors
    /// [`GrantError`] if `origin` is no origin, or is neither https nor this machine; if `header` is no header name, or one
    /// that says how a request is transferred; if `value` is empty or can't be the value of a header. The error never holds
    /// the value.
    pub fn new(name: String, origin: &str, header: &str, value: &Secret) -> Result<Self, GrantError> {
        let refused = |reason: String| GrantError::Credential { name: name.clone(), reason };
        let origin: Origin = origin.parse()?;
        if !origin.is_tls() && !origin.is_loopback() {
            return Err(refused(format!(
                "`{origin}` is neither https nor this machine; a secret would cross the network in the clear"
            )));
        }
        let header = header
            .parse::<HeaderName>()
            .map_err(|_| refused(format!("`{header}` is not the name of a header")))?;
        if RESERVED_HEADERS.contains(&header.as_str()) {
            return Err(GrantError::ReservedHeader(header));
        }
        let mut header_value = HeaderValue::from_str(value.reveal().trim())
            .map_err(|_| refused("the value holds a character that a header can't carry".to_owned()))?;
        header_value.set_sensitive(true);
        if value.reveal().trim().is_empty() {
            return Err(refused("the value is empty".to_owned()));
        }
        let secrets = secret_parts(&header, value.reveal(), &[]);
        Ok(Self { name, origin, header, value: header_value, secrets })
    }

    /// Names texts in the value that are secret by themselves, such as the values of variables that it was made of. A value without
    /// separators can't be divided without them.
    #[must_use]
    pub fn with_known_secrets(mut self, known: &[Secret]) -> Self {
        let value = self.value.to_str().unwrap_or_default();
        self.secrets = secret_parts(&self.header, value, known);
        self
    }

    /// The name of the credential in the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The only origin that receives it.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The header that carries it.
    pub fn header(&self) -> &HeaderName {
        &self.header
    }

    /// The value of the header, marked as sensitive.
    pub fn value(&self) -> &HeaderValue {
        &self.value
    }

    /// The texts to redact from answers, logs and errors, longest first: every part of the value that is long enough to be secret,
    /// decoded and encoded where that is usual.
    pub fn secrets(&self) -> &[Secret] {
        &self.secrets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(origin: &str, header: &str, value: &str) -> Result<Credential, GrantError> {
        Credential::new("openai".into(), origin, header, &Secret::from(value.to_owned()))
    }

    #[test]
    fn a_credential_never_prints_its_value() {
        let credential = credential("https://a.test", "authorization", "Bearer sk-123456").unwrap();
        let printed = format!("{credential:?} {:?}", credential.secrets());
        assert!(!printed.contains("sk-123456"), "{printed}");
        assert!(credential.secrets().iter().any(|secret| secret.reveal() == "sk-123456"));
    }

    #[test]
    fn white_space_around_a_value_is_neither_sent_nor_hides_the_secret() {
        let credential = credential("https://a.test", "authorization", " Bearer sk-123456 ").unwrap();
        assert_eq!(credential.value(), "Bearer sk-123456");
        assert!(credential.secrets().iter().any(|secret| secret.reveal() == "sk-123456"));
    }

    #[test]
    fn a_secret_in_the_middle_of_a_value_is_known_where_it_is_named() {
        let known = Secret::from("abcdefgh".to_owned());
        let credential = credential("https://a.test", "authorization", "Key-abcdefgh.1").unwrap();
        let is_known = |credential: &Credential| credential.secrets().contains(&known);
        assert!(!is_known(&credential));
        assert!(is_known(&credential.with_known_secrets(std::slice::from_ref(&known))));
    }

    #[test]
    fn a_credential_is_refused_where_it_would_cross_the_network_in_the_clear() {
        assert!(credential("http://127.0.0.1:9", "authorization", "x").is_ok());
        assert!(credential("http://localhost:9", "x-api-key", "x").is_ok());
        for (origin, header, value, part) in [
            ("http://api.test", "authorization", "x", "in the clear"),
            ("https://a.test", "not a header", "x", "name of a header"),
            ("https://a.test", "authorization", "line\nbreak", "character"),
            ("https://a.test", "authorization", " ", "empty"),
            ("https://a.test/v1", "authorization", "x", "path"),
            ("http://127.0.0.1:99999", "authorization", "x", "port"),
        ] {
            let error = credential(origin, header, value).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
            assert!(!error.contains("line"), "{error}");
        }
    }

    #[test]
    fn a_header_that_says_how_a_request_is_transferred_carries_no_secret() {
        for header in RESERVED_HEADERS.into_iter().chain(["Content-Length", "HOST"]) {
            let error = credential("https://a.test", header, "s3cret").unwrap_err();
            let expected = GrantError::ReservedHeader(header.parse().unwrap());
            assert_eq!(error, expected);
            assert!(error.to_string().contains("how a request is transferred"), "{error}");
        }
        for header in ["authorization", "cookie", "x-host", "proxy-authorization"] {
            assert!(credential("https://a.test", header, "s3cret").is_ok(), "{header}");
        }
    }
}
