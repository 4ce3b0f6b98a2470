//! Someone who talks to a healthy companion while something else goes wrong in the same host.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::client::Client;

/// What a turn may take at the 99th percentile beside an attack. Generous: it tells a host that stalls from one that
/// does not, on machines that do much else.
const BOUND: Duration = Duration::from_secs(2);

/// A client in a loop. It panics at the first turn that fails.
pub struct Bystander {
    leave: oneshot::Sender<()>,
    talk: JoinHandle<Vec<Duration>>,
}

impl Bystander {
    /// Begins to talk to `companion`.
    pub fn of(client: Client, companion: &str) -> Self {
        let (leave, mut left) = oneshot::channel();
        let body = json!({ "message": "How are you?", "companion": companion });
        let talk = tokio::spawn(async move {
            let mut took = Vec::new();
            while left.try_recv().is_err() {
                let begun = Instant::now();
                client.chat(&body).send().await.expect(200);
                took.push(begun.elapsed());
            }
            took
        });
        Self { leave, talk }
    }

    /// Leaves after a last turn. A panic if one failed, or if they took too long while `what` happened.
    pub async fn leave(self, what: &str) {
        // Fails where the talk has ended in a panic, which is reported next.
        let _ = self.leave.send(());
        let mut took = self.talk.await.expect("the others' turns go on");
        took.sort();
        let (turns, p99) = (took.len(), took[(took.len() * 99).div_ceil(100) - 1]);
        eprintln!("beside {what}: {turns} turns, p50 {:?}, p99 {p99:?}", took[turns / 2]);
        assert!(p99 < BOUND, "beside {what}, a turn took {p99:?}");
    }
}
