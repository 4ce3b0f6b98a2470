//! What the queue keeps, writes and drops.

use async_trait::async_trait;
use masque_store::{OwnedTurnRecord, RecordBounds, RecordedTurn, StoreError, TurnId};
use tokio::sync::{Notify, Semaphore};

use super::super::shorten::tests::record;
use super::*;

/// Keeps the batches that it is given, fails while it is told to, and waits for a permit for each.
struct Kept {
    batches: std::sync::Mutex<Vec<Vec<EncodedTurnRecord>>>,
    is_failing: std::sync::atomic::AtomicBool,
    permits: Semaphore,
    called: Notify,
}

impl Kept {
    fn new(permits: usize) -> Arc<Self> {
        Arc::new(Self {
            batches: std::sync::Mutex::default(),
            is_failing: false.into(),
            permits: Semaphore::new(permits),
            called: Notify::new(),
        })
    }

    fn records(&self) -> usize {
        self.batches.lock().unwrap().iter().map(Vec::len).sum()
    }
}

#[async_trait]
impl TurnRecords for Kept {
    async fn store_turn_records(&self, records: Vec<EncodedTurnRecord>) -> Result<u64, StoreError> {
        self.permits.acquire().await.unwrap().forget();
        let stored = records.len() as u64;
        let result = if self.is_failing.load(Ordering::SeqCst) {
            Err(StoreError::Unavailable("the disk is full".into()))
        } else {
            self.batches.lock().unwrap().push(records);
            Ok(stored)
        };
        self.called.notify_one();
        result
    }

    async fn turn_record(&self, _turn: TurnId) -> Result<Option<OwnedTurnRecord>, StoreError> {
        Ok(None)
    }

    async fn sweep_turn_records(&self, _bounds: RecordBounds) -> Result<u64, StoreError> {
        Ok(0)
    }
}

const ANY: usize = 1 << 20;

/// The record as a turn builds it.
fn built(record: &RecordedTurn) -> BuiltRecord {
    serde_json::from_slice(&serde_json::to_vec(record).unwrap()).unwrap()
}

fn read(stored: &EncodedTurnRecord) -> RecordedTurn {
    RecordedTurn::from_json(&stored.body).unwrap()
}

fn ada() -> Owner {
    Owner { tenant: "default".into(), issuer: "local".into(), subject: "ada".into() }
}

#[tokio::test(start_paused = true)]
async fn records_are_written_in_batches_with_their_owner_and_the_rest_when_the_host_stops() {
    let (queue, kept, stop) = (Arc::new(RecordQueue::new(ANY)), Kept::new(1000), CancellationToken::new());
    let (first, last) = (record(1, 1, 1), record(2, 2, 2));
    queue.push(&ada(), &built(&first));
    for _ in 0..298 {
        queue.push(&ada(), &built(&record(10, 10, 10)));
    }
    queue.push(&ada(), &built(&last));
    // Told to stop before it began, it writes what waits.
    stop.cancel();
    queue.keep_writing(kept.clone(), stop).await;
    let batches = kept.batches.lock().unwrap();
    assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [256, 44]);
    assert_eq!(batches[0][0], OwnedTurnRecord { owner: ada(), record: first }.encode().unwrap());
    assert_eq!(batches[1][43].body, serde_json::to_vec(&last).unwrap());
    assert_eq!(queue.bytes.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_holds_up_no_turn_and_no_end_of_the_host() {
    let (queue, kept, stop) = (Arc::new(RecordQueue::new(ANY)), Kept::new(0), CancellationToken::new());
    let before = RECORDS_DROPPED.value(&["queue"]);
    for _ in 0..MAX_RECORDS + 10 {
        queue.push(&ada(), &built(&record(1, 1, 1)));
    }
    assert_eq!(RECORDS_DROPPED.value(&["queue"]) - before, 10, "the number is bounded");
    let began = Instant::now();
    stop.cancel();
    queue.keep_writing(kept.clone(), stop).await;
    assert!(began.elapsed() <= 2 * FLUSH_TIMEOUT, "{:?}", began.elapsed());
    assert_eq!((kept.records(), queue.bytes.load(Ordering::SeqCst)), (0, 0));

    let before = RECORDS_DROPPED.value(&["queue"]);
    let megabytes = MAX_BYTES >> 20;
    for _ in 0..megabytes + 4 {
        queue.push(&ada(), &built(&record(1 << 20, 1, 1)));
    }
    let dropped = usize::try_from(RECORDS_DROPPED.value(&["queue"]) - before).unwrap();
    assert!((4..=6).contains(&dropped), "{dropped} of {}: the bytes are bounded", megabytes + 4);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_costs_its_batch_and_the_next_is_written() {
    let (queue, kept, stop) = (Arc::new(RecordQueue::new(ANY)), Kept::new(1000), CancellationToken::new());
    kept.is_failing.store(true, Ordering::SeqCst);
    let writing = tokio::spawn({
        let (queue, kept, stop) = (Arc::clone(&queue), kept.clone(), stop.clone());
        async move { queue.keep_writing(kept, stop).await }
    });
    let before = RECORDS_DROPPED.value(&["store"]);
    queue.push(&ada(), &built(&record(1, 1, 1)));
    kept.called.notified().await;
    kept.is_failing.store(false, Ordering::SeqCst);
    queue.push(&ada(), &built(&record(1, 1, 1)));
    kept.called.notified().await;
    stop.cancel();
    writing.await.unwrap();
    assert!(RECORDS_DROPPED.value(&["store"]) > before);
    assert_eq!(kept.records(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_record_over_its_bound_is_shortened_or_dropped() {
    let (queue, kept, stop) = (Arc::new(RecordQueue::new(4096)), Kept::new(1000), CancellationToken::new());
    let before = RECORDS_DROPPED.value(&["size"]);
    let shortened = RECORDS_SHORTENED.value(&[]);
    queue.push(&ada(), &built(&record(10_000, 10_000, 10_000)));
    let mut long = record(1, 1, 1);
    let step = long.steps[0].clone();
    long.steps = vec![step; 100];
    queue.push(&ada(), &built(&long));
    stop.cancel();
    queue.keep_writing(kept.clone(), stop).await;
    assert_eq!(RECORDS_DROPPED.value(&["size"]) - before, 1);
    assert_eq!(RECORDS_SHORTENED.value(&[]) - shortened, 1);
    let batches = kept.batches.lock().unwrap();
    assert!(batches[0].len() == 1 && read(&batches[0][0]).truncated, "{batches:?}");
}
