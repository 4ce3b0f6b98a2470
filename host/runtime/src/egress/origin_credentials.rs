//! The credentials of one version of a plugin, by the origin that they are for.
//!
//! The search for their secrets is prepared once, and not for each request.

use std::collections::HashMap;
use std::sync::Arc;

use http::HeaderMap;
use masque_grants::{Credential, Origin};

use crate::secret_matcher::SecretMatcher;

/// Credentials by origin.
#[derive(Default)]
pub(crate) struct OriginCredentials(HashMap<Origin, (Vec<Arc<Credential>>, SecretMatcher)>);

impl OriginCredentials {
    pub(crate) fn new(credentials: &[Arc<Credential>]) -> Self {
        let mut origins: HashMap<_, Vec<_>> = HashMap::new();
        for credential in credentials {
            origins.entry(credential.origin().clone()).or_default().push(Arc::clone(credential));
        }
        let prepared = origins.into_iter().map(|(origin, credentials)| {
            let secrets = credentials.iter().flat_map(|credential| credential.secrets()).cloned();
            let secrets = SecretMatcher::new(secrets);
            (origin, (credentials, secrets))
        });
        Self(prepared.collect())
    }

    /// Adds the credentials for this origin to the headers of a request to it, replacing what is there. Returns their secrets.
    pub(super) fn add_to(&self, headers: &mut HeaderMap, origin: &Origin) -> SecretMatcher {
        let Some((credentials, secrets)) = self.0.get(origin) else { return SecretMatcher::default() };
        for credential in credentials {
            headers.insert(credential.header().clone(), credential.value().clone());
        }
        secrets.clone()
    }
}

#[cfg(test)]
mod tests {
    use masque_grants::Secret;

    use super::*;

    #[test]
    fn each_origin_gets_its_own_credentials_and_their_secrets_are_found() {
        let credential = |origin: &str, header: &str, value: &str| {
            let value = Secret::from(value.to_owned());
            Arc::new(Credential::new("key".into(), origin, header, &value).unwrap())
        };
        let (one, other) = ("https://one.test", "https://other.test");
        let prepared = OriginCredentials::new(&[
            credential(one, "x-first", "first-secret"),
            credential(other, "x-first", "other-secret"),
            credential(one, "x-second", "second-secret"),
        ]);
        let added = |origin: &str| {
            let mut headers =
                HeaderMap::from_iter([("x-first".parse().unwrap(), "of the guest".parse().unwrap())]);
            let secrets = prepared.add_to(&mut headers, &origin.parse().unwrap());
            let first = headers.get("x-first").unwrap().to_str().unwrap().to_owned();
            let text = "first-secret second-secret other-secret";
            (first, headers.len(), secrets.redact(text).into_owned())
        };
        let expected = |first: &str, headers, text: &str| (first.to_owned(), headers, text.to_owned());
        assert_eq!(added(one), expected("first-secret", 2, "[redacted] [redacted] other-secret"));
        assert_eq!(added(other), expected("other-secret", 1, "first-secret second-secret [redacted]"));
        let none = "first-secret second-secret other-secret";
        assert_eq!(added("https://third.test"), expected("of the guest", 1, none));
    }

    #[test]
    fn what_no_guest_may_send_about_its_connection_is_no_credential_either() {
        for header in wasmtime_wasi_http::DEFAULT_FORBIDDEN_HEADERS {
            let value = Secret::from("secret".to_owned());
            let credential = Credential::new("key".into(), "https://a.test", header.as_str(), &value);
            // These two are about who sends, and not about the connection.
            let is_of_a_proxy = matches!(header.as_str(), "proxy-authenticate" | "proxy-authorization");
            assert_eq!(credential.is_ok(), is_of_a_proxy, "{header}");
        }
    }
}
