//! A point in an answer where the model waits for the test, and where the test can wait for the model.

use std::sync::Arc;

use tokio::sync::watch;

use crate::wait::within;

/// A gate, closed at first. Clones are the same gate.
#[derive(Clone, Debug)]
pub struct Gate(Arc<watch::Sender<State>>);

#[derive(Debug, Default)]
struct State {
    reached: bool,
    open: bool,
}

impl Gate {
    #[expect(clippy::new_without_default, reason = "a gate is always made explicitly")]
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(State::default())))
    }

    /// Lets the model pass, now and later.
    pub fn open(&self) {
        self.0.send_modify(|state| state.open = true);
    }

    /// Waits until the model has reached the gate.
    pub async fn reached(&self) {
        self.wait("the model to reach a gate", |state| state.reached).await;
    }

    pub(super) async fn pass(&self) {
        self.0.send_modify(|state| state.reached = true);
        let mut states = self.0.subscribe();
        // Never fails, since the gate holds the sender. No time limit: the test decides how long the gate stays closed.
        let _ = states.wait_for(|state| state.open).await;
    }

    async fn wait(&self, what: &str, holds: impl Fn(&State) -> bool) {
        let mut states = self.0.subscribe();
        within(what, states.wait_for(|state| holds(state))).await.unwrap();
    }
}
