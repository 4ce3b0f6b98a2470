//! Accepts connections on several listeners, each with its own limit, and ends them together.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use futures::FutureExt;
use http::Request;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

use crate::connection::ConnectionHandler;
use crate::connection_limiter::{ConnectionLimiter, ConnectionSlot};
use crate::listener::{AcceptedSocket, Listener};
use crate::shutdown::Shutdown;

/// The pauses after a failed accept, which happens if the process or the machine is out of descriptors or memory: the
/// first pause, which is doubled up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Connections that are served over the limit when a listener stops: as many as Linux keeps in a backlog by default.
const MAX_LAST_CONNECTIONS: usize = 4096;

/// The running listeners and the connections that they accepted.
#[derive(Debug, Default)]
pub struct Server {
    shutdown: Shutdown,
    /// Ends the accepting of connections on inherited sockets.
    hand_over: CancellationToken,
    has_inherited: AtomicBool,
    connections: TaskTracker,
}

impl Server {
    /// A server without a listener.
    pub fn new() -> Self {
        Self::default()
    }

    /// The signals that end this server's connections. A [`ConnectionHandler`] needs them.
    pub fn shutdown(&self) -> Shutdown {
        self.shutdown.clone()
    }

    /// Starts to accept connections on `listener`, in a task of its own. At `max_connections`, the connection that has
    /// been idle for the longest is closed for the next one; if none is idle, clients wait in the listener's backlog.
    /// Returns the task, which ends after [`Shutdown::graceful`] is cancelled.
    pub fn serve<S>(
        &self,
        listener: Listener,
        max_connections: usize,
        handler: ConnectionHandler<S>,
    ) -> JoinHandle<()>
    where
        S: Service<Request<Body>, Response = Response, Error = Infallible> + Clone + Send + Sync + 'static,
        S::Future: Send,
    {
        self.serve_after(std::future::ready(()), listener, max_connections, handler)
    }

    /// Does the same once `start` has ended. Until then clients wait in the listener's backlog.
    pub fn serve_after<S>(
        &self,
        start: impl Future<Output = ()> + Send + 'static,
        listener: Listener,
        max_connections: usize,
        handler: ConnectionHandler<S>,
    ) -> JoinHandle<()>
    where
        S: Service<Request<Body>, Response = Response, Error = Infallible> + Clone + Send + Sync + 'static,
        S::Future: Send,
    {
        let accept_loop = AcceptLoop {
            listener,
            limiter: ConnectionLimiter::new(max_connections),
            handler: Arc::new(handler),
            connections: self.connections.clone(),
        };
        let end = self.shutdown.graceful.clone();
        let stop = match accept_loop.listener.is_inherited() {
            true => {
                self.has_inherited.store(true, Ordering::Relaxed);
                self.hand_over.clone()
            }
            false => end.clone(),
        };
        self.connections.spawn(async move {
            if stop.run_until_cancelled(start).await.is_some() {
                accept_loop.run(stop).await;
            }
            end.cancelled().await;
        })
    }

    /// Accepts no more connections on inherited sockets, and leaves them to the next process. Those that were accepted are
    /// served as before. Returns whether there is such a socket.
    pub fn hand_over(&self) -> bool {
        self.hand_over.cancel();
        self.has_inherited.load(Ordering::Relaxed)
    }

    /// Accepts no more connections, and closes each connection after its running requests.
    pub fn stop_accepting(&self) {
        self.hand_over.cancel();
        self.shutdown.graceful.cancel();
        self.connections.close();
    }

    /// Waits until all connections have ended. Closes those that are left after `timeout`, or `timeout_after_cut` after
    /// `cut`, whichever is first. Returns whether all ended by themselves. To be called after [`Server::stop_accepting`].
    pub async fn wait_closed(
        self,
        timeout: Duration,
        cut: &CancellationToken,
        timeout_after_cut: Duration,
    ) -> bool {
        let after_cut = async {
            cut.cancelled().await;
            tokio::time::sleep(timeout_after_cut).await;
        };
        let ended_by_themselves = tokio::select! {
            () = self.connections.wait() => true,
            () = tokio::time::sleep(timeout) => false,
            () = after_cut => false,
        };
        self.shutdown.immediate.cancel();
        self.connections.wait().await;
        ended_by_themselves
    }
}

/// Accepts the connections of one listener.
struct AcceptLoop<S> {
    listener: Listener,
    limiter: ConnectionLimiter,
    handler: Arc<ConnectionHandler<S>>,
    connections: TaskTracker,
}

impl<S> AcceptLoop<S>
where
    S: Service<Request<Body>, Response = Response, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
{
    async fn run(self, stop: CancellationToken) {
        let mut pause = FIRST_PAUSE;
        // Outlives the future that waits for a slot: dropping the socket would reset the connection.
        let mut waiting = None;
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                accepted = self.accept_one(&mut waiting) => accepted,
            };
            match accepted {
                Ok(()) => pause = FIRST_PAUSE,
                Err(error) if is_of_one_client(&error) => {
                    tracing::debug!(%error, "a client left before it was accepted")
                }
                Err(error) => {
                    tracing::error!(%error, ?pause, "can't accept connections");
                    tokio::select! {
                        () = stop.cancelled() => break,
                        () = tokio::time::sleep(pause) => {}
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
        // Serve the client that waits for a slot, and those in the backlog: closing the listener would reset them. Waiting
        // for slots could take as long as running turns do. The backlog of an inherited socket is left to the next process:
        // this one begins no new turn.
        for _ in 0..MAX_LAST_CONNECTIONS {
            if waiting.is_none() && self.listener.is_inherited() {
                break;
            }
            match waiting.take().map(Ok).or_else(|| self.listener.accept().now_or_never()) {
                Some(Ok(socket)) => self.spawn(socket, self.limiter.over_limit()),
                Some(Err(error)) if is_of_one_client(&error) => {}
                Some(Err(_)) | None => break,
            }
        }
    }

    /// Accepts one connection, which is in `waiting` until it has a slot. At the limit, waits for a slot while the
    /// longest-idle connection is evicted; later clients wait in the kernel's backlog. The socket is accepted first,
    /// because only a waiting client is a reason to evict.
    async fn accept_one(&self, waiting: &mut Option<AcceptedSocket>) -> io::Result<()> {
        if waiting.is_none() {
            *waiting = Some(self.listener.accept().await?);
        }
        let Some(slot) = self.limiter.acquire().await else { return Ok(()) };
        if let Some(socket) = waiting.take() {
            self.spawn(socket, slot);
        }
        Ok(())
    }

    fn spawn(&self, socket: AcceptedSocket, slot: ConnectionSlot) {
        let handler = Arc::clone(&self.handler);
        self.connections.spawn(async move { handler.handle(socket, slot).await });
    }
}

/// Whether `accept(2)` reports an error of the connection that was waiting, not of the listener.
fn is_of_one_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
