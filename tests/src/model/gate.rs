//! A point in an answer at which the model waits for the test, and the test can wait for the model.

use std::sync::Arc;

use tokio::sync::watch;

use crate::wait::within;

/// Closed at first. Cheap to clone; all clones are the same gate.
#[derive(Clone, Debug)]
pub struct Gate(Arc<watch::Sender<State>>);

#[derive(Debug, Default)]
struct State {
    reached: bool,
    open: bool,
}

impl Gate {
    #[expect(clippy::new_without_default, reason = "a gate is made on purpose, never as part of a default")]
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(State::default())))
    }

    /// Lets the model go on, now and whenever it comes here again.
    pub fn open(&self) {
        self.0.send_modify(|state| state.open = true);
    }

    /// Waits until the model stands here.
    pub async fn reached(&self) {
        self.wait("the model to reach a gate", |state| state.reached).await;
    }

    pub(super) async fn pass(&self) {
        self.0.send_modify(|state| state.reached = true);
        let mut states = self.0.subscribe();
        // The sender is this gate's own. No limit: a test may hold a gate for as long as it likes.
        let _ = states.wait_for(|state| state.open).await;
    }

    async fn wait(&self, what: &str, holds: impl Fn(&State) -> bool) {
        let mut states = self.0.subscribe();
        within(what, states.wait_for(|state| holds(state))).await.unwrap();
    }
}
