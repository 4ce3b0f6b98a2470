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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;
    use masque_store::{ConversationId, EventPage, TurnId};
    use serde_json::json;
    use tokio::time::Instant;

    use super::*;
    use crate::log::{EventKind, TurnEnd, decode};

    /// When a batch came, the sequence of its first event, its events, and whether it was the last.
    type Appended = (Duration, u64, Vec<String>, bool);

    /// Notes each batch, with its time, and takes the first `takes` of them.
    struct Batches {
        seen: Mutex<Vec<Appended>>,
        began: Instant,
        takes: usize,
    }

    #[async_trait]
    impl TurnEvents for Batches {
        async fn append(&self, _: TurnId, _: u32, first: u64, events: &[String], has_ended: bool) -> bool {
            let mut seen = self.seen.lock().unwrap();
            seen.push((self.began.elapsed(), first, events.to_vec(), has_ended));
            seen.len() <= self.takes
        }

        async fn read(&self, _: TurnId, _: u64) -> Option<EventPage> {
            None
        }

        fn is_shared(&self) -> bool {
            true
        }
    }

    /// Publishes a log to which `write` writes, and returns the batches.
    async fn batches<F: Future<Output = ()>>(
        takes: usize,
        write: impl FnOnce(Arc<EventLog>) -> F,
    ) -> Arc<Batches> {
        let batches = Arc::new(Batches { seen: Mutex::default(), began: Instant::now(), takes });
        let log = EventLog::new(TurnId::new(), ConversationId::new(), "elara".into(), usize::MAX);
        log.open();
        let publishing = publish(Arc::clone(&batches) as Arc<dyn TurnEvents>, Arc::clone(&log), 1);
        tokio::join!(publishing, write(log));
        batches
    }

    #[tokio::test(start_paused = true)]
    async fn events_leave_in_batches_and_the_last_at_once() {
        let write = |log: Arc<EventLog>| async move {
            for _ in 0..20 {
                tokio::time::sleep(Duration::from_millis(4)).await;
                log.write("word ").unwrap();
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
            log.write(&"x".repeat(BATCH_BYTES)).unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
            log.end(TurnEnd::Completed(Arc::new(json!({}))));
        };
        let batches = batches(usize::MAX, write).await;
        let seen = batches.seen.lock().unwrap();
        let times: Vec<_> = seen.iter().map(|(at, ..)| at.as_millis()).collect();
        // The first, after the interval, many bytes, the last. A timer may be a millisecond late.
        let [0, 50..=52, 81..=104, last] = times[..] else { panic!("{times:?}") };
        assert!(last - times[2] <= 2, "{times:?}");
        let ends: Vec<_> = seen.iter().map(|(.., has_ended)| *has_ended).collect();
        assert_eq!(ends, [false, false, false, true]);
        let mut next = 0;
        let mut text = String::new();
        for (_, first, events, _) in seen.iter() {
            assert_eq!(*first, next);
            for event in events {
                let event = decode(event).unwrap();
                assert_eq!(event.sequence, next);
                next += 1;
                if let EventKind::Delta { text: more } = event.kind {
                    text.push_str(&more);
                }
            }
        }
        assert_eq!(text, "word ".repeat(20) + &"x".repeat(BATCH_BYTES));
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_published_after_a_batch_that_was_not_taken() {
        let write = |log: Arc<EventLog>| async move {
            for _ in 0..4 {
                tokio::time::sleep(BATCH_INTERVAL * 2).await;
                log.write("word ").unwrap();
            }
            log.end(TurnEnd::Completed(Arc::new(json!({}))));
        };
        assert_eq!(batches(1, write).await.seen.lock().unwrap().len(), 2);
    }
}
