//! Hands out the pool's permits: a fair, bounded wait before an instance is made.
//!
//! The threat: exhaustion inside wasmtime's pool is an error at once, and an unbounded wait would turn load into latency for
//! everyone. The policy: a semaphore of the pool's size stands before it, one plugin holds three quarters of the permits at
//! most, a call waits for a bounded time, and warm instances are dropped for calls that wait. Permits are always taken in the
//! order share, then pool, so no call waits for its share while it holds permits of the pool.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use masque_telemetry::metrics::plugins::{INSTANCE_WAIT, INSTANCES_LIMIT, INSTANCES_WAITING};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use wasmtime::Engine;

use super::slot::{PermitsInUse, PoolShare, PoolSlot};
use super::ticker::Ticker;
use crate::error::Cause;

/// Instances that were kept after their call and still hold permits of the pool.
pub(crate) trait WarmInstances: Send + Sync {
    /// Drops one of them and releases its permits. Returns whether there was one. Called by calls that wait for permits, until
    /// enough are free; it must not block.
    fn evict_one(&self) -> bool;
}

/// How the pool is laid out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PoolOptions {
    /// Permits: calls that may hold an instance at the same time.
    pub(crate) instances: u32,
    /// How long a call waits for permits.
    pub(crate) slot_wait: Duration,
    /// How often a running guest yields.
    pub(crate) tick: Duration,
}

/// The permits of all instances.
pub(crate) struct InstancePool {
    permits: Arc<Semaphore>,
    /// The shares by the plugin's name.
    shares: Mutex<HashMap<String, Weak<Semaphore>>>,
    warm: Arc<dyn WarmInstances>,
    ticker: Ticker,
    options: PoolOptions,
}

impl InstancePool {
    /// Starts the ticker.
    ///
    /// # Errors
    /// The ticker's thread can't be started.
    pub(crate) fn new(
        engine: &Engine,
        options: PoolOptions,
        warm: Arc<dyn WarmInstances>,
    ) -> io::Result<Self> {
        INSTANCES_LIMIT.set(&[], options.instances.into());
        Ok(Self {
            permits: Arc::new(Semaphore::new(options.instances as usize)),
            shares: Mutex::default(),
            warm,
            ticker: Ticker::start(engine, options.tick)?,
            options,
        })
    }

    /// All permits, free or not.
    pub(crate) fn instances(&self) -> u32 {
        self.options.instances
    }

    pub(crate) fn free_instances(&self) -> usize {
        self.permits.available_permits()
    }

    /// Resolves when the ticker's thread has ended.
    pub(crate) async fn ticker_ended(&self) {
        self.ticker.ended().await;
    }

    pub(crate) fn tick(&self) -> Duration {
        self.options.tick
    }

    /// The share of the plugin of that name, one for all of its versions.
    pub(crate) fn share(&self, plugin: &str) -> PoolShare {
        let size = (self.options.instances.saturating_mul(3) / 4).max(1);
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        let free = shares.get(plugin).and_then(Weak::upgrade).unwrap_or_else(|| {
            shares.retain(|_, share| share.strong_count() > 0);
            let free = Arc::new(Semaphore::new(size as usize));
            shares.insert(plugin.to_owned(), Arc::downgrade(&free));
            free
        });
        PoolShare { free, size }
    }

    /// Takes the permits of a warm instance, and `nested` more for its nested calls if they are free at this moment. Returns
    /// the permits where they are not: waiting while holding permits could deadlock.
    pub(crate) fn resume(
        &self,
        share: &PoolShare,
        mut permits: OwnedSemaphorePermit,
        nested: u32,
    ) -> Result<PoolSlot, OwnedSemaphorePermit> {
        let held = u32::try_from(permits.num_permits()).unwrap_or(u32::MAX).saturating_add(nested);
        let Ok(part) = share.free.clone().try_acquire_many_owned(held.min(share.size)) else {
            return Err(permits);
        };
        match self.permits.clone().try_acquire_many_owned(nested) {
            Ok(more) => permits.merge(more),
            Err(_) => return Err(permits),
        }
        Ok(self.occupy(permits, part))
    }

    /// Waits in line for `weight` permits. The wait is part of the call, which began at `begun` and ends at `deadline`.
    ///
    /// # Errors
    /// [`Cause::Busy`] after the bounded wait, [`Cause::WallTime`] where the call's deadline comes first.
    pub(crate) async fn acquire(
        &self,
        share: &PoolShare,
        weight: u32,
        begun: Instant,
        deadline: Instant,
    ) -> Result<PoolSlot, Cause> {
        let weight = weight.clamp(1, self.options.instances);
        let waited_from = Instant::now();
        let permits = async {
            let part = share.free.clone().acquire_many_owned(weight.min(share.size)).await?;
            // A call that waits takes precedence over an instance that is kept for a later call.
            while self.permits.available_permits() < weight as usize && self.warm.evict_one() {}
            let permits = self.permits.clone().acquire_many_owned(weight).await?;
            Ok::<_, AcquireError>(self.occupy(permits, part))
        };
        let patience = begun + self.options.slot_wait;
        let waiting = INSTANCES_WAITING.raise(&[]);
        let acquired = tokio::time::timeout_at(patience.min(deadline).into(), permits).await;
        drop(waiting);
        INSTANCE_WAIT.observe(&[], waited_from.elapsed().as_secs_f64());
        match acquired {
            Ok(Ok(slot)) => Ok(slot),
            Ok(Err(closed)) => Err(Cause::Engine(closed.to_string())),
            Err(_) if deadline < patience => Err(Cause::WallTime(begun.elapsed())),
            Err(_) => Err(Cause::Busy(self.options.slot_wait)),
        }
    }

    fn occupy(&self, permits: OwnedSemaphorePermit, share: OwnedSemaphorePermit) -> PoolSlot {
        let in_use = PermitsInUse::new(permits.num_permits());
        PoolSlot { permits, _share: share, _running: self.ticker.keep_running(), _in_use: in_use }
    }
}
