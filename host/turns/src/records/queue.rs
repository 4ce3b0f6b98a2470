//! The way of a record from its turn to the store.
//!
//! The threat: a store that is slow or away, while turns go on and each leaves a record of up to megabytes. The policy: a queue
//! that is bounded in number and bytes, which never waits, and one task that writes it in batches. The accepted consequence:
//! records are lost. Each is counted by its reason, and failures of the store are logged once a minute.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use masque_store::{EncodedTurnRecord, Owner, TurnRecords};
use masque_telemetry::metrics::turns::{RECORDS_DROPPED, RECORDS_SHORTENED, RECORDS_WRITTEN};
use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::shorten::shorten;
use super::{BuiltRecord, RecordSink};

/// Records that can wait: those of some seconds of a busy host.
const MAX_RECORDS: usize = 1024;

/// How many bytes of records can wait.
const MAX_BYTES: usize = 16 << 20;

/// Records of one batch, and after how many bytes of them it ends.
const BATCH_RECORDS: usize = 256;
const BATCH_BYTES: usize = 1 << 20;

/// How long the first record of a batch waits for others, so that a busy host writes few batches.
const GATHERING: Duration = Duration::from_millis(100);

/// How long writing goes on when the host stops.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// How often failures of the store are logged.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The records that wait to be written.
#[derive(Debug)]
pub struct RecordQueue {
    sender: mpsc::Sender<Waiting>,
    /// Held by the task that writes. One that ends by itself leaves the records to the next.
    receiver: Mutex<mpsc::Receiver<Waiting>>,
    /// How many bytes wait.
    bytes: AtomicUsize,
    max_record_bytes: usize,
}

#[derive(Debug)]
struct Waiting {
    record: EncodedTurnRecord,
    /// Whether something was left out of it.
    is_shortened: bool,
}

impl Waiting {
    fn bytes(&self) -> usize {
        self.record.body.len()
    }
}

impl RecordQueue {
    /// An empty queue. Records that are longer than `max_record_bytes` as JSON are shortened, and dropped if that is not enough.
    pub fn new(max_record_bytes: usize) -> Self {
        let (sender, receiver) = mpsc::channel(MAX_RECORDS);
        Self { sender, receiver: Mutex::new(receiver), bytes: AtomicUsize::new(0), max_record_bytes }
    }

    /// Writes records to the store until `stop`, and then those that wait, for a second at most. It can be called again after it
    /// was dropped.
    pub async fn keep_writing(&self, store: Arc<dyn TurnRecords>, stop: CancellationToken) {
        let mut receiver = self.receiver.lock().await;
        let is_over = async {
            stop.cancelled().await;
            tokio::time::sleep(FLUSH_TIMEOUT).await;
        };
        tokio::select! {
            () = self.write_all(&*store, &mut receiver, &stop) => {}
            () = is_over => {
                tracing::warn!("turn records are dropped since the store did not take them before the host stopped");
            }
        }
        while let Ok(left) = receiver.try_recv() {
            self.taken(&left);
            RECORDS_DROPPED.increment(&["store"]);
        }
    }

    /// Writes until `stop`, and then what waits.
    async fn write_all(
        &self,
        store: &dyn TurnRecords,
        receiver: &mut mpsc::Receiver<Waiting>,
        stop: &CancellationToken,
    ) {
        let mut failures = Failures::default();
        while let Some(first) = stop.run_until_cancelled(receiver.recv()).await.flatten() {
            // A busy host fills a batch before this time. Told to stop, it writes at once.
            if receiver.len() < BATCH_RECORDS {
                let _stopped = stop.run_until_cancelled(tokio::time::sleep(GATHERING)).await;
            }
            self.write(store, self.batch(first, receiver), &mut failures).await;
        }
        while let Ok(first) = receiver.try_recv() {
            self.write(store, self.batch(first, receiver), &mut failures).await;
        }
    }

    /// The next records, within the bounds of a batch and of a record.
    fn batch(&self, first: Waiting, receiver: &mut mpsc::Receiver<Waiting>) -> Vec<EncodedTurnRecord> {
        let (mut batch, mut bytes, mut next) = (Vec::new(), 0_usize, Some(first));
        while let Some(waiting) = next {
            self.taken(&waiting);
            bytes = bytes.saturating_add(waiting.bytes());
            match self.within_bound(waiting) {
                Some(Waiting { record, is_shortened }) => {
                    RECORDS_SHORTENED.add(&[], is_shortened.into());
                    batch.push(record);
                }
                None => RECORDS_DROPPED.increment(&["size"]),
            }
            let has_room = batch.len() < BATCH_RECORDS && bytes < BATCH_BYTES;
            next = if has_room { receiver.try_recv().ok() } else { None };
        }
        batch
    }

    /// The record as it is, or shortened. `None` if it is too large even so.
    fn within_bound(&self, mut waiting: Waiting) -> Option<Waiting> {
        if waiting.bytes() > self.max_record_bytes {
            waiting.record.body = shorten(&waiting.record.body, self.max_record_bytes)?;
            waiting.is_shortened = true;
        }
        Some(waiting)
    }

    fn taken(&self, waiting: &Waiting) {
        self.bytes.fetch_sub(waiting.bytes(), Ordering::Relaxed);
    }

    async fn write(&self, store: &dyn TurnRecords, batch: Vec<EncodedTurnRecord>, failures: &mut Failures) {
        if batch.is_empty() {
            return;
        }
        let guard = DropsOf(batch.len() as u64);
        match store.store_turn_records(batch).await {
            // Those that are missing belong to nobody any more.
            Ok(stored) => {
                guard.are_none();
                RECORDS_WRITTEN.add(&[], stored);
            }
            Err(error) => failures.note(&error, guard.0),
        }
    }
}

impl RecordSink for RecordQueue {
    fn push(&self, owner: &Owner, record: &BuiltRecord) {
        // Encoded here and once: how long a record is, the bound of the queue needs to know.
        let is_shortened = record.truncated;
        let record = match EncodedTurnRecord::new(owner, record) {
            Ok(record) => record,
            Err(error) => {
                tracing::error!(%error, "a turn record is dropped");
                RECORDS_DROPPED.increment(&["store"]);
                return;
            }
        };
        let waiting = Waiting { record, is_shortened };
        let has_room = |bytes: usize| bytes.checked_add(waiting.bytes()).filter(|sum| *sum <= MAX_BYTES);
        if self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, has_room).is_err() {
            RECORDS_DROPPED.increment(&["queue"]);
            return;
        }
        if let Err(refused) = self.sender.try_send(waiting) {
            self.taken(&refused.into_inner());
            RECORDS_DROPPED.increment(&["queue"]);
        }
    }
}

/// Counts the records of a batch as dropped by the store unless it says that there are none, also if writing is cut off.
struct DropsOf(u64);

impl DropsOf {
    fn are_none(mut self) {
        self.0 = 0;
    }
}

impl Drop for DropsOf {
    fn drop(&mut self) {
        if self.0 > 0 {
            RECORDS_DROPPED.add(&["store"], self.0);
        }
    }
}

/// Failures of the store, logged once a minute.
#[derive(Default)]
struct Failures {
    dropped: u64,
    logged: Option<Instant>,
}

impl Failures {
    fn note(&mut self, error: &masque_store::StoreError, records: u64) {
        self.dropped = self.dropped.saturating_add(records);
        if self.logged.is_some_and(|at| at.elapsed() < LOG_INTERVAL) {
            return;
        }
        tracing::warn!(%error, records = self.dropped, "turn records could not be stored and are dropped");
        (self.dropped, self.logged) = (0, Some(Instant::now()));
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
