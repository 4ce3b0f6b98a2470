//! A client that makes turns with a healthy companion while something else fails in the same host.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::client::Client;

/// The limit of a turn's 99th percentile. It is generous, so that it is exceeded only by a host that stalls, also on a busy
/// machine.
const MAX_P99: Duration = Duration::from_secs(2);

/// The same, as a multiple of the longest of a few turns before, for a machine on which everything takes long.
const MAX_P99_OF_TURNS_BEFORE: u32 = 50;
const TURNS_BEFORE: usize = 5;

/// A client that makes one turn after the other. Panics at the first turn that fails.
pub struct BackgroundClient {
    stop: oneshot::Sender<()>,
    turns: JoinHandle<Vec<Duration>>,
    max_p99: Duration,
}

impl BackgroundClient {
    /// Makes a few turns with `companion`, and begins to make more.
    pub async fn start(client: Client, companion: &str) -> Self {
        let (stop, mut stopped) = oneshot::channel();
        let body = json!({ "message": "How are you?", "companion": companion });
        let mut longest = Duration::ZERO;
        for _ in 0..TURNS_BEFORE {
            longest = longest.max(turn(&client, &body).await);
        }
        let turns = tokio::spawn(async move {
            let mut durations = vec![turn(&client, &body).await];
            while stopped.try_recv().is_err() {
                durations.push(turn(&client, &body).await);
            }
            durations
        });
        Self { stop, turns, max_p99: MAX_P99.max(MAX_P99_OF_TURNS_BEFORE * longest) }
    }

    /// Ends after the current turn. Panics if a turn failed, or if turns took too long while `what` happened.
    pub async fn finish(self, what: &str) {
        // Fails if the task has panicked, which is reported next.
        let _ = self.stop.send(());
        let mut durations = self.turns.await.expect("no turn of the background client fails");
        durations.sort();
        let (turns, p99) = (durations.len(), durations[(durations.len() * 99).div_ceil(100) - 1]);
        eprintln!("beside {what}: {turns} turns, p50 {:?}, p99 {p99:?}", durations[turns / 2]);
        assert!(
            p99 < self.max_p99,
            "beside {what}, a turn took {p99:?}, and {:?} is the limit",
            self.max_p99
        );
    }
}

/// Makes a turn, and returns how long it took.
async fn turn(client: &Client, body: &Value) -> Duration {
    let begun = Instant::now();
    client.chat(body).send().await.expect(200);
    begun.elapsed()
}
