//! Fetches an identity provider's keys: over TLS, or over plain HTTP from this machine; without following redirects;
//! bounded in time and size. What is said of a fetch shows no query of a URL, which may hold a key.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use masque_grants::Origin;
use serde_json::Value;

/// The limit for discovery and keys together.
const TIMEOUT: Duration = Duration::from_secs(4);
const MAX_BODY_BYTES: usize = 256 * 1024;
/// The path of the metadata, after the issuer (OpenID Connect Discovery 1.0, section 4.1).
const METADATA_PATH: &str = "/.well-known/openid-configuration";

/// Fetches the keys of one issuer.
pub(super) struct JwksFetcher {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    issuer: String,
    /// The URL of the keys; `None` to look it up in the issuer's metadata at every fetch.
    url: Option<String>,
    /// Whether the metadata may name a URL of plain http on another machine.
    allow_http: bool,
}

impl JwksFetcher {
    /// Fails if the machine has no certificates that TLS could trust.
    pub(super) fn new(issuer: String, url: Option<String>, allow_http: bool) -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = || {
            rustls::ClientConfig::builder_with_provider(provider.clone())
                .with_safe_default_protocol_versions()
        };
        let tls = match builder()?.with_native_roots() {
            Ok(roots) => roots.with_no_client_auth(),
            Err(_) => builder()?.with_webpki_roots().with_no_client_auth(),
        };
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        // Between two fetches lie minutes, so no connection is kept open.
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Ok(Self { client, issuer, url, allow_http })
    }

    /// The JWK Set as it was received, or a sentence about what went wrong.
    pub(super) async fn fetch(&self) -> Result<Bytes, String> {
        match tokio::time::timeout(TIMEOUT, self.fetch_without_timeout()).await {
            Ok(fetched) => fetched,
            Err(_) => Err(format!("no answer within {} s", TIMEOUT.as_secs())),
        }
    }

    async fn fetch_without_timeout(&self) -> Result<Bytes, String> {
        match &self.url {
            Some(url) => self.get(url).await,
            None => {
                let url = self.discover().await?;
                self.get(&url).await
            }
        }
    }

    /// The URL of the keys that the issuer's metadata names.
    async fn discover(&self) -> Result<String, String> {
        let address = format!("{}{METADATA_PATH}", self.issuer.trim_end_matches('/'));
        let body = self.get(&address).await?;
        let address = shown(&address);
        let metadata: Value = serde_json::from_slice(&body).map_err(|_| format!("{address} is no JSON"))?;
        let text = |member: &str| metadata.get(member).and_then(Value::as_str);
        // OpenID Connect Discovery 1.0, section 4.3: otherwise one issuer could publish keys for another.
        let named = text("issuer");
        if named != Some(&self.issuer) {
            return Err(issuer_mismatch(&address, named, &self.issuer));
        }
        let url = text("jwks_uri").ok_or_else(|| format!("{address} names no `jwks_uri`"))?;
        if !is_safe_to_fetch(url, self.allow_http) {
            return Err(format!(
                "{address} names the `jwks_uri` {:?}, which is not https; `allow_http` of the issuer allows http",
                shown(url)
            ));
        }
        Ok(url.to_owned())
    }

    async fn get(&self, url: &str) -> Result<Bytes, String> {
        let address = shown(url);
        let uri: Uri = url.parse().map_err(|_| format!("{address} is no URL"))?;
        // The client would take the default port in place of one that is no number.
        if Origin::of(&uri).is_none() {
            return Err(format!(
                "{address} is no http or https URL, or its port is no number from 1 to 65535"
            ));
        }
        let request = Request::get(uri).header("accept", "application/json").body(Empty::new());
        let request = request.map_err(|error| format!("{address}: {error}"))?;
        let response = self.client.request(request).await.map_err(|error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            format!("{address} can't be reached: {error}: {cause}")
        })?;
        if response.status() != StatusCode::OK {
            return Err(format!("{address} answers with {}", response.status()));
        }
        let body = Limited::new(response.into_body(), MAX_BODY_BYTES).collect().await;
        Ok(body.map_err(|error| format!("{address}: {error}"))?.to_bytes())
    }
}

/// A URL for messages: without what may hold a secret, which are the query, and the user before the host.
fn shown(url: &str) -> String {
    let url = url.split_once(['?', '#']).map_or(url, |(address, _)| address);
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

/// The complaint about metadata that names another issuer than the configuration. Both are in quotes, because the
/// difference is often a slash at the end.
fn issuer_mismatch(address: &str, named: Option<&str>, configured: &str) -> String {
    match named {
        Some(named) => {
            format!("{address} is about the issuer {named:?}, and the configuration names {configured:?}")
        }
        None => format!("{address} names no `issuer`, and the configuration names {configured:?}"),
    }
}

/// Whether keys may be fetched from the URL: over https, over http from a loopback address, or over http from anywhere if
/// the operator allows it. Whoever can change the keys on the way can make tokens. The configuration holds the URLs that it
/// reads to the same rule.
fn is_safe_to_fetch(url: &str, allow_http: bool) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.is_empty() || authority.contains('@') || url.contains(char::is_whitespace) {
        return false;
    }
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match scheme {
        "https" => true,
        "http" => allow_http || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_fetched_over_https_or_from_this_machine() {
        let safe = [
            "https://id.example.com/keys",
            "https://id.example.com:8443",
            "http://127.0.0.1:8080/keys",
            "http://[::1]:8080/keys",
        ];
        for url in safe {
            assert!(is_safe_to_fetch(url, false), "{url}");
        }
        let unsafe_urls = [
            "http://id.example.com/keys",
            "http://localhost/keys",
            "http://10.0.0.1/keys",
            "https://user@id.example.com/keys",
            "https://",
            "https://id.example.com/a key",
            "ftp://127.0.0.1/keys",
            "file:///etc/passwd",
            "//id.example.com",
            "",
        ];
        for url in unsafe_urls {
            assert!(!is_safe_to_fetch(url, false), "{url}");
        }
    }

    #[test]
    fn plain_http_to_another_machine_is_a_choice_of_the_operator() {
        for url in ["http://keycloak:8080/keys", "http://10.0.0.1/keys", "https://id.example.com/keys"] {
            assert!(is_safe_to_fetch(url, true), "{url}");
        }
        for url in ["http://user@keycloak/keys", "http://", "ftp://keycloak/keys", "file:///etc/passwd"] {
            assert!(!is_safe_to_fetch(url, true), "{url}");
        }
    }

    #[tokio::test]
    async fn what_is_said_of_a_fetch_holds_no_query() {
        for (url, wanted) in [
            ("https://id.test/keys?key=sk-1", "https://id.test/keys"),
            ("https://me:sk-1@id.test:81?key=sk-1#sk-1", "https://id.test:81"),
            ("https://id.test/a@b", "https://id.test/a@b"),
        ] {
            assert_eq!(shown(url), wanted);
        }
        // A port of the loopback address on which nobody listens.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/keys?key=sk-1", listener.local_addr().unwrap());
        drop(listener);
        for url in [url.as_str(), "http://127.0.0.1/a b?key=sk-1"] {
            let fetcher =
                JwksFetcher::new("https://id.test".to_owned(), Some(url.to_owned()), false).unwrap();
            let said = fetcher.fetch().await.unwrap_err();
            assert!(said.contains("127.0.0.1") && !said.contains("sk-1"), "{said}");
        }
    }

    #[tokio::test]
    async fn keys_are_not_fetched_from_the_default_port_in_place_of_one_that_is_no_number() {
        for url in ["http://127.0.0.1:99999/keys", "https://127.0.0.1:0/keys", "http://127.0.0.1:/keys"] {
            let fetcher =
                JwksFetcher::new("https://id.test".to_owned(), Some(url.to_owned()), false).unwrap();
            let said = fetcher.fetch().await.unwrap_err();
            assert!(said.contains(url) && said.contains("no number from 1 to 65535"), "{said}");
        }
    }

    #[test]
    fn an_issuer_that_differs_is_shown_next_to_the_configured_one() {
        let complaint = issuer_mismatch("https://id/x", Some("https://id/"), "https://id");
        assert!(complaint.contains("\"https://id/\"") && complaint.contains("\"https://id\""), "{complaint}");
        let complaint = issuer_mismatch("https://id/x", None, "https://id");
        assert!(complaint.contains("no `issuer`") && complaint.contains("\"https://id\""), "{complaint}");
    }
}
