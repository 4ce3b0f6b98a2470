//! Pooled clients, one for each plugin and network policy.
//!
//! If plugins shared a client, a connection that one plugin's `networks` grant allowed could carry another plugin's request to the
//! same name, and one plugin's requests would delay another's. The versions of one plugin share a client.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use http::{Method, Request, Response};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector};
use masque_grants::{IpNet, Origin};
use tokio::sync::Semaphore;
use wasmtime_wasi_http::{Error, WasiBody};

use super::connection::{Connector, UpstreamConnector};
use super::connector::GatedConnector;
use super::driven_body::DrivenBody;
use super::fault::{translate, translate_open};
use super::origin_pool::{AcquireError, ConnectionLease, OriginPool};
use super::pool_policy::PoolPolicy;
use crate::error::SandboxError;

/// The most look-ups of names at the same time, over all plugins. A look-up can't be cancelled and holds a blocking thread for as
/// long as the resolver takes, tens of seconds where it does not answer. Of tokio's 512 blocking threads, those that files and
/// the compiler need must stay free.
const MAX_LOOK_UPS: usize = 32;

/// Makes clients, and hands out the same one for the same policy.
pub(crate) struct UpstreamClients {
    tls: Arc<rustls::ClientConfig>,
    look_ups: Arc<Semaphore>,
    clients: Mutex<HashMap<ClientKey, Weak<Inner>>>,
}

/// The plugin and its networks.
type ClientKey = (String, Vec<IpNet>);

/// A client whose connections all obey one policy. Cheap to clone; its connections close with its last clone.
#[derive(Clone)]
pub(crate) struct UpstreamClient(Arc<Inner>);

struct Inner {
    connector: Arc<dyn Connector>,
    policy: PoolPolicy,
    /// A guest can add no more than the origins of its grants.
    origins: Mutex<HashMap<Origin, Arc<OriginPool>>>,
}

/// The head of an answer, and what has to be kept until its body has been read.
pub(crate) struct Answer {
    pub(crate) response: Response<DrivenBody>,
    pub(crate) lease: Option<ConnectionLease>,
}

/// Why a request has no answer.
#[derive(Debug)]
pub(crate) struct SendFailure {
    pub(crate) code: Error,
    /// The limit that was reached, for the log.
    pub(crate) limit: Option<String>,
}

impl From<Error> for SendFailure {
    fn from(code: Error) -> Self {
        Self { code, limit: None }
    }
}

impl UpstreamClients {
    /// Trusts the machine's certificate store, or the Mozilla roots where it has none.
    pub(crate) fn new() -> Result<Self, SandboxError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = || {
            rustls::ClientConfig::builder_with_provider(provider.clone())
                .with_safe_default_protocol_versions()
                .map_err(|error| SandboxError::Tls(error.to_string()))
        };
        let mut tls = match builder()?.with_native_roots() {
            Ok(roots) => roots.with_no_client_auth(),
            Err(error) => {
                tracing::info!(%error, "no certificate store on this machine; trusting the Mozilla roots");
                builder()?.with_webpki_roots().with_no_client_auth()
            }
        };
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let look_ups = Arc::new(Semaphore::new(MAX_LOOK_UPS));
        Ok(Self { tls: Arc::new(tls), look_ups, clients: Mutex::default() })
    }

    /// The client of the plugin of that name, for its networks.
    pub(crate) fn client(&self, plugin: &str, networks: &[IpNet]) -> UpstreamClient {
        let mut networks = networks.to_vec();
        networks.sort();
        networks.dedup();
        let key = (plugin.to_owned(), networks);
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(inner) = clients.get(&key).and_then(Weak::upgrade) {
            return UpstreamClient(inner);
        }
        let gated = GatedConnector::new(key.1.as_slice().into(), self.look_ups.clone());
        let https = HttpsConnector::from((gated, self.tls.clone()));
        let policy = PoolPolicy::DEFAULT;
        let client = UpstreamClient::new(Arc::new(UpstreamConnector { https, policy }), policy);
        clients.retain(|_, client| client.strong_count() > 0);
        clients.insert(key, Arc::downgrade(&client.0));
        client
    }
}

impl UpstreamClient {
    pub(super) fn new(connector: Arc<dyn Connector>, policy: PoolPolicy) -> Self {
        Self(Arc::new(Inner { connector, policy, origins: Mutex::default() }))
    }

    /// Sends a request and waits for the head of its answer. A request that was sent on a connection which the server was closing, and
    /// of which nothing was sent, is sent again on another one.
    ///
    /// `connect` bounds the time until a connection takes the request, `first_byte` the time from then to the head.
    pub(crate) async fn send(
        &self,
        mut request: Request<WasiBody>,
        origin: &Origin,
        connect: Duration,
        first_byte: Duration,
    ) -> Result<Answer, SendFailure> {
        if request.method() == Method::CONNECT {
            // It asks a proxy for a tunnel, past the grants.
            return Err(Error::HttpRequestMethodInvalid.into());
        }
        let uri = request.uri().clone();
        let pool = self.pool(origin);
        let connect_by = Instant::now() + connect;
        loop {
            let mut lease = match tokio::time::timeout_at(connect_by.into(), pool.acquire()).await {
                Ok(Ok(lease)) => lease,
                Ok(Err(AcquireError::Open(error))) => return Err(translate_open(&error).into()),
                Ok(Err(AcquireError::TooManyWaiting)) => {
                    return Err(Self::limit_reached(format!(
                        "more than {} requests wait for a connection to {origin}",
                        self.0.policy.waiting
                    )));
                }
                Err(_) if pool.is_full() => {
                    return Err(Self::limit_reached(format!(
                        "all connections to {origin} that a plugin may have were in use for {} ms (at most {} of HTTP/1.1, or {} of \
                         HTTP/2 with {} streams each or what the server allows)",
                        connect.as_millis(),
                        self.0.policy.http1_connections,
                        self.0.policy.http2_connections,
                        self.0.policy.http2_streams
                    )));
                }
                Err(_) => return Err(Error::ConnectionTimeout.into()),
            };
            let is_reused = lease.is_reused();
            let Some(sender) = lease.sender() else { return Err(Error::ConnectionTerminated.into()) };
            match tokio::time::timeout(first_byte, sender.send(request, origin)).await {
                Ok(Ok(response)) => return Ok(Answer { response, lease: lease.after_head() }),
                Ok(Err(mut failed)) => match failed.unsent.take().filter(|_| is_reused) {
                    Some(unsent) => {
                        request = unsent;
                        *request.uri_mut() = uri.clone();
                    }
                    None => return Err(translate(&failed.error).into()),
                },
                Err(_) => return Err(Error::HttpResponseTimeout.into()),
            }
        }
    }

    fn pool(&self, origin: &Origin) -> Arc<OriginPool> {
        let mut origins = self.0.origins.lock().unwrap_or_else(PoisonError::into_inner);
        let open = || OriginPool::new(origin.clone(), self.0.policy, self.0.connector.clone());
        origins.entry(origin.clone()).or_insert_with(open).clone()
    }

    fn limit_reached(limit: String) -> SendFailure {
        SendFailure { code: Error::ConnectionLimitReached, limit: Some(limit) }
    }
}

impl fmt::Debug for UpstreamClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamClient").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_versions_of_a_plugin_share_their_connections_with_no_other_plugin_and_no_other_networks() {
        let clients = UpstreamClients::new().unwrap();
        let networks = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let same = |a: &UpstreamClient, b: &UpstreamClient| Arc::ptr_eq(&a.0, &b.0);
        let first = clients.client("ida", &networks);
        assert!(same(&first, &clients.client("ida", &[networks[1], networks[0], networks[1]])));
        assert!(!same(&first, &clients.client("ida", &networks[..1])));
        assert!(!same(&first, &clients.client("elara", &networks)));
    }
}
