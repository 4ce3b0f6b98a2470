//! Starts and stops the host.
//!
//! Start: the listeners first, so that a port in use is reported at once and probes are answered while the rest loads; then
//! the store, the sandbox with the active set, and background tasks. On a socket that a service manager passed, clients wait
//! meanwhile, as long as the host before this one may need to stop.
//!
//! Stop, at the first signal: `/readyz` answers 503 and every answer closes its connection, for `drain.delay`; then no
//! connection is accepted and running turns get `drain.timeout` to end. A second signal cuts both short. A part of the host
//! that ends by itself stops the host as a second signal does, and is its error. Stopping takes `drain.delay`,
//! `drain.timeout` and [`END_TIMEOUT`] at most.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use masque_http::tls::ServerCertificate;
use masque_http::unix_socket::{self, SocketFile};
use masque_http::{
    BindError, ConnectionHandler, Lifecycle, Listener, ListenerKind, Phase, Server, StartupSwitch,
    descriptors,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::host::Host;
use super::passed_sockets::PassedSockets;
use super::service_manager;
use super::signals::Signals;
use super::supervisor::Supervisor;
use crate::{convert, shared};
use masque_api::{self as api, App};
use masque_config::{Config, ConfigSource, Diagnostics, Drain, ListenAddress};

/// The connection limit of the admin listener and of the Unix socket, each. It is separate from the public limit, so that
/// operators get in when the public listener is full.
const MAX_ADMIN_CONNECTIONS: usize = 32;
/// The time for clients to read the rest of their answers after all turns have ended.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);
/// The same after a second signal.
const SHORT_FLUSH_TIMEOUT: Duration = Duration::from_millis(500);
/// The time for everything after `drain.timeout`: the ends of interrupted turns, the rest of the answers, running jobs, and
/// closing the store. With the defaults of `[drain]` and the second that the runtime gets, the process is gone before the 30 s
/// that Kubernetes gives it; `docs/operators.md` names the sum.
const END_TIMEOUT: Duration = Duration::from_secs(7);

/// The time for clients that were accepted last, from a socket that is handed over, to send their requests. A turn that is asked
/// for later is refused.
const HAND_OVER_TIME: Duration = Duration::from_millis(500);
/// How much longer than it may stop a host waits for the one before it.
const SUCCESSION_MARGIN: Duration = Duration::from_secs(2);

/// How long work on blocking threads may go on after the command has ended.
pub(crate) const RUNTIME_END: Duration = Duration::from_secs(1);

/// Serves until a signal stops the host, on the sockets that were passed and those that are bound. The log is running.
///
/// # Errors
/// What keeps the host from starting, or which part of it ended by itself, in a sentence for the operator.
pub(crate) async fn run(
    config: Config,
    source: ConfigSource,
    passed: anyhow::Result<PassedSockets>,
) -> anyhow::Result<()> {
    let started = Instant::now();
    let mut passed = passed?;
    // With a socket that is handed on, whoever has the data folder is the host before this one, which stops.
    let succession = (!passed.is_empty()).then(|| stop_time(&config.drain) + SUCCESSION_MARGIN);
    // Its end is noticed by the manager.
    drop(tokio::spawn(service_manager::keep_watchdog()));
    // Raises the limit of open files first: the sandbox sizes its pool by it.
    let connections = descriptors::limit_connections(config.server.max_connections);
    let config = Arc::new(config);
    let signals = Signals::listen()?;
    let mut mistakes = convert::http::verify_tls(&config);
    mistakes.extend(convert::traces::verify(&config));
    let mistakes = Diagnostics::new(mistakes);
    anyhow::ensure!(!mistakes.are_fatal(), mistakes);
    if let Some(redis) = &config.redis.server {
        // Before the database is waited for.
        shared::redis_options(redis).context("REDIS_URL")?;
    }
    let lifecycle = Lifecycle::new();
    let supervisor = Supervisor::new(lifecycle.clone());
    let Signals { stop: stop_signal, cut, task } = signals;
    supervisor.watch("the listener for signals", &cut, task);
    let certificate = match &config.tls {
        Some(tls) => {
            let (certificate, watcher) = ServerCertificate::open(convert::http::tls(tls))?;
            supervisor.spawn(
                "the watcher of the certificate",
                &stop_signal,
                watcher.run(stop_signal.clone()),
            );
            Some(certificate)
        }
        None => None,
    };
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
        let listener = match (passed.take_listener(kind, address, setting)?, address) {
            (Some(passed), _) => passed,
            (None, Some(address)) => bind(address).await.map_err(|error| with_remedy(error, setting))?,
            (None, None) => continue,
        };
        addresses.extend(listener.addresses()?.into_iter().map(|address| (kind, address)));
        let start = start_of(&listener, lifecycle.clone(), succession);
        let accepting =
            server.serve_after(start, listener, max_connections, handler(kind, certificate.clone()));
        supervisor.watch("a listener", &server.shutdown().graceful, accepting);
    }

    service_manager::status("loading; what is waited for is in the log");
    let host = tokio::select! {
        loaded = Host::load(Arc::clone(&config), source, &supervisor, succession) => loaded?,
        () = stop_signal.cancelled() => {
            tracing::info!("told to stop while loading");
            return Ok(());
        }
        reason = supervisor.failed() => return Err(anyhow!(reason)),
    };
    service.set_ready(api::router(App::new(host.services(lifecycle.clone(), started))));
    // The store holds the lock of the data folder from here on, so no other host uses the socket's path.
    let socket = match unix_socket::bind(&config.data.folder) {
        Ok((listener, file)) => {
            let accepting =
                server.serve(listener, MAX_ADMIN_CONNECTIONS, handler(ListenerKind::Socket, None));
            supervisor.watch("the listener on the socket", &server.shutdown().graceful, accepting);
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
    service_manager::ready();
    announce(&addresses, certificate.is_some());

    let failure = tokio::select! {
        () = stop_signal.cancelled() => None,
        reason = supervisor.failed() => Some(reason),
    };
    // A part that ends while the host stops makes the rest short, too.
    let cut_by_failure = async {
        supervisor.failed().await;
        cut.cancel();
        std::future::pending().await
    };
    let too_long = async {
        tokio::select! {
            () = tokio::time::sleep(config.drain.delay + config.drain.timeout) => {}
            () = cut.cancelled() => {}
        }
        tokio::time::sleep(END_TIMEOUT).await;
    };
    let has_stopped = tokio::select! {
        () = stop(&config, host, server, &lifecycle, &cut, socket) => true,
        () = too_long => false,
        never = cut_by_failure => never,
    };
    match failure {
        Some(reason) => Err(anyhow!(reason)),
        None if has_stopped => Ok(()),
        // What was acknowledged is on disk. The next start marks what was left as interrupted.
        None => Err(anyhow!("stopping took too long; what still ran was left behind")),
    }
}

async fn bind(address: ListenAddress) -> Result<Listener, BindError> {
    match address {
        ListenAddress::One(address) => Listener::bind(address).await,
        ListenAddress::Localhost(port) => Listener::bind_localhost(port).await,
    }
}

/// When a listener starts to accept connections: on an inherited socket once they can be served, or after `longest`. Without
/// that, a restart would refuse whoever comes meanwhile.
fn start_of(
    listener: &Listener,
    lifecycle: Lifecycle,
    longest: Option<Duration>,
) -> impl Future<Output = ()> + Send + 'static {
    let longest = longest.filter(|_| listener.is_inherited());
    async move {
        if let Some(longest) = longest {
            // The error is the end of the time: probes are answered, and requests refused, while the host loads.
            let _ = tokio::time::timeout(longest, lifecycle.reached(Phase::Ready)).await;
        }
    }
}

/// How long a host takes to stop, at most.
fn stop_time(drain: &Drain) -> Duration {
    drain.delay + drain.timeout + END_TIMEOUT + RUNTIME_END
}

/// Prints the addresses to standard output, independent of the log: with port 0, they appear nowhere else.
fn announce(addresses: &[(ListenerKind, SocketAddr)], encrypted: bool) {
    let scheme = if encrypted { "https" } else { "http" };
    let mut lines = String::new();
    for (kind, address) in addresses {
        let what = match kind {
            ListenerKind::Admin => "operators are served on",
            ListenerKind::Public | ListenerKind::Socket => "listening on",
        };
        tracing::info!("{what} {scheme}://{address}");
        // Writing to a string cannot fail.
        let _ = writeln!(lines, "{what} {scheme}://{address}");
    }
    // On a thread of its own: whoever reads standard output may stall. If it is closed or no thread can be started, the host
    // serves nevertheless.
    let _ = std::thread::Builder::new().name("announce".into()).spawn(move || {
        let mut output = io::stdout().lock();
        let _ = output.write_all(lines.as_bytes()).and_then(|()| output.flush());
    });
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
    let within = stop_time(drain);
    service_manager::stopping();
    tracing::info!(delay = ?drain.delay, timeout = ?drain.timeout, ?within, turns = host.turns.running(), "stopping");
    lifecycle.enter(Phase::Draining);
    tokio::select! {
        () = tokio::time::sleep(drain.delay) => {}
        () = cut.cancelled() => tracing::info!("told to stop at once"),
    }
    if server.hand_over() {
        tokio::select! {
            () = tokio::time::sleep(HAND_OVER_TIME) => {}
            () = cut.cancelled() => {}
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The default of a key of `[drain]`, in seconds, as the reference has it. A test of the configuration compares it with
    /// the code.
    fn default_seconds(key: &str) -> u64 {
        let reference = include_str!("../../../../docs/configuration.md");
        let (_, section) = reference.split_once("### `[drain]`").unwrap();
        let (_, rest) = section.split_once(&format!("| `{key}` | `")).unwrap();
        rest.split_once("s`").unwrap().0.parse().unwrap()
    }

    #[test]
    fn the_defaults_end_before_kubernetes_kills_and_the_guide_names_their_sum() {
        let end = (END_TIMEOUT + RUNTIME_END).as_secs();
        let sum = default_seconds("delay") + default_seconds("timeout") + end;
        assert!(sum < 30, "{sum} s");
        let guide = include_str!("../../../../docs/operators.md");
        assert!(
            guide.contains(&format!("| **at most {sum} s** |")),
            "the guide says another sum than {sum} s"
        );
        assert!(guide.contains(&format!("the store is closed | at most {end} s |")));
        let unit = include_str!("../../../../deploy/systemd/masque.service");
        assert!(unit.contains(&format!("TimeoutStopSec={}s", sum + 2)), "systemd kills at another time");
        // What it advises where Docker's 10 s stay as they are.
        assert!(guide.contains("`delay = \"0s\"` and `timeout = \"1s\"`") && 1 + end < 10);
    }
}
