//! The listener: who gets a connection, and how many at once.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use futures::FutureExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{Ends, Front, Protocols};
use crate::api::phase::Life;
use crate::config;

/// Between two tries where the process or the machine is out of something: the first pause, doubled up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

pub(super) async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            anyhow!("{address} is in use by another process; stop it, or choose another address with --listen")
        }
        io::ErrorKind::PermissionDenied => {
            anyhow!("{address} needs privileges that this process does not have; choose a port from 1024 with --listen")
        }
        io::ErrorKind::AddrNotAvailable => {
            anyhow!("{address} is no address of this machine; choose another with --listen")
        }
        _ => anyhow!(error).context(format!("can't listen on {address}")),
    })
}

/// A listener at work, with the connections it accepted.
pub(super) struct Listening {
    ends: Ends,
    connections: TaskTracker,
}

impl Listening {
    /// `connections` are accepted at once; more wait.
    pub(super) fn start(
        listener: TcpListener,
        connections: usize,
        server: &config::Server,
        front: Front,
        life: Life,
    ) -> Self {
        let ends = Ends { finish: CancellationToken::new(), abort: CancellationToken::new() };
        let tracker = TaskTracker::new();
        let accepting = Accepting {
            listener,
            room: Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS))),
            protocols: Arc::new(Protocols::new(server, front, life, ends.clone())),
            connections: tracker.clone(),
        };
        tracker.spawn(accepting.run(ends.finish.clone()));
        Self { ends, connections: tracker }
    }

    /// Accepts no more. Connections end with what they are doing.
    pub(super) fn close(&self) {
        self.ends.finish.cancel();
        self.connections.close();
    }

    /// Waits for the connections to end, and ends them after `patience`, or shortly after `cut`. Whether all ended by
    /// themselves.
    pub(super) async fn finished(self, patience: Duration, cut: &CancellationToken) -> bool {
        let impatient = async {
            cut.cancelled().await;
            tokio::time::sleep(super::FLUSH_CUT).await;
        };
        let by_themselves = tokio::select! {
            () = self.connections.wait() => true,
            () = tokio::time::sleep(patience) => false,
            () = impatient => false,
        };
        self.ends.abort.cancel();
        self.connections.wait().await;
        by_themselves
    }
}

struct Accepting {
    listener: TcpListener,
    room: Arc<Semaphore>,
    protocols: Arc<Protocols>,
    connections: TaskTracker,
}

impl Accepting {
    async fn run(self, finish: CancellationToken) {
        let mut pause = FIRST_PAUSE;
        loop {
            let accepted = tokio::select! {
                biased;
                () = finish.cancelled() => break,
                accepted = self.next() => accepted,
            };
            match accepted {
                Ok(()) => pause = FIRST_PAUSE,
                Err(error) if is_the_clients(&error) => {
                    tracing::debug!(%error, "a client left before it was accepted")
                }
                Err(error) => {
                    tracing::error!(%error, ?pause, "can't accept connections");
                    tokio::select! {
                        () = finish.cancelled() => break,
                        () = tokio::time::sleep(pause) => {}
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
        // The kernel has accepted these already: closing the listener would reset them.
        while let Some(Ok(())) = self.next().now_or_never() {}
    }

    /// Waits for room first: where there is none, clients wait in the kernel's queue.
    async fn next(&self) -> io::Result<()> {
        // The semaphore is never closed.
        let Ok(permit) = Arc::clone(&self.room).acquire_owned().await else { return Ok(()) };
        let (socket, _) = self.listener.accept().await?;
        prepare(&socket);
        let protocols = Arc::clone(&self.protocols);
        self.connections.spawn(async move {
            protocols.drive(socket).await;
            drop(permit);
        });
        Ok(())
    }
}

/// Without `TCP_NODELAY` every event of a stream waits up to 40 ms for the acknowledgement of the one before.
fn prepare(socket: &TcpStream) {
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
}

/// Errors of a connection that was waiting, as `accept(2)` reports them, in contrast to those of the listener.
fn is_the_clients(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
