//! Whether Redis is used: the one state that all operations share.
//!
//! An operation that fails or is not answered in time ends the use of Redis for all of them, with one line in the log.
//! They are then answered from the memory of this host at once, without trying, until the task of
//! [`reconnecting`](crate::reconnecting) has a connection again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use masque_store::{SharedHealth, SharedStatus};
use redis::RedisResult;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::link::Link;
use crate::refusal::describe;

/// Whether Redis is used, and by which connection.
pub(crate) struct Circuit {
    target: String,
    command_timeout: Duration,
    state: RwLock<State>,
    numbers: AtomicU64,
    lost: Notify,
}

enum State {
    Connected { link: Link, number: u64, since: Instant },
    Unavailable { since: Instant, lasted: Duration, reason: String },
}

impl Circuit {
    /// Not connected yet.
    pub(crate) fn new(target: String, command_timeout: Duration) -> Self {
        let state = State::Unavailable {
            since: Instant::now(),
            lasted: Duration::ZERO,
            reason: "it was not reached yet".into(),
        };
        Self {
            target,
            command_timeout,
            state: RwLock::new(state),
            numbers: AtomicU64::new(0),
            lost: Notify::new(),
        }
    }

    /// Runs an operation on Redis. `None` if Redis is not used, or no longer since this operation failed.
    pub(crate) async fn call<T, F>(&self, operation: impl FnOnce(Link) -> F) -> Option<T>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let (link, number) = self.link()?;
        match timeout(self.command_timeout, operation(link)).await {
            Ok(Ok(answer)) => Some(answer),
            Ok(Err(error)) => {
                self.lose(number, describe(&error));
                None
            }
            Err(_) => {
                self.lose(number, format!("it does not answer within {:?}", self.command_timeout));
                None
            }
        }
    }

    /// Since when Redis is not used; `None` while it is.
    pub(crate) fn unavailable_since(&self) -> Option<Instant> {
        match &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
            State::Connected { .. } => None,
            State::Unavailable { since, .. } => Some(*since),
        }
    }

    /// A number for a connection to be made, by which its loss is told.
    pub(crate) fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Uses Redis from now on.
    pub(crate) fn connect(&self, link: Link, number: u64) {
        let connected = State::Connected { link, number, since: Instant::now() };
        let before =
            std::mem::replace(&mut *self.state.write().unwrap_or_else(PoisonError::into_inner), connected);
        if let State::Unavailable { since, .. } = before {
            tracing::info!(redis = self.target, after = ?since.elapsed(), "Redis is used");
        }
    }

    /// Does not use Redis from now on, if this connection is the one in use.
    pub(crate) fn lose(&self, number: u64, reason: String) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let State::Connected { number: current, since, .. } = &*state else { return };
        if *current != number {
            return;
        }
        let lasted = since.elapsed();
        // The connection is dropped after the lock is free.
        let unavailable = State::Unavailable { since: Instant::now(), lasted, reason: reason.clone() };
        let before = std::mem::replace(&mut *state, unavailable);
        drop(state);
        drop(before);
        tracing::warn!(
            redis = self.target,
            reason,
            "Redis can't be used: this host applies its share of the limits, and tells other hosts nothing"
        );
        self.lost.notify_one();
    }

    /// Notes why Redis still can't be used.
    pub(crate) fn still_unavailable(&self, why: String) {
        if let State::Unavailable { reason, .. } =
            &mut *self.state.write().unwrap_or_else(PoisonError::into_inner)
        {
            *reason = why;
        }
    }

    /// Notes why Redis can't be used at the start, and says so.
    pub(crate) fn begin_unavailable(&self, reason: String) {
        tracing::warn!(redis = self.target, reason, "Redis can't be used yet: this host begins without it");
        self.still_unavailable(reason);
    }

    /// Waits until Redis is not used. Returns how long the connection lasted.
    pub(crate) async fn lost(&self) -> Duration {
        loop {
            if let State::Unavailable { lasted, .. } =
                &*self.state.read().unwrap_or_else(PoisonError::into_inner)
            {
                return *lasted;
            }
            self.lost.notified().await;
        }
    }

    fn link(&self) -> Option<(Link, u64)> {
        match &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
            State::Connected { link, number, .. } => Some((link.clone(), *number)),
            State::Unavailable { .. } => None,
        }
    }
}

impl SharedHealth for Circuit {
    fn status(&self) -> SharedStatus {
        match &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
            State::Connected { .. } => SharedStatus::Connected,
            State::Unavailable { since, reason, .. } => {
                SharedStatus::Unavailable { since: since.elapsed(), reason: reason.clone() }
            }
        }
    }
}
