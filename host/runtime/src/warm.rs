//! Warm pools: instances that are kept between calls, for plugins whose operator granted `reuse`.
//!
//! The threat: what a guest remembers of one user reaches another; a guest works or allocates memory between two calls. The
//! policy: an instance serves only calls of the same conversation or user as its first one, and only the same version with the
//! same settings and grants. It is kept only after a call that ended well and left no task and no resource behind. Few
//! instances are kept, for a short time, for a bounded number of calls, and none while a call waits for the pool. Budgets and
//! limits are those of each call. The accepted consequence: within the scope of its grant a guest may remember anything, and a
//! memory that has grown stays as large as it is, within the limit.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use masque_grants::Reuse;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::AbortOnDropHandle;

use crate::capability::ReuseKey;
use crate::instance::LiveInstance;
use crate::pool::WarmInstances;

/// How long an instance is kept without a call: longer than a user takes to read a reply and answer it.
const MAX_IDLE: Duration = Duration::from_secs(120);
/// The most instances that are kept over all plugins.
const MAX_WARM_INSTANCES: u32 = 64;
/// At most one in this many instances of the pool is kept.
const POOL_FRACTION: u32 = 4;

/// The calls that may use a kept instance. A field that is `None` matches every call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WarmKey {
    user: Option<String>,
    conversation: Option<String>,
}

impl WarmKey {
    /// Returns `None` if the scope needs a reuse key and the call has none; its instance is then not kept.
    fn new(scope: Reuse, key: Option<&ReuseKey>) -> Option<Self> {
        match (scope, key) {
            (Reuse::Anyone, _) => Some(Self { user: None, conversation: None }),
            (Reuse::User, Some(key)) => Some(Self { user: Some(key.user.clone()), conversation: None }),
            (Reuse::Conversation, Some(key)) => {
                Some(Self { user: Some(key.user.clone()), conversation: Some(key.conversation.clone()) })
            }
            (Reuse::User | Reuse::Conversation, None) => None,
        }
    }
}

/// The kept instances of one plugin, in one version, with one set of settings and grants.
pub(crate) struct WarmPool {
    scope: Reuse,
    /// One permit for each instance that is kept, over all plugins.
    permits: Arc<Semaphore>,
    kept: Mutex<KeptInstances>,
}

#[derive(Default)]
struct KeptInstances {
    /// Oldest first.
    instances: VecDeque<WarmInstance>,
    /// The one task that drops idle instances, while there are any. A call that takes the only instance and keeps it again starts
    /// no other task.
    cleanup: Option<AbortOnDropHandle<()>>,
}

struct WarmInstance {
    key: WarmKey,
    live: LiveInstance,
    since: Instant,
    // Declared after the store and therefore dropped after it: its permits of the instance pool.
    pool_permits: OwnedSemaphorePermit,
    _permit: OwnedSemaphorePermit,
}

impl WarmPool {
    /// The instances that a call with `key` may use, or `None` where it has none.
    pub(crate) fn key(&self, key: Option<&ReuseKey>) -> Option<WarmKey> {
        WarmKey::new(self.scope, key)
    }

    /// Takes the instance that served `key` last, and the permits of the pool that it still holds.
    pub(crate) fn take(&self, key: &WarmKey) -> Option<(LiveInstance, OwnedSemaphorePermit)> {
        let mut kept = self.lock();
        let newest = kept.instances.iter().rposition(|kept| &kept.key == key)?;
        kept.instances.remove(newest).map(|kept| (kept.live, kept.pool_permits))
    }

    /// Keeps an instance after its call if it may serve another and a permit is free; drops it otherwise.
    pub(crate) fn keep(
        self: &Arc<Self>,
        key: WarmKey,
        mut live: LiveInstance,
        pool_permits: OwnedSemaphorePermit,
    ) {
        let Some(permit) = live.is_reusable().then(|| self.acquire_permit()).flatten() else {
            // The store is dropped first: the next holder of its permits makes an instance in the same pool.
            drop(live);
            drop(pool_permits);
            return;
        };
        let mut kept = self.lock();
        kept.instances.push_back(WarmInstance {
            key,
            live,
            since: Instant::now(),
            pool_permits,
            _permit: permit,
        });
        // A task that has finished ended with its runtime.
        if kept.cleanup.as_ref().is_none_or(|task| task.is_finished()) {
            kept.cleanup = Some(AbortOnDropHandle::new(tokio::spawn(Self::cleanup(Arc::downgrade(self)))));
        }
    }

    /// A permit to keep one more instance. If none is free, the oldest instance of this plugin is dropped.
    fn acquire_permit(&self) -> Option<OwnedSemaphorePermit> {
        let free = || self.permits.clone().try_acquire_owned().ok();
        free().or_else(|| self.drop_oldest().then(free).flatten())
    }

    /// Returns false where nothing is kept.
    fn drop_oldest(&self) -> bool {
        let oldest = self.lock().instances.pop_front();
        oldest.is_some()
    }

    /// Drops instances that have been idle for too long. Returns once none is kept.
    async fn cleanup(pool: Weak<Self>) {
        loop {
            let Some(due) = pool.upgrade().and_then(|pool| pool.drop_idle()) else { return };
            tokio::time::sleep_until(due.into()).await;
        }
    }

    /// Drops instances that have been idle for too long, and returns when the next one is due. Where none is kept, it returns
    /// `None` and the task that calls it must end: the next instance starts another one.
    fn drop_idle(&self) -> Option<Instant> {
        let mut kept = self.lock();
        while kept.instances.front().is_some_and(|oldest| oldest.since.elapsed() >= MAX_IDLE) {
            kept.instances.pop_front();
        }
        let due = kept.instances.front().map(|oldest| oldest.since + MAX_IDLE);
        if due.is_none() {
            kept.cleanup = None;
        }
        due
    }

    fn lock(&self) -> MutexGuard<'_, KeptInstances> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All warm pools of a sandbox.
pub(crate) struct WarmPools {
    permits: Arc<Semaphore>,
    pools: Mutex<Vec<Weak<WarmPool>>>,
}

impl WarmPools {
    /// `instances` is the size of the instance pool.
    pub(crate) fn new(instances: u32) -> Self {
        let warm = MAX_WARM_INSTANCES.min(instances / POOL_FRACTION);
        Self { permits: Arc::new(Semaphore::new(warm as usize)), pools: Mutex::default() }
    }

    /// A pool for one plugin. It lives as long as the plugin.
    pub(crate) fn create(&self, scope: Reuse) -> Arc<WarmPool> {
        let pool = Arc::new(WarmPool { scope, permits: self.permits.clone(), kept: Mutex::default() });
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|pool| pool.strong_count() > 0);
        pools.push(Arc::downgrade(&pool));
        pool
    }
}

impl WarmInstances for WarmPools {
    fn evict_one(&self) -> bool {
        let pools: Vec<_> = self.pools.lock().unwrap_or_else(PoisonError::into_inner).clone();
        pools.iter().filter_map(Weak::upgrade).any(|pool| pool.drop_oldest())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_reused_only_within_its_scope() {
        let key = |user: &str, conversation: &str| ReuseKey {
            user: user.into(),
            conversation: conversation.into(),
        };
        let (a1, a2, b1) = (key("ana", "1"), key("ana", "2"), key("bo", "1"));
        for (scope, same_user, same_conversation_id) in
            [(Reuse::Conversation, false, false), (Reuse::User, true, false), (Reuse::Anyone, true, true)]
        {
            let warm_key = |key| WarmKey::new(scope, Some(key));
            assert_eq!(warm_key(&a1), warm_key(&a1));
            assert_eq!(warm_key(&a1) == warm_key(&a2), same_user, "{scope:?}");
            assert_eq!(warm_key(&a1) == warm_key(&b1), same_conversation_id, "{scope:?}");
            assert_eq!(WarmKey::new(scope, None).is_some(), scope == Reuse::Anyone, "{scope:?}");
        }
    }
}
