//! Fetching a provider's keys: over TLS or from this machine, without following redirects, bounded in time and size.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::config::{self, Issuer, JwkSource};

/// For discovery and keys together.
const LIMIT: Duration = Duration::from_secs(4);
const MOST_BYTES: usize = 256 * 1024;
/// After the issuer (OpenID Connect Discovery 1.0, section 4.1).
const METADATA: &str = "/.well-known/openid-configuration";

pub(super) struct Fetcher {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    issuer: String,
    /// The keys' own address; `None` to ask for it each time.
    url: Option<String>,
}

impl Fetcher {
    pub(super) fn new(issuer: &Issuer) -> anyhow::Result<Self> {
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
        let url = match &issuer.source {
            JwkSource::Url(url) => Some(url.clone()),
            JwkSource::Discovery | JwkSource::File(_) => None,
        };
        // A fetch every few minutes keeps no connection.
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Ok(Self { client, issuer: issuer.issuer.clone(), url })
    }

    /// The keys' JWK Set, or what went wrong.
    pub(super) async fn fetch(&self) -> Result<Bytes, String> {
        match tokio::time::timeout(LIMIT, self.keys()).await {
            Ok(fetched) => fetched,
            Err(_) => Err(format!("no answer within {} s", LIMIT.as_secs())),
        }
    }

    async fn keys(&self) -> Result<Bytes, String> {
        match &self.url {
            Some(url) => self.get(url).await,
            None => {
                let url = self.discover().await?;
                self.get(&url).await
            }
        }
    }

    /// Where the issuer's metadata says that the keys are.
    async fn discover(&self) -> Result<String, String> {
        let address = format!("{}{METADATA}", self.issuer.trim_end_matches('/'));
        let body = self.get(&address).await?;
        let metadata: Value = serde_json::from_slice(&body).map_err(|_| format!("{address} is no JSON"))?;
        let text = |member: &str| metadata.get(member).and_then(Value::as_str);
        // Section 4.3: else one issuer could speak for another.
        if text("issuer") != Some(&self.issuer) {
            return Err(format!("{address} is about another issuer"));
        }
        let url = text("jwks_uri").ok_or_else(|| format!("{address} names no `jwks_uri`"))?;
        if !config::may_fetch_keys_from(url) {
            return Err(format!("{address} names a `jwks_uri` that is not https"));
        }
        Ok(url.to_owned())
    }

    async fn get(&self, address: &str) -> Result<Bytes, String> {
        let uri: Uri = address.parse().map_err(|_| format!("{address} is no URL"))?;
        let request = Request::get(uri).header("accept", "application/json").body(Empty::new());
        let request = request.map_err(|error| format!("{address}: {error}"))?;
        let response = self.client.request(request).await.map_err(|error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            format!("{address} can't be reached: {error}: {cause}")
        })?;
        if response.status() != StatusCode::OK {
            return Err(format!("{address} answers with {}", response.status()));
        }
        let body = Limited::new(response.into_body(), MOST_BYTES).collect().await;
        Ok(body.map_err(|error| format!("{address}: {error}"))?.to_bytes())
    }
}
