//! The phase of the host's life: loading, ready, draining. It only moves forward.

use std::sync::Arc;

use tokio::sync::watch;

/// A phase of the host's life, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The listeners are open, the rest of the host is not ready.
    Loading,
    /// Requests are served.
    Ready,
    /// The host was told to stop. Requests are still served, and every answer asks its client to reconnect elsewhere.
    Draining,
}

/// The current phase. Clones share it.
#[derive(Clone, Debug)]
pub struct Lifecycle(Arc<watch::Sender<Phase>>);

impl Default for Lifecycle {
    fn default() -> Self {
        Self::new()
    }
}

impl Lifecycle {
    /// Starts in [`Phase::Loading`].
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Phase::Loading)))
    }

    /// The current phase.
    pub fn now(&self) -> Phase {
        *self.0.borrow()
    }

    /// Moves on to `phase`. Does nothing if that phase is reached or passed already.
    pub fn enter(&self, phase: Phase) {
        self.0.send_if_modified(|now| {
            let is_later = phase > *now;
            *now = phase.max(*now);
            is_later
        });
    }

    /// Resolves once `phase` is reached or passed.
    pub async fn reached(&self, phase: Phase) {
        let mut changes = self.0.subscribe();
        // The sender lives in `self`, so the wait can't fail.
        let _ = changes.wait_for(|now| *now >= phase).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_drains_is_never_ready_again() {
        let lifecycle = Lifecycle::new();
        lifecycle.enter(Phase::Draining);
        lifecycle.enter(Phase::Ready);
        assert_eq!(lifecycle.now(), Phase::Draining);
    }
}
