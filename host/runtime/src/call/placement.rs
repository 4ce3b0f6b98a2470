//! Where a call runs: a warm instance or a new store, and the permits of the pool that it holds meanwhile.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::OwnedSemaphorePermit;

use crate::capability::{NestedCall, ReuseKey};
use crate::error::Cause;
use crate::instance::LiveInstance;
use crate::pool::PoolSlot;
use crate::profile::PluginProfile;
use crate::warm::{WarmKey, WarmPool};

/// The permits of the pool that a call holds until its store is dropped.
pub(super) struct Placement {
    pub(super) slot: Arc<PoolSlot>,
    _nested_turn: Option<OwnedSemaphorePermit>,
}

impl Placement {
    fn own(slot: PoolSlot) -> Self {
        Self { slot: Arc::new(slot), _nested_turn: None }
    }

    /// Uses the permits that the asking call reserved, once the answer before this one has released them.
    async fn nested(nested: NestedCall, begun: Instant) -> Result<Self, Cause> {
        match tokio::time::timeout_at(nested.deadline.into(), nested.one_at_a_time.acquire_owned()).await {
            Ok(Ok(turn)) => Ok(Self { slot: nested.slot, _nested_turn: Some(turn) }),
            Ok(Err(closed)) => Err(Cause::Engine(closed.to_string())),
            Err(_) => Err(Cause::WallTime(begun.elapsed())),
        }
    }
}

/// The warm pool that a call may use, and its key there.
pub(super) struct WarmAccess {
    pool: Arc<WarmPool>,
    key: WarmKey,
}

impl WarmAccess {
    /// Returns `None` if the instance of this call can't be kept.
    pub(super) fn new(profile: &PluginProfile, key: Option<&ReuseKey>) -> Option<Self> {
        let pool = profile.warm_pool.as_ref()?;
        Some(Self { pool: pool.clone(), key: pool.key(key)? })
    }

    /// Keeps the instance, and the permits of the pool that it needs.
    pub(super) fn keep(self, live: LiveInstance, placement: Placement, weight: u32) {
        let slot = Arc::into_inner(placement.slot);
        if let Some(permits) = slot.and_then(|slot| slot.into_permits(weight)) {
            self.pool.keep(self.key, live, permits);
        }
    }

    /// Takes a kept instance, if there is one and `nested` more permits are free.
    fn resume(&self, profile: &PluginProfile, nested: u32) -> Option<(LiveInstance, Placement)> {
        let (live, permits) = self.pool.take(&self.key)?;
        match profile.sandbox.pool.resume(&profile.share, permits, nested) {
            Ok(slot) => Some((live, Placement::own(slot))),
            Err(permits) => {
                // The store is dropped first: the next holder of its permits makes an instance in the same pool.
                drop(live);
                drop(permits);
                None
            }
        }
    }
}

/// What a call needs of the pool.
pub(super) struct PlacementRequest<'a> {
    pub(super) profile: &'a PluginProfile,
    pub(super) warm: Option<&'a WarmAccess>,
    /// Present where the call answers another one.
    pub(super) nested: Option<NestedCall>,
    /// The permits for answers to this call's own questions.
    pub(super) answers: u32,
    pub(super) begun: Instant,
    pub(super) deadline: Instant,
}

/// Takes what a call needs of the pool: a warm instance, the permits of the asking call, or permits of its own after waiting in line.
///
/// # Errors
/// The wait is over, or the call's deadline has passed.
pub(super) async fn acquire_placement(
    request: PlacementRequest<'_>,
) -> Result<(Option<LiveInstance>, Placement), Cause> {
    let PlacementRequest { profile, warm, nested, answers, begun, deadline } = request;
    if let Some((live, placement)) = warm.and_then(|warm| warm.resume(profile, answers)) {
        return Ok((Some(live), placement));
    }
    let placement = match nested {
        Some(nested) => Placement::nested(nested, begun).await?,
        None => {
            let weight = profile.weight.saturating_add(answers);
            Placement::own(profile.sandbox.pool.acquire(&profile.share, weight, begun, deadline).await?)
        }
    };
    Ok((None, placement))
}
