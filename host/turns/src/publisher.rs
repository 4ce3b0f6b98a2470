//! Copies the log of a running turn to the memory that hosts share, where others read it.
//!
//! Events are appended in batches, since every one costs a round trip that nobody waits for. The first and the last leave at
//! once. The publisher does not count as a reader: a turn does not go on for it.

use std::sync::Arc;
use std::time::Duration;

use masque_store::TurnEvents;

use crate::log::{EventLog, encode};

/// The time between two batches.
const BATCH_INTERVAL: Duration = Duration::from_millis(50);
/// A batch leaves earlier if it has text of this many bytes.
const BATCH_BYTES: usize = 16 << 10;

/// Publishes the events of an attempt until its last. If the shared memory does not take a batch, the rest is not published,
/// since a later batch would leave a gap; readers on other hosts then learn from the store how the turn ended.
pub(crate) async fn publish(events: Arc<dyn TurnEvents>, log: Arc<EventLog>, attempt: u32) {
    let mut reader = log.observer();
    let mut first = 0;
    while let Some(batch) = reader.next().await {
        let has_ended = batch.iter().any(|event| event.kind.is_last());
        let texts: Vec<String> = batch.iter().map(|event| encode(event)).collect();
        if !events.append(log.turn(), attempt, first, &texts, has_ended).await {
            tracing::debug!(turn = %log.turn(), "the events of a turn can't be shared with other hosts");
            return;
        }
        first += texts.len() as u64;
        if has_ended {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(BATCH_INTERVAL) => {}
            () = log.wait_for_text(log.text_bytes() + BATCH_BYTES) => {}
        }
    }
}
