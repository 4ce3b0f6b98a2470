//! Pooled clients, one for each distinct network policy.
//!
//! hyper's pool is keyed by scheme and authority alone. If plugins shared one pool, a connection that one plugin's `networks`
//! grant allowed could carry another plugin's request to the same name.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper_rustls::{ConfigBuilderExt, HttpsConnector};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use masque_grants::IpNet;
use tokio::sync::Semaphore;
use wasmtime_wasi_http::WasiBody;

use super::connector::GatedConnector;
use crate::error::SandboxError;

/// A client whose connections all obey one policy.
pub(crate) type UpstreamClient = Client<HttpsConnector<GatedConnector>, WasiBody>;

/// Idle connections are closed before the usual 60 s of upstream load balancers, so that few requests use one that is closing.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// The most idle connections to one host that are kept after a burst. Each holds a file descriptor.
const MAX_IDLE_PER_HOST: usize = 64;
/// The most look-ups of names at the same time, over all plugins. A look-up can't be cancelled and holds a blocking thread for as
/// long as the resolver takes, tens of seconds where it does not answer. Of tokio's 512 blocking threads, those that files and
/// the compiler need must stay free.
const MAX_LOOK_UPS: usize = 32;

/// Makes clients, and hands out the same one for the same policy.
pub(crate) struct UpstreamClients {
    tls: Arc<rustls::ClientConfig>,
    look_ups: Arc<Semaphore>,
    clients: Mutex<HashMap<Vec<IpNet>, UpstreamClient>>,
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

    /// The client for a policy. Cheap to clone.
    pub(crate) fn client(&self, networks: &[IpNet]) -> UpstreamClient {
        let mut key = networks.to_vec();
        key.sort();
        key.dedup();
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients
            .entry(key)
            .or_insert_with_key(|networks| {
                let gated = GatedConnector::new(networks.as_slice().into(), self.look_ups.clone());
                let connector = HttpsConnector::from((gated, self.tls.clone()));
                Client::builder(TokioExecutor::new())
                    .pool_timer(TokioTimer::new())
                    .pool_idle_timeout(IDLE_TIMEOUT)
                    .pool_max_idle_per_host(MAX_IDLE_PER_HOST)
                    .build(connector)
            })
            .clone()
    }
}
