//! Removes expired rows, what is kept by age alone, and forgotten rate limits, once a minute.

use std::sync::Arc;
use std::time::Duration;

use masque_config::{Config, Retention};
use masque_store::{RateLimits, RecordBounds, Store, StoreError, TurnRecords};
use masque_telemetry::metrics::turns::RECORDS_DROPPED;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::convert::store::record_bounds;

/// How often expired rows are removed.
const INTERVAL: Duration = Duration::from_secs(60);

/// How long things are kept that no time of their own ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeptTimes {
    /// Conversations in which nothing happens; `None`: for ever.
    conversations: Option<Duration>,
    audit: Duration,
    spending: Duration,
    parked_jobs: Duration,
    /// Records of turns.
    records: RecordBounds,
}

impl KeptTimes {
    pub(super) fn of(config: &Config) -> Self {
        let Retention { conversations, audit, spending } = config.retention;
        Self {
            conversations,
            audit,
            spending,
            parked_jobs: config.jobs.parked_ttl,
            records: record_bounds(&config.records),
        }
    }
}

/// Runs until `stop`. Errors of the store are logged, and the next round tries again.
pub(super) async fn remove_expired(
    store: Arc<dyn Store>,
    rates: Arc<dyn RateLimits>,
    kept: KeptTimes,
    stop: CancellationToken,
) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        rates.forget().await;
        loop {
            match remove_batch(&*store, kept).await {
                Ok(0) => break,
                Ok(removed) => tracing::debug!(removed, "rows past their time were removed"),
                Err(error) => {
                    tracing::warn!(%error, "rows past their time could not be removed");
                    break;
                }
            }
            if stop.is_cancelled() {
                return;
            }
        }
    }
}

/// Removes one batch of expired rows of each kind and returns their number. Rows that can't be removed keep those of no
/// other kind.
async fn remove_batch(store: &dyn Store, kept: KeptTimes) -> Result<u64, StoreError> {
    let idle = match kept.conversations {
        Some(idle_for) => store.forget_conversations(idle_for).await,
        None => Ok(0),
    };
    if let Ok(conversations @ 1..) = idle {
        tracing::info!(
            conversations,
            "conversations were deleted, since nothing happened in them for `retention.conversations`"
        );
    }
    let (audit, spending) =
        (store.forget_audit(kept.audit).await, store.forget_spending(kept.spending).await);
    let parked = store.forget_parked(kept.parked_jobs).await;
    let records = sweep_records(store, kept.records).await;
    if let Ok(jobs @ 1..) = parked {
        // A plugin is never told of these exchanges.
        tracing::warn!(jobs, "parked jobs were removed that nobody retried within `jobs.parked_ttl`");
    }
    // Last, since it also removes the rows of conversations that were deleted just now.
    let swept = store.sweep().await;
    Ok(idle? + audit? + spending? + parked? + records? + swept?)
}

/// Removes one batch of the records beyond each bound, counts them by the bound, and returns their number. Without a bound, the store
/// removes those of conversations that are gone, which are no loss.
async fn sweep_records(store: &(impl TurnRecords + ?Sized), bounds: RecordBounds) -> Result<u64, StoreError> {
    let none = RecordBounds { max_age_ms: u64::MAX, max_total_bytes: u64::MAX };
    let mut removed = store.sweep_turn_records(none).await?;
    for (reason, bounds) in [
        ("age", RecordBounds { max_age_ms: bounds.max_age_ms, ..none }),
        ("total", RecordBounds { max_total_bytes: bounds.max_total_bytes, ..none }),
    ] {
        let beyond = store.sweep_turn_records(bounds).await?;
        RECORDS_DROPPED.add(&[reason], beyond);
        removed += beyond;
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use masque_store::{ConversationId, NewConversation, Owner};
    use masque_store_sqlite::SqliteStore;

    use super::*;
    use crate::erasure::entry_of;

    const LONG: Duration = Duration::from_secs(3600);

    fn kept() -> KeptTimes {
        let records = RecordBounds { max_age_ms: u64::MAX, max_total_bytes: u64::MAX };
        KeptTimes { conversations: None, audit: LONG, spending: LONG, parked_jobs: LONG, records }
    }

    #[tokio::test]
    async fn conversations_go_only_where_the_operator_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = SqliteStore::open(folder.path()).await.unwrap();
        let ada = Owner { tenant: "default".into(), issuer: "local".into(), subject: "ada".into() };
        let id = ConversationId::new();
        let new = NewConversation { id, companion: "elara".into(), title: None, greeting: None };
        store.create(&ada, new).await.unwrap();
        for conversations in [None, Some(LONG)] {
            let kept = KeptTimes { conversations, ..kept() };
            assert_eq!(remove_batch(&*store, kept).await.unwrap(), 0);
        }
        assert!(store.conversation(&ada, id).await.unwrap().is_some());
        let kept = KeptTimes { conversations: Some(Duration::ZERO), ..kept() };
        assert_eq!(remove_batch(&*store, kept).await.unwrap(), 2, "it is deleted, and its row removed");
        assert_eq!(store.conversation(&ada, id).await.unwrap(), None);
        assert_eq!(remove_batch(&*store, kept).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn entries_of_the_audit_log_go_when_their_time_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = SqliteStore::open(folder.path()).await.unwrap();
        store.record(entry_of("user.erase", "a-pseudonym", "host")).await.unwrap();
        assert_eq!(remove_batch(&*store, kept()).await.unwrap(), 0);
        assert_eq!(remove_batch(&*store, KeptTimes { audit: Duration::ZERO, ..kept() }).await.unwrap(), 1);
    }

    /// Records of which so many go for each bound.
    struct Swept {
        without_bound: u64,
        by_age: u64,
        by_total: u64,
    }

    #[async_trait::async_trait]
    impl TurnRecords for Swept {
        async fn store_turn_records(
            &self,
            _records: Vec<masque_store::EncodedTurnRecord>,
        ) -> Result<u64, StoreError> {
            unreachable!("sweeping stores nothing")
        }

        async fn turn_record(
            &self,
            _turn: masque_store::TurnId,
        ) -> Result<Option<masque_store::OwnedTurnRecord>, StoreError> {
            unreachable!("sweeping reads nothing")
        }

        async fn sweep_turn_records(&self, bounds: RecordBounds) -> Result<u64, StoreError> {
            Ok(match (bounds.max_age_ms, bounds.max_total_bytes) {
                (7, u64::MAX) => self.by_age,
                (u64::MAX, 1024) => self.by_total,
                (u64::MAX, u64::MAX) => self.without_bound,
                other => panic!("both bounds at once: {other:?}"),
            })
        }
    }

    #[tokio::test]
    async fn records_that_are_removed_are_counted_by_the_bound_that_removes_them() {
        let counted = || ["age", "total"].map(|reason| RECORDS_DROPPED.value(&[reason]));
        let [age, total] = counted();
        let store = Swept { without_bound: 1, by_age: 20, by_total: 300 };
        let bounds = RecordBounds { max_age_ms: 7, max_total_bytes: 1024 };
        assert_eq!(sweep_records(&store, bounds).await.unwrap(), 321);
        assert_eq!(counted(), [age + 20, total + 300]);
    }
}
