//! The life of a host, from the open socket to the closed store.
//!
//! Starting: the socket first, so that a port in use is known at once and probes are answered while the rest loads;
//! then the store, the sandbox with the active set, and the work that goes on by itself. Stopping, at the first signal:
//! `/readyz` says so and every answer asks its client to reconnect elsewhere, for `drain.delay`; then nothing more is
//! accepted and running turns get `drain.timeout` to end. A second signal cuts both short.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api::arrival::Via;
use crate::api::phase::{Life, Phase};
use crate::api::{self, App};
use crate::config::{Config, ConfigSource, Diagnostics};
use crate::telemetry;

mod accept;
mod connection;
mod descriptors;
mod host;
mod room;
mod signals;
mod socket;
mod streams;
pub(crate) mod tls;

use accept::{Listener, Listening};
use connection::{Front, Protocols};
use host::Host;
use signals::Signals;
use tls::Certificates;

/// Connections at once of each of the operators' ways in, which have room where everyone else's is full.
const OPERATORS: usize = 32;
/// What clients get to take their last bytes once all turns have ended.
const FLUSH: Duration = Duration::from_secs(5);
/// The same after a second signal.
const FLUSH_CUT: Duration = Duration::from_millis(500);

/// Serves until it is told to stop.
///
/// # Errors
/// Whatever keeps the host from starting, in a sentence for the operator.
pub(crate) async fn run(config: Config, origin: ConfigSource) -> anyhow::Result<()> {
    let started = Instant::now();
    telemetry::start(&config.log)?;
    // Before the sandbox looks at what the machine has room for.
    let connections = descriptors::connections(config.server.max_connections);
    let config = Arc::new(config);
    let signals = Signals::listen()?;
    let mistakes = Diagnostics::new(tls::verify(&config));
    anyhow::ensure!(!mistakes.are_fatal(), mistakes);
    let certificates =
        config.tls.as_ref().map(|tls| Certificates::follow(tls, signals.stop.clone())).transpose()?;
    let life = Life::new();
    if !config.auth.required {
        tracing::warn!("authentication is off: whoever reaches this host is its one user");
    }
    let front = Front::new(api::loading(&config, life.clone()));
    let listening = Listening::new();
    let protocols = |via, tls| {
        let ends = listening.ends.clone();
        Protocols::new(&config.server, front.clone(), life.clone(), ends, via, tls)
    };
    let mut places = Vec::new();
    let public = (Via::Public, Some(config.server.listen), "--listen", connections);
    let admin = (Via::Admin, config.admin.listen, "`listen` in [admin]", OPERATORS);
    for (via, address, remedy, room) in [public, admin] {
        let Some(address) = address else { continue };
        let listener = accept::bind(address, remedy).await?;
        places.extend(listener.address()?.map(|address| (via, address)));
        listening.accept(listener, room, protocols(via, certificates.clone()));
    }

    let host = tokio::select! {
        loaded = Host::load(Arc::clone(&config), origin) => loaded?,
        () = signals.stop.cancelled() => {
            tracing::info!("told to stop while loading");
            return Ok(());
        }
    };
    front.open(api::router(App::new(host.services(life.clone(), started))));
    // The data folder is this host's alone from here on.
    let socket = match socket::bind(&config.data.folder) {
        Ok((listener, bound)) => {
            listening.accept(Listener::Unix(listener), OPERATORS, protocols(Via::Socket, None));
            tracing::info!("operators are served on {}", bound.path.display());
            Some(bound)
        }
        Err(error) => {
            let path = config.data.folder.join(socket::NAME);
            tracing::warn!(%error, "there is no socket for operators: {} can't be bound", path.display());
            None
        }
    };
    life.enter(Phase::Ready);
    announce(&places, certificates.is_some());

    signals.stop.cancelled().await;
    stop(&config, host, listening, &life, &signals.cut, socket).await;
    Ok(())
}

/// Tells whoever started the host where it is, whatever it logs: with port 0, nothing else says it.
fn announce(places: &[(Via, SocketAddr)], encrypted: bool) {
    let scheme = if encrypted { "https" } else { "http" };
    let mut output = io::stdout().lock();
    for (via, address) in places {
        let what = match via {
            Via::Admin => "operators are served on",
            Via::Public | Via::Socket => "listening on",
        };
        tracing::info!("{what} {scheme}://{address}");
        // A host whose output leads nowhere serves all the same.
        let _ = writeln!(output, "{what} {scheme}://{address}").and_then(|()| output.flush());
    }
}

async fn stop(
    config: &Config,
    host: Host,
    listening: Listening,
    life: &Life,
    cut: &CancellationToken,
    socket: Option<socket::Bound>,
) {
    let drain = &config.drain;
    tracing::info!(delay = ?drain.delay, timeout = ?drain.timeout, turns = host.turns.running(), "stopping");
    life.enter(Phase::Draining);
    tokio::select! {
        () = tokio::time::sleep(drain.delay) => {}
        () = cut.cancelled() => tracing::info!("told to stop at once"),
    }
    listening.close();
    host.drain(drain.timeout, cut.clone()).await;
    let patience = if cut.is_cancelled() { FLUSH_CUT } else { FLUSH };
    if !listening.finished(patience, cut).await {
        tracing::warn!("some clients did not take the end of their answers");
    }
    // While the folder is still this host's.
    drop(socket);
    host.close().await;
    tracing::info!("stopped");
}

#[cfg(test)]
mod tests;
