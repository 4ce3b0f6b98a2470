//! A client that makes turns with a healthy companion while something else fails in the same host.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::client::Client;

/// The limit of a turn's 99th percentile. It is generous, so that it is exceeded only by a host that stalls, also on a busy
/// machine.
const MAX_P99: Duration = Duration::from_secs(2);

/// A client that makes one turn after the other. Panics at the first turn that fails.
pub struct BackgroundClient {
    stop: oneshot::Sender<()>,
    turns: JoinHandle<Vec<Duration>>,
}

impl BackgroundClient {
    /// Begins to make turns with `companion`.
    pub fn start(client: Client, companion: &str) -> Self {
        let (stop, mut stopped) = oneshot::channel();
        let body = json!({ "message": "How are you?", "companion": companion });
        let turns = tokio::spawn(async move {
            let mut durations = Vec::new();
            while stopped.try_recv().is_err() {
                let begun = Instant::now();
                client.chat(&body).send().await.expect(200);
                durations.push(begun.elapsed());
            }
            durations
        });
        Self { stop, turns }
    }

    /// Ends after the current turn. Panics if a turn failed, or if turns took too long while `what` happened.
    pub async fn finish(self, what: &str) {
        // Fails if the task has panicked, which is reported next.
        let _ = self.stop.send(());
        let mut durations = self.turns.await.expect("no turn of the background client fails");
        durations.sort();
        let (turns, p99) = (durations.len(), durations[(durations.len() * 99).div_ceil(100) - 1]);
        eprintln!("beside {what}: {turns} turns, p50 {:?}, p99 {p99:?}", durations[turns / 2]);
        assert!(p99 < MAX_P99, "beside {what}, a turn took {p99:?}");
    }
}
