//! Pooled clients, one for each distinct network policy.
//!
//! hyper's pool is keyed by scheme and authority alone: were it shared, a connection that one plugin's `networks` grant
//! opened could carry another plugin's request to the same name.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper_rustls::{ConfigBuilderExt, HttpsConnector};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use ipnet::IpNet;
use tokio::sync::Semaphore;
use wasmtime_wasi_http::WasiBody;

use super::connector::GatedConnector;
use crate::error::SandboxError;

/// A client whose connections all obey one policy.
pub(crate) type Upstream = Client<HttpsConnector<GatedConnector>, WasiBody>;

/// Idle connections are closed before the usual 60 s of upstream load balancers, so that few requests meet a dying one.
const IDLE: Duration = Duration::from_secs(50);

/// Idle connections that are kept to one host: what a burst leaves behind. More would hold descriptors for no one.
const MOST_IDLE: usize = 64;
/// Look-ups of names at the same time, over all plugins. One can't be cancelled and holds a thread for as long as the
/// resolver takes, tens of seconds where it is away; of tokio's 512 such threads the files' and the compiler's share
/// must stay free.
const LOOK_UPS: usize = 32;

/// Makes clients, and hands out the same one for the same policy.
pub(crate) struct Upstreams {
    tls: Arc<rustls::ClientConfig>,
    look_ups: Arc<Semaphore>,
    clients: Mutex<HashMap<Vec<IpNet>, Upstream>>,
}

impl Upstreams {
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
        let look_ups = Arc::new(Semaphore::new(LOOK_UPS));
        Ok(Self { tls: Arc::new(tls), look_ups, clients: Mutex::default() })
    }

    /// The client for a policy. Cheap to clone.
    pub(crate) fn client(&self, networks: &[IpNet]) -> Upstream {
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
                    .pool_idle_timeout(IDLE)
                    .pool_max_idle_per_host(MOST_IDLE)
                    .build(connector)
            })
            .clone()
    }
}
