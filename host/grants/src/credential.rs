//! A secret header for one origin. The host adds it to requests on their way out; the guest never holds it.

use http::{HeaderName, HeaderValue};

use crate::error::GrantError;
use crate::origin::Origin;
use crate::secret::Secret;

/// A secret header that the host adds to every request to one origin. The origin is reached over TLS or is this machine.
#[derive(Clone, Debug)]
pub struct Credential {
    name: String,
    origin: Origin,
    header: HeaderName,
    value: HeaderValue,
    token: Secret,
}

impl Credential {
    /// A credential that passed the checks below.
    ///
    /// # Errors
    /// [`GrantError`] if `origin` is no origin, or is neither https nor this machine; if `header` is no header name; if
    /// `value` is empty or can't be the value of a header. The error never holds the value.
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
        let mut header_value = HeaderValue::from_str(value.reveal())
            .map_err(|_| refused("the value holds a character that a header can't carry".to_owned()))?;
        header_value.set_sensitive(true);
        if value.reveal().trim().is_empty() {
            return Err(refused("the value is empty".to_owned()));
        }
        // An upstream that echoes the header may leave out the scheme (`Bearer`); the token alone gives access too.
        let token = value.reveal().rsplit(' ').next().unwrap_or_default().to_owned();
        Ok(Self { name, origin, header, value: header_value, token: Secret::from(token) })
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

    /// The secret part of the value, without an authentication scheme such as `Bearer` in front. This is the text to
    /// redact from logs and errors.
    pub fn secret(&self) -> &Secret {
        &self.token
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
        let printed = format!("{credential:?} {}", credential.secret());
        assert!(!printed.contains("sk-123456"), "{printed}");
        assert_eq!(credential.secret().reveal(), "sk-123456");
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
        ] {
            let error = credential(origin, header, value).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
            assert!(!error.contains("line"), "{error}");
        }
    }
}
