//! The connections of one plugin to one origin, and the requests that wait for one.
//!
//! Requests are served in the order in which they came. Connections are opened by tasks of their own: a request that gives up, or
//! that is served by another connection, wastes none. What is opened and when is decided by [`PoolPolicy`].

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use masque_grants::Origin;
use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;

use super::connection::{Connector, OpenError, OpenedConnection, RequestSender};
use super::pool_policy::{PoolLoad, PoolPolicy, Protocol};
use super::pooled_connection::PooledConnection;

/// Idle connections are closed before the usual 60 s of upstream load balancers, so that few requests use one that is closing.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);
/// How long a connection may take to open: several addresses of 5 s each, TLS, and the server's settings.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);
/// After an additional connection could not be opened, the others serve alone for so long.
const REOPEN_AFTER: Duration = Duration::from_secs(1);
/// How long a connection may take for the rest of a request and its answer when nobody waits for them any more. The rest of an answer
/// has less time (`DRAIN_TIME` in `body.rs`).
const READY_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a request got no connection.
#[derive(Debug)]
pub(super) enum AcquireError {
    /// None could be opened.
    Open(Arc<OpenError>),
    /// As many requests wait already as may.
    TooManyWaiting,
}

/// The pool of one origin.
pub(super) struct OriginPool {
    origin: Origin,
    policy: PoolPolicy,
    connector: Arc<dyn Connector>,
    state: Mutex<PoolState>,
}

#[derive(Default)]
struct PoolState {
    connections: Vec<PooledConnection>,
    next_id: u64,
    /// Protocol and streams of the last connection, and connections that are being opened.
    load: PoolLoad,
    waiting: VecDeque<Waiter>,
    /// Until then no additional connection is opened.
    reopen_at: Option<Instant>,
    /// The one task that closes idle connections, while there are any.
    cleanup: Option<AbortOnDropHandle<()>>,
}

type Waiter = oneshot::Sender<Result<ConnectionLease, AcquireError>>;

impl OriginPool {
    pub(super) fn new(origin: Origin, policy: PoolPolicy, connector: Arc<dyn Connector>) -> Arc<Self> {
        let mut state = PoolState::default();
        // HTTP/2 is negotiated within TLS.
        state.load.protocol = (!origin.is_tls()).then_some(Protocol::Http1);
        Arc::new(Self { origin, policy, connector, state: Mutex::new(state) })
    }

    /// Waits in line for a connection that can take a request. Dropping the future leaves the line.
    ///
    /// # Errors
    /// No connection can be opened, or too many requests wait.
    pub(super) async fn acquire(self: &Arc<Self>) -> Result<ConnectionLease, AcquireError> {
        let (waiter, served) = oneshot::channel();
        self.update(|state| {
            state.waiting.retain(|waiter| !waiter.is_closed());
            if state.waiting.len() >= self.policy.waiting {
                // The receiver is below.
                let _ = waiter.send(Err(AcquireError::TooManyWaiting));
            } else {
                state.waiting.push_back(waiter);
            }
        });
        let ended = || AcquireError::Open(Arc::new(OpenError::new("its task has ended")));
        served.await.unwrap_or_else(|_| Err(ended()))
    }

    /// Whether the plugin has all the connections that it may have.
    pub(super) fn is_full(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let load = PoolLoad { waiting: usize::MAX, ..state.load() };
        !state.connections.is_empty() && self.policy.connections_to_open(&load) == 0
    }

    /// Changes the state, then serves the requests that wait and opens connections for the rest.
    fn update<R>(self: &Arc<Self>, change: impl FnOnce(&mut PoolState) -> R) -> R {
        let (result, rejected) = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let result = change(&mut state);
            let rejected = self.serve(&mut state);
            self.open_connections(&mut state);
            (result, rejected)
        };
        // Outside of the lock, which a dropped lease takes.
        drop(rejected);
        result
    }

    /// Hands connections to the requests that wait. Returns the leases of those that are gone.
    fn serve(self: &Arc<Self>, state: &mut PoolState) -> Vec<ConnectionLease> {
        let mut rejected = Vec::new();
        state.connections.retain(PooledConnection::is_alive);
        while let Some(waiter) = state.waiting.pop_front() {
            if waiter.is_closed() {
                continue;
            }
            let Some(lease) = self.take(state) else {
                state.waiting.push_front(waiter);
                break;
            };
            if let Err(Ok(lease)) = waiter.send(Ok(lease)) {
                rejected.push(lease);
            }
        }
        rejected
    }

    /// A connection with a free stream: the one with the fewest, and of idle ones the one that was used last.
    fn take(self: &Arc<Self>, state: &mut PoolState) -> Option<ConnectionLease> {
        let most = self.policy.http2_streams;
        let free = state.connections.iter_mut().filter_map(|connection| {
            let streams = connection.free_streams(most);
            (streams > 0).then_some((connection, streams))
        });
        let (connection, _) = free.max_by_key(|(connection, streams)| (*streams, connection.idle_since()))?;
        let is_reused = connection.is_used();
        let sender = connection.take()?;
        Some(ConnectionLease {
            pool: self.clone(),
            id: connection.id(),
            sender: Some(sender),
            is_reused,
            has_head: false,
        })
    }

    fn open_connections(self: &Arc<Self>, state: &mut PoolState) {
        if state.reopen_at.is_some_and(|at| Instant::now() < at) {
            return;
        }
        for _ in 0..self.policy.connections_to_open(&state.load()) {
            state.load.opening += 1;
            tokio::spawn(OpeningConnection { pool: self.clone(), is_counted: true }.run());
        }
    }

    /// A connection that can't be opened fails the request that it was for. On HTTP/2 it may be for many: they fail where there is no
    /// other connection, and otherwise wait for the others.
    fn fail_waiting(&self, state: &mut PoolState, error: OpenError) {
        let error = Arc::new(error);
        let failed = if state.load.protocol == Some(Protocol::Http1) {
            1
        } else if state.connections.is_empty() && state.load.opening == 0 {
            state.waiting.len()
        } else {
            state.reopen_at = Some(Instant::now() + REOPEN_AFTER);
            0
        };
        for waiter in state.waiting.drain(..failed.min(state.waiting.len())) {
            // The request may have given up.
            let _ = waiter.send(Err(AcquireError::Open(error.clone())));
        }
    }

    fn add(self: &Arc<Self>, state: &mut PoolState, opened: OpenedConnection) {
        state.reopen_at = None;
        state.load.protocol = Some(opened.sender.protocol());
        state.load.streams = opened.first_limit.unwrap_or(usize::MAX);
        state.next_id += 1;
        state.connections.push(PooledConnection::new(state.next_id, opened));
        // A task that has finished ended with its runtime.
        if state.cleanup.as_ref().is_none_or(|task| task.is_finished()) {
            let cleanup = Self::close_idle(Arc::downgrade(self));
            state.cleanup = Some(AbortOnDropHandle::new(tokio::spawn(cleanup)));
        }
    }

    /// Closes connections that have been idle for too long. Returns once there is none.
    async fn close_idle(pool: Weak<Self>) {
        loop {
            // Each time it also serves requests that wait, since a server may raise its limit of streams at any time.
            tokio::time::sleep(IDLE_TIMEOUT / 10).await;
            let Some(pool) = pool.upgrade() else { return };
            let is_empty = pool.update(|state| {
                state.connections.retain(|connection| {
                    connection.idle_since().is_none_or(|since| since.elapsed() < IDLE_TIMEOUT)
                });
                let is_empty = state.connections.is_empty();
                if is_empty {
                    // The next connection starts another task.
                    state.cleanup = None;
                }
                is_empty
            });
            if is_empty {
                return;
            }
        }
    }
}

impl PoolState {
    fn load(&self) -> PoolLoad {
        PoolLoad { connections: self.connections.len(), waiting: self.waiting.len(), ..self.load }
    }
}

/// A connection that is being opened. It counts until it is dropped, so that it also ends where its runtime does.
struct OpeningConnection {
    pool: Arc<OriginPool>,
    is_counted: bool,
}

impl OpeningConnection {
    async fn run(mut self) {
        let opening = self.pool.connector.open(&self.pool.origin);
        let opened = tokio::time::timeout(OPEN_TIMEOUT, opening).await;
        let timed_out = || OpenError::new(std::io::Error::from(std::io::ErrorKind::TimedOut));
        let opened = opened.unwrap_or_else(|_| Err(timed_out()));
        self.is_counted = false;
        self.pool.update(|state| {
            state.load.opening -= 1;
            match opened {
                Ok(opened) => self.pool.add(state, opened),
                Err(error) => self.pool.fail_waiting(state, error),
            }
        });
    }
}

impl Drop for OpeningConnection {
    fn drop(&mut self) {
        if self.is_counted {
            // No connection is opened here: without a runtime that is not possible.
            let mut state = self.pool.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.load.opening -= 1;
            self.pool.fail_waiting(&mut state, OpenError::new("its task has ended"));
        }
    }
}

/// The right to send one request on a connection. Dropping it ends the request: its stream becomes free, or the connection can
/// serve the next one if the answer was read to its end.
pub(crate) struct ConnectionLease {
    pool: Arc<OriginPool>,
    id: u64,
    /// Present until it is dropped.
    sender: Option<RequestSender>,
    is_reused: bool,
    /// Whether the head of the answer is there, so that the connection may serve another request.
    has_head: bool,
}

impl ConnectionLease {
    /// Whether the connection has served a request before, so that the server may be about to close it.
    pub(super) fn is_reused(&self) -> bool {
        self.is_reused
    }

    pub(super) fn sender(&mut self) -> Option<&mut RequestSender> {
        self.sender.as_mut()
    }

    /// What has to be kept until the answer has been read. It is nothing where hyper has read all of an answer of HTTP/1.1.
    pub(super) fn after_head(mut self) -> Option<Self> {
        self.has_head = true;
        let is_read = matches!(&self.sender, Some(sender @ RequestSender::Http1 { .. }) if !sender.is_busy());
        (!is_read).then_some(self)
    }

    /// Gives the connection back when it can serve the next request, or when it has ended. It is closed if neither happens soon:
    /// an upstream may have answered a request of which it never reads the rest.
    async fn wait_until_ready(mut self) {
        let Some(sender) = &mut self.sender else { return };
        if tokio::time::timeout(READY_TIMEOUT, sender.wait_until_ready()).await.is_err() {
            sender.close();
        }
    }
}

impl Drop for ConnectionLease {
    fn drop(&mut self) {
        let Some(sender) = self.sender.take() else { return };
        let runtime = tokio::runtime::Handle::try_current();
        if let Ok(runtime) = &runtime
            && self.has_head
            && sender.is_busy()
        {
            // The answer was dropped: its rest is read, or the connection closes.
            let pool = self.pool.clone();
            // Without a head it is not waited for a second time: a runtime that ends drops the task at once.
            let lease = Self { pool, id: self.id, sender: Some(sender), is_reused: true, has_head: false };
            runtime.spawn(lease.wait_until_ready());
            return;
        }
        let change = |state: &mut PoolState| {
            let idle = state.connections.iter().filter(|other| other.idle_since().is_some()).count();
            let Some(at) = state.connections.iter().position(|other| other.id() == self.id) else { return };
            let keep = matches!(sender, RequestSender::Http2(_)) || idle < self.pool.policy.idle_connections;
            let is_kept = keep && state.connections.get_mut(at).is_some_and(|own| own.give_back(sender));
            if !is_kept {
                state.connections.swap_remove(at);
            }
        };
        if runtime.is_ok() {
            self.pool.update(change);
        } else {
            // The process is ending: no connection can be opened for those that wait.
            change(&mut self.pool.state.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

#[cfg(test)]
mod http1_tests;
#[cfg(test)]
mod tests;
