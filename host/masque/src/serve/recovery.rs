//! Takes over what hosts left behind that are gone: marks their turns interrupted, and puts their jobs back in their queues.
//! A host with a database of its own does it once, at its start.

use std::sync::Arc;
use std::time::Duration;

use masque_store::Store;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How often a host looks for hosts that are gone. A lease lasts three times as long.
const INTERVAL: Duration = Duration::from_secs(10);

/// Runs until `stop`. Errors of the store are logged, and the next round tries again.
pub(super) async fn recover_continuously(store: Arc<dyn Store>, host: Uuid, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        match store.recover(host).await {
            Ok(0) => {}
            Ok(turns) => {
                tracing::warn!(turns, "turns of hosts that are gone are marked interrupted");
            }
            Err(error) => tracing::warn!(%error, "turns of hosts that are gone can't be marked"),
        }
    }
}
