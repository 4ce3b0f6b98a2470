//! Removes expired rows and forgotten rate limits, once a minute.

use std::sync::Arc;
use std::time::Duration;

use masque_store::{RateLimits, RecordBounds, Store, StoreError};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// How often expired rows are removed.
const INTERVAL: Duration = Duration::from_secs(60);
/// How long audit entries are kept: a yearly review finds all entries since the last one.
const AUDIT_RETENTION: Duration = Duration::from_secs(400 * 24 * 3600);

/// What is kept as long as the operator says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// How long parked jobs are kept after they were parked.
    pub(super) parked_ttl: Duration,
    /// What is kept of the records of turns.
    pub(super) records: RecordBounds,
}

/// Runs until `stop`. Errors of the store are logged, and the
/// next round tries again.
pub(super) async fn remove_expired(
    store: Arc<dyn Store>,
    rates: Arc<dyn RateLimits>,
    bounds: Bounds,
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
            match remove_batch(&*store, bounds).await {
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
async fn remove_batch(store: &dyn Store, bounds: Bounds) -> Result<u64, StoreError> {
    let (swept, forgotten) = (store.sweep().await, store.forget_audit(AUDIT_RETENTION).await);
    let parked = store.forget_parked(bounds.parked_ttl).await;
    let records = store.sweep_turn_records(bounds.records).await;
    if let Ok(jobs @ 1..) = parked {
        // A plugin is never told of these exchanges.
        tracing::warn!(jobs, "parked jobs were removed that nobody retried within `jobs.parked_ttl`");
    }
    Ok(swept? + forgotten? + parked? + records?)
}
