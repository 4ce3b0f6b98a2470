//! Completes erasures: at once when one has begun, after a restart, and again while one can't be completed.

use std::sync::Arc;
use std::time::Duration;

use masque_store::{ErasureList, Store};
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::erasure::complete;
use crate::error_text::with_causes;

/// How often a host looks for erasures that others have begun, or that could not be completed.
const INTERVAL: Duration = Duration::from_secs(10);
/// The actor of the audit entry of a completed erasure.
const ACTOR: &str = "host";

/// Runs until `stop`. Errors are logged, and the next round tries again.
pub(super) async fn complete_erasures(
    store: Arc<dyn Store>,
    list: ErasureList,
    begun: Arc<Notify>,
    stop: CancellationToken,
) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = begun.notified() => {}
            _ = ticks.tick() => {}
        }
        let running = match store.running_erasures().await {
            Ok(running) => running,
            Err(error) => {
                tracing::warn!(%error, "erasures can't be looked for");
                continue;
            }
        };
        for erasure in running {
            let receipt = erasure.receipt;
            let completed = tokio::select! {
                // An erasure that is cut off goes on after the next start.
                () = stop.cancelled() => return,
                completed = complete(&*store, &list, erasure, ACTOR) => completed,
            };
            match completed {
                Ok(done) if done.done_at.is_some() => tracing::info!(%receipt, "a user was erased"),
                Ok(_) => tracing::warn!(
                    %receipt,
                    "an erasure can't be completed yet: something holds the database open, such as a backup"
                ),
                Err(error) => {
                    tracing::error!(%receipt, error = with_causes(&error), "an erasure can't be completed")
                }
            }
        }
    }
}
