//! The permits of the instance pool that a call holds.

use std::sync::Arc;

use masque_telemetry::metrics::plugins::INSTANCES_IN_USE;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::ticker::RunningGuest;

/// Permits of the pool, held for as long as a call's store exists. The engine's epoch rises meanwhile.
pub(crate) struct PoolSlot {
    pub(super) permits: OwnedSemaphorePermit,
    pub(super) _share: OwnedSemaphorePermit,
    pub(super) _running: RunningGuest,
    pub(super) _in_use: PermitsInUse,
}

impl PoolSlot {
    /// Keeps the first `weight` permits and releases the others.
    pub(crate) fn into_permits(mut self, weight: u32) -> Option<OwnedSemaphorePermit> {
        self.permits.split(self.permits.num_permits().min(weight as usize))
    }
}

/// Permits that count as in use while this value lives.
pub(super) struct PermitsInUse(f64);

impl PermitsInUse {
    #[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
    pub(super) fn new(permits: usize) -> Self {
        let permits = permits as f64;
        INSTANCES_IN_USE.add(&[], permits);
        Self(permits)
    }
}

impl Drop for PermitsInUse {
    fn drop(&mut self) {
        INSTANCES_IN_USE.add(&[], -self.0);
    }
}

/// The permits that one plugin may hold at once, all of its versions together: three quarters of the pool. A plugin that hangs
/// or spins leaves a quarter to the others.
#[derive(Clone, Debug)]
pub(crate) struct PoolShare {
    pub(super) free: Arc<Semaphore>,
    pub(super) size: u32,
}
