//! The HTTP client of OTLP/HTTP, with the same TLS as the rest of the host.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_http::{HttpClient, HttpError};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};

use super::error::OtlpError;
use super::files::{Certificates, TlsFiles};
use super::last_failure::LastFailure;

/// The longest answer of a collector that is read.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// Sends batches over HTTP. It must be polled within a tokio runtime.
pub(super) struct CollectorClient {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    failure: LastFailure,
}

impl CollectorClient {
    /// Why a request has no answer is kept in `failure`: the exporter does not pass it on.
    pub(super) fn new(files: TlsFiles, failure: LastFailure) -> Result<Self, OtlpError> {
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls_config(files)?)
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Self { client: Client::builder(TokioExecutor::new()).build(connector), failure })
    }
}

impl fmt::Debug for CollectorClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("CollectorClient")
    }
}

#[async_trait]
impl HttpClient for CollectorClient {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = match self.client.request(request.map(Full::new)).await {
            Ok(answer) => answer,
            Err(error) => {
                self.failure.note(&error);
                return Err(error.into());
            }
        };
        self.failure.clear();
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await?.to_bytes();
        Ok(Response::from_parts(head, body))
    }
}

fn tls_config(files: TlsFiles) -> Result<ClientConfig, OtlpError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(OtlpError::Tls)?;
    let builder = match files.authorities {
        Some(authorities) => builder.with_root_certificates(roots(&authorities)?),
        // A machine without authorities can still reach a collector without TLS.
        None => match builder.clone().with_native_roots() {
            Ok(builder) => builder,
            Err(_) => builder.with_webpki_roots(),
        },
    };
    match files.client {
        Some((certificates, key)) => {
            builder.with_client_auth_cert(certificates.parsed, key.parsed).map_err(OtlpError::Tls)
        }
        None => Ok(builder.with_no_client_auth()),
    }
}

fn roots(authorities: &Certificates) -> Result<RootCertStore, OtlpError> {
    let mut roots = RootCertStore::empty();
    for certificate in &authorities.parsed {
        roots.add(certificate.clone()).map_err(OtlpError::Tls)?;
    }
    Ok(roots)
}
