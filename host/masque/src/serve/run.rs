//! Starts and stops the host.
//!
//! Start: the listeners first, so that a port in use is reported at once and probes are answered while the rest loads;
//! then the store, the sandbox with the active set, and background tasks. Stop, at the first signal: `/readyz` answers 503
//! and every answer closes its connection, for `drain.delay`; then no connection is accepted and running turns get
//! `drain.timeout` to end. A second signal cuts both short.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use masque_http::tls::ServerCertificate;
use masque_http::unix_socket::{self, SocketFile};
use masque_http::{
    BindError, ConnectionHandler, Lifecycle, Listener, ListenerKind, Phase, Server, StartupSwitch,
    descriptors,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::host::Host;
use super::signals::Signals;
use crate::convert;
use masque_api::{self as api, App};
use masque_config::{Config, ConfigSource, Diagnostics, ListenAddress};

/// The connection limit of the admin listener and of the Unix socket, each. It is separate from the public limit, so that
/// operators get in when the public listener is full.
const MAX_ADMIN_CONNECTIONS: usize = 32;
/// The time for clients to read the rest of their answers after all turns have ended.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);
/// The same after a second signal.
const SHORT_FLUSH_TIMEOUT: Duration = Duration::from_millis(500);

/// Serves until a signal stops the host.
///
/// # Errors
/// What keeps the host from starting, in a sentence for the operator.
pub(crate) async fn run(config: Config, source: ConfigSource) -> anyhow::Result<()> {
    let started = Instant::now();
    masque_telemetry::start(&convert::telemetry::options(&config.log))?;
    // Raises the limit of open files first: the sandbox sizes its pool by it.
    let connections = descriptors::limit_connections(config.server.max_connections);
    let config = Arc::new(config);
    let signals = Signals::listen()?;
    let mistakes = Diagnostics::new(convert::http::verify_tls(&config));
    anyhow::ensure!(!mistakes.are_fatal(), mistakes);
    let certificate = match &config.tls {
        Some(tls) => Some(ServerCertificate::follow(convert::http::tls(tls), signals.stop.clone())?),
        None => None,
    };
    let lifecycle = Lifecycle::new();
    if !config.auth.required {
        tracing::warn!("authentication is off: whoever reaches this host is its one user");
    }
    let loading = api::loading(&convert::api::options(&config), !config.auth.required, lifecycle.clone());
    let service = StartupSwitch::new(loading);
    let server = Server::new();
    let handler = |listener, certificate| {
        let options = convert::http::connections(&config.server);
        let (lifecycle, shutdown) = (lifecycle.clone(), server.shutdown());
        ConnectionHandler::new(options, listener, certificate, lifecycle, shutdown, service.clone())
    };
    let mut addresses = Vec::new();
    let public = (ListenerKind::Public, Some(config.server.listen), "--listen", connections);
    let admin = (ListenerKind::Admin, config.admin.listen, "`listen` in [admin]", MAX_ADMIN_CONNECTIONS);
    for (kind, address, setting, max_connections) in [public, admin] {
        let Some(address) = address else { continue };
        let listener = match address {
            ListenAddress::One(address) => Listener::bind(address).await,
            ListenAddress::Localhost(port) => Listener::bind_localhost(port).await,
        };
        let listener = listener.map_err(|error| with_remedy(error, setting))?;
        addresses.extend(listener.addresses()?.into_iter().map(|address| (kind, address)));
        server.serve(listener, max_connections, handler(kind, certificate.clone()));
    }

    let host = tokio::select! {
        loaded = Host::load(Arc::clone(&config), source) => loaded?,
        () = signals.stop.cancelled() => {
            tracing::info!("told to stop while loading");
            return Ok(());
        }
    };
    service.set_ready(api::router(App::new(host.services(lifecycle.clone(), started))));
    // The store holds the lock of the data folder from here on, so no other host uses the socket's path.
    let socket = match unix_socket::bind(&config.data.folder) {
        Ok((listener, file)) => {
            server.serve(listener, MAX_ADMIN_CONNECTIONS, handler(ListenerKind::Socket, None));
            tracing::info!("operators are served on {}", file.path().display());
            Some(file)
        }
        Err(error) => {
            let path = config.data.folder.join(unix_socket::NAME);
            tracing::warn!(%error, "there is no socket for operators: {} can't be bound", path.display());
            None
        }
    };
    lifecycle.enter(Phase::Ready);
    announce(&addresses, certificate.is_some());

    signals.stop.cancelled().await;
    stop(&config, host, server, &lifecycle, &signals.cut, socket).await;
    Ok(())
}

/// Prints the addresses to standard output, independent of the log: with port 0, they appear nowhere else.
fn announce(addresses: &[(ListenerKind, SocketAddr)], encrypted: bool) {
    let scheme = if encrypted { "https" } else { "http" };
    let mut output = io::stdout().lock();
    for (kind, address) in addresses {
        let what = match kind {
            ListenerKind::Admin => "operators are served on",
            ListenerKind::Public | ListenerKind::Socket => "listening on",
        };
        tracing::info!("{what} {scheme}://{address}");
        // A closed standard output is no reason not to serve.
        let _ = writeln!(output, "{what} {scheme}://{address}").and_then(|()| output.flush());
    }
}

async fn stop(
    config: &Config,
    host: Host,
    server: Server,
    lifecycle: &Lifecycle,
    cut: &CancellationToken,
    socket: Option<SocketFile>,
) {
    let drain = &config.drain;
    tracing::info!(delay = ?drain.delay, timeout = ?drain.timeout, turns = host.turns.running(), "stopping");
    lifecycle.enter(Phase::Draining);
    tokio::select! {
        () = tokio::time::sleep(drain.delay) => {}
        () = cut.cancelled() => tracing::info!("told to stop at once"),
    }
    server.stop_accepting();
    host.drain(drain.timeout, cut.clone()).await;
    let timeout = if cut.is_cancelled() { SHORT_FLUSH_TIMEOUT } else { FLUSH_TIMEOUT };
    if !server.wait_closed(timeout, cut, SHORT_FLUSH_TIMEOUT).await {
        tracing::warn!("some clients did not take the end of their answers");
    }
    // Removes the socket file before `close` releases the lock of the data folder.
    drop(socket);
    host.close().await;
    tracing::info!("stopped");
}

/// Adds the setting that chooses another address, if another address would help.
fn with_remedy(error: BindError, setting: &str) -> anyhow::Error {
    if error.is_fixed_by_another_address() { anyhow!("{error} with {setting}") } else { error.into() }
}
