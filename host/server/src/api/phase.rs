//! Where the host is in its life, as its parts and its clients see it. It only ever moves forward.

use std::sync::Arc;

use tokio::sync::watch;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// The socket is open, the rest is not ready.
    Loading,
    Ready,
    /// Told to stop: what comes is still served, and every connection is the client's last.
    Draining,
}

/// The phase, shared.
#[derive(Clone, Debug)]
pub(crate) struct Life(Arc<watch::Sender<Phase>>);

impl Life {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Phase::Loading)))
    }

    pub(crate) fn now(&self) -> Phase {
        *self.0.borrow()
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.0.send_if_modified(|now| {
            let forward = phase > *now;
            *now = phase.max(*now);
            forward
        });
    }

    /// Resolves once `phase` is reached or passed.
    pub(crate) async fn reached(&self, phase: Phase) {
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
        let life = Life::new();
        life.enter(Phase::Draining);
        life.enter(Phase::Ready);
        assert_eq!(life.now(), Phase::Draining);
    }
}
