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

use crate::api::phase::{Life, Phase};
use crate::api::{self, App};
use crate::auth::Local;
use crate::config::{Config, Origin};
use crate::telemetry;

mod accept;
mod connection;
mod descriptors;
mod host;
mod signals;
mod streams;

use accept::Listening;
use connection::Front;
use host::Host;
use signals::Signals;

/// What clients get to take their last bytes once all turns have ended.
const FLUSH: Duration = Duration::from_secs(5);
/// The same after a second signal.
const FLUSH_CUT: Duration = Duration::from_millis(500);

/// Serves until it is told to stop.
///
/// # Errors
/// Whatever keeps the host from starting, in a sentence for the operator.
pub(crate) async fn run(config: Config, origin: Origin) -> anyhow::Result<()> {
    let started = Instant::now();
    telemetry::start(&config.log)?;
    // Before the sandbox looks at what the machine has room for.
    let connections = descriptors::connections(config.server.max_connections);
    let config = Arc::new(config);
    let signals = Signals::listen()?;
    let listener = accept::bind(config.server.listen).await?;
    let address = listener.local_addr()?;
    let life = Life::new();
    let authenticator = Arc::new(Local);
    let front = Front::new(api::loading(&*authenticator, life.clone()));
    let listening = Listening::start(listener, connections, &config.server, front.clone(), life.clone());

    let host = tokio::select! {
        loaded = Host::load(Arc::clone(&config), origin) => loaded?,
        () = signals.stop.cancelled() => {
            tracing::info!("told to stop while loading");
            return Ok(());
        }
    };
    front.open(api::router(App::new(host.services(authenticator, life.clone(), started))));
    life.enter(Phase::Ready);
    tracing::info!("listening on http://{address}");
    announce(address);

    signals.stop.cancelled().await;
    stop(&config, host, listening, &life, &signals.cut).await;
    Ok(())
}

/// Tells whoever started the host where it is, whatever it logs: with port 0, nothing else says it.
fn announce(address: SocketAddr) {
    let mut output = io::stdout().lock();
    // A host whose output leads nowhere serves all the same.
    let _ = writeln!(output, "listening on http://{address}").and_then(|()| output.flush());
}

async fn stop(config: &Config, host: Host, listening: Listening, life: &Life, cut: &CancellationToken) {
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
    host.close().await;
    tracing::info!("stopped");
}

#[cfg(test)]
mod tests;
