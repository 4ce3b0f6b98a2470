//! The listeners: who gets a connection, and how many at once.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use futures::FutureExt;
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{Ends, Protocols, Socket};
use super::room::Room;

/// Between two tries where the process or the machine is out of something: the first pause, doubled up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// `remedy` is how another address is chosen.
pub(super) async fn bind(address: SocketAddr, remedy: &str) -> anyhow::Result<Listener> {
    let listener = TcpListener::bind(address).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            anyhow!("{address} is in use by another process; stop it, or choose another address with {remedy}")
        }
        io::ErrorKind::PermissionDenied => {
            anyhow!("{address} needs privileges that this process does not have; choose a port from 1024 with {remedy}")
        }
        io::ErrorKind::AddrNotAvailable => {
            anyhow!("{address} is no address of this machine; choose another with {remedy}")
        }
        _ => anyhow!(error).context(format!("can't listen on {address}")),
    })?;
    Ok(Listener::Tcp(listener))
}

pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Where it is reached, if over TCP.
    pub(super) fn address(&self) -> io::Result<Option<SocketAddr>> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(Some),
            Self::Unix(_) => Ok(None),
        }
    }

    async fn accept(&self) -> io::Result<Socket> {
        match self {
            Self::Tcp(listener) => {
                let (socket, peer) = listener.accept().await?;
                prepare(&socket);
                Ok(Socket::Tcp(socket, peer))
            }
            Self::Unix(listener) => listener.accept().await.map(|(socket, _)| Socket::Unix(socket)),
        }
    }
}

/// Listeners at work, with the connections they accepted.
pub(super) struct Listening {
    pub(super) ends: Ends,
    connections: TaskTracker,
}

impl Listening {
    pub(super) fn new() -> Self {
        let ends = Ends { finish: CancellationToken::new(), abort: CancellationToken::new() };
        Self { ends, connections: TaskTracker::new() }
    }

    /// `places` connections are accepted at once; more wait for one that asks for nothing.
    pub(super) fn accept(&self, listener: Listener, places: usize, protocols: Protocols) {
        let accepting = Accepting {
            listener,
            room: Room::new(places),
            protocols: Arc::new(protocols),
            connections: self.connections.clone(),
        };
        self.connections.spawn(accepting.run(self.ends.finish.clone()));
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
    listener: Listener,
    room: Room,
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

    /// Takes one client up. Where there is no place, it waits here and those after it in the kernel's queue: that it is
    /// there is why another leaves.
    async fn next(&self) -> io::Result<()> {
        let socket = self.listener.accept().await?;
        let Some(place) = self.room.place().await else { return Ok(()) };
        let protocols = Arc::clone(&self.protocols);
        self.connections.spawn(async move { protocols.serve(socket, place).await });
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
