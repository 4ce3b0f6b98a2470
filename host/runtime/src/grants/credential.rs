//! A secret header for one origin. The guest never holds it; the gate puts it on.

use std::fmt;

use http::{HeaderName, HeaderValue};

use super::{GrantError, Origin};

/// A text that does not print itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself, for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// A header that the host puts on every request to one origin, over TLS or to this machine.
#[derive(Clone, Debug)]
pub struct Credential {
    name: String,
    origin: Origin,
    header: HeaderName,
    value: HeaderValue,
    bare: Secret,
}

impl Credential {
    /// Checks that the header is one and that the origin is reached over TLS or is this machine.
    pub fn new(name: String, origin: &str, header: &str, value: &Secret) -> Result<Self, GrantError> {
        let wrong = |reason: String| GrantError::Credential { name: name.clone(), reason };
        let origin: Origin = origin.parse()?;
        if !origin.is_tls() && !origin.is_loopback() {
            return Err(wrong(format!(
                "`{origin}` is neither https nor this machine; a secret would cross the network in the clear"
            )));
        }
        let header = header
            .parse::<HeaderName>()
            .map_err(|_| wrong(format!("`{header}` is not the name of a header")))?;
        let mut header_value = HeaderValue::from_str(value.reveal())
            .map_err(|_| wrong("the value holds a character that a header can't carry".to_owned()))?;
        header_value.set_sensitive(true);
        if value.reveal().trim().is_empty() {
            return Err(wrong("the value is empty".to_owned()));
        }
        // What would give access if it were echoed: the token behind a scheme such as `Bearer`.
        let bare = value.reveal().rsplit(' ').next().unwrap_or_default().to_owned();
        Ok(Self { name, origin, header, value: header_value, bare: Secret(bare) })
    }

    /// The name in the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The only origin that sees it.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The header that carries it.
    pub fn header(&self) -> &HeaderName {
        &self.header
    }

    /// The header's value, marked sensitive.
    pub(crate) fn value(&self) -> &HeaderValue {
        &self.value
    }

    /// The part that is secret: without an authentication scheme in front.
    pub fn secret(&self) -> &Secret {
        &self.bare
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
    fn a_credential_stays_off_the_open_network() {
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
