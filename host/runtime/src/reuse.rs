//! Instances that are kept between calls, for plugins whose operator granted `reuse`.
//!
//! The threat: what a guest remembers of one user reaching another; a guest that grows, or that goes on working, between
//! two calls. The policy: an instance is found again only by calls of the same conversation or user as its first, and only
//! by the same version with the same settings and grants; it is kept only after a call that ended well and left no task
//! and no resource behind; few are kept, not for long, for a bounded number of calls, and none where a call waits for
//! room. Budgets and limits are those of each call. What is accepted: within the scope of its grant a guest may remember
//! anything, and a memory that has grown stays as large as it is, within the limit.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::Store;
use wasmtime::component::{Accessor, Instance, InstancePre};

use crate::capability::Whose;
use crate::grants::Reuse;
use crate::guest::Guest;

/// How long an instance is kept without a call: longer than it takes to read a reply and answer it.
const IDLE: Duration = Duration::from_secs(120);
/// Calls that one instance serves, and how many more at most: were all of an age, all would be made anew at once.
const CALLS: u32 = 64;
const JITTER: u32 = 64;
/// How long a guest may take to return once the last item of its reply was read.
const LINGER: Duration = Duration::from_secs(1);
/// Instances that are kept over all plugins, and the part of the pool that they may take.
const MOST: u32 = 64;
const SHARE: u32 = 4;

/// A store and the instance in it.
pub(crate) struct Live {
    pub(crate) store: Store<Guest>,
    instance: Option<Instance>,
    calls_left: u32,
    held_before: (usize, usize),
    /// No task of the last call was left when it was answered.
    pub(crate) quiet: bool,
}

impl Live {
    pub(crate) fn new(store: Store<Guest>) -> Self {
        Self { store, instance: None, calls_left: CALLS + jitter(), held_before: (0, 0), quiet: false }
    }

    /// The instance: made by the first call, found by the others.
    pub(crate) async fn instance(&mut self, pre: &InstancePre<Guest>) -> wasmtime::Result<Instance> {
        let instance = match self.instance {
            Some(instance) => instance,
            None => pre.instantiate_async(&mut self.store).await?,
        };
        self.instance = Some(instance);
        self.quiet = false;
        self.calls_left = self.calls_left.saturating_sub(1);
        self.held_before = self.held();
        Ok(instance)
    }

    /// Resources on the host's side; tasks, streams and futures of the component model. The second count is hidden in
    /// wasmtime's documentation, but it alone sees what a guest left open without a task of its own.
    fn held(&mut self) -> (usize, usize) {
        (self.store.data_mut().resources(), self.store.concurrent_state_table_size())
    }

    /// Whether another call may have it.
    fn is_fit(&mut self) -> bool {
        let ((resources, tasks), (resources_before, tasks_before)) = (self.held(), self.held_before);
        let clean = self.quiet && resources <= resources_before && tasks <= tasks_before;
        if !clean {
            tracing::debug!(
                self.quiet,
                resources,
                resources_before,
                tasks,
                tasks_before,
                "an instance is not kept"
            );
        }
        clean && self.calls_left > 0
    }
}

/// Whether the guest has come to rest as soon as its answer was there.
pub(crate) async fn is_quiet(accessor: &Accessor<Guest>) -> bool {
    poll_fn(|cx| Poll::Ready(accessor.poll_no_interesting_tasks(cx).is_ready())).await
}

/// The same for a reply whose reader has gone on: the guest is given a moment to return.
pub(crate) async fn comes_to_rest(accessor: &Accessor<Guest>) -> bool {
    tokio::time::timeout(LINGER, poll_fn(|cx| accessor.poll_no_interesting_tasks(cx))).await.is_ok()
}

fn jitter() -> u32 {
    use std::hash::{BuildHasher, RandomState};
    u32::try_from(RandomState::new().hash_one(()) % u64::from(JITTER)).unwrap_or(0)
}

/// Who may find an instance again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    user: Option<String>,
    conversation: Option<String>,
}

/// Nothing where the call does not say for whom it is made: then its instance is its own.
fn key(scope: Reuse, whose: Option<&Whose>) -> Option<Key> {
    match (scope, whose) {
        (Reuse::Anyone, _) => Some(Key { user: None, conversation: None }),
        (Reuse::User, Some(whose)) => Some(Key { user: Some(whose.user.clone()), conversation: None }),
        (Reuse::Conversation, Some(whose)) => {
            Some(Key { user: Some(whose.user.clone()), conversation: Some(whose.conversation.clone()) })
        }
        (Reuse::User | Reuse::Conversation, None) => None,
    }
}

/// The kept instances of one plugin, in one version, with one set of settings and grants.
pub(crate) struct Shelf {
    scope: Reuse,
    /// One permit for each instance that is kept, over all plugins.
    rooms: Arc<Semaphore>,
    /// Oldest first.
    kept: Mutex<VecDeque<Kept>>,
}

struct Kept {
    key: Key,
    live: Live,
    since: Instant,
    // After the store, whose places they are.
    places: OwnedSemaphorePermit,
    _room: OwnedSemaphorePermit,
}

impl Shelf {
    pub(crate) fn key(&self, whose: Option<&Whose>) -> Option<Key> {
        key(self.scope, whose)
    }

    /// An instance that served the same before, and the places of the pool that it still has.
    pub(crate) fn take(&self, key: &Key) -> Option<(Live, OwnedSemaphorePermit)> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = kept.iter().rposition(|kept| &kept.key == key)?;
        kept.remove(newest).map(|kept| (kept.live, kept.places))
    }

    /// Keeps an instance after its call, if it is fit for another and there is room.
    pub(crate) fn keep(self: &Arc<Self>, key: Key, mut live: Live, places: OwnedSemaphorePermit) {
        let Some(room) = live.is_fit().then(|| self.room()).flatten() else {
            // The store first: whoever gets its places makes another in the same pool.
            drop(live);
            drop(places);
            return;
        };
        let was_empty = {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.push_back(Kept { key, live, since: Instant::now(), places, _room: room });
            kept.len() == 1
        };
        if was_empty {
            tokio::spawn(Self::clear(Arc::downgrade(self)));
        }
    }

    fn room(&self) -> Option<OwnedSemaphorePermit> {
        let free = || self.rooms.clone().try_acquire_owned().ok();
        // What was used longest ago makes room.
        free().or_else(|| self.drop_oldest().then(free).flatten())
    }

    /// Makes room for a call that waits. False where nothing is kept.
    pub(crate) fn drop_oldest(&self) -> bool {
        let oldest = self.kept.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        oldest.is_some()
    }

    /// Drops what has been idle for too long, for as long as anything is kept.
    async fn clear(shelf: Weak<Self>) {
        loop {
            let due = {
                let Some(shelf) = shelf.upgrade() else { return };
                let mut kept = shelf.kept.lock().unwrap_or_else(PoisonError::into_inner);
                while kept.front().is_some_and(|oldest| oldest.since.elapsed() >= IDLE) {
                    kept.pop_front();
                }
                match kept.front() {
                    Some(oldest) => oldest.since + IDLE,
                    None => return,
                }
            };
            tokio::time::sleep_until(due.into()).await;
        }
    }
}

/// All shelves of a sandbox.
pub(crate) struct Shelves {
    rooms: Arc<Semaphore>,
    shelves: Mutex<Vec<Weak<Shelf>>>,
}

impl Shelves {
    pub(crate) fn new(instances: u32) -> Self {
        let rooms = MOST.min(instances / SHARE);
        Self { rooms: Arc::new(Semaphore::new(rooms as usize)), shelves: Mutex::default() }
    }

    pub(crate) fn shelf(&self, scope: Reuse) -> Arc<Shelf> {
        let shelf = Arc::new(Shelf { scope, rooms: self.rooms.clone(), kept: Mutex::default() });
        let mut shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        shelves.retain(|shelf| shelf.strong_count() > 0);
        shelves.push(Arc::downgrade(&shelf));
        shelf
    }

    /// Gives places of the pool back to a call that waits for some. False where nothing is kept.
    pub(crate) fn make_room(&self) -> bool {
        let shelves: Vec<_> = self.shelves.lock().unwrap_or_else(PoisonError::into_inner).clone();
        shelves.iter().filter_map(Weak::upgrade).any(|shelf| shelf.drop_oldest())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_found_again_by_its_own_scope_alone() {
        let whose =
            |user: &str, conversation: &str| Whose { user: user.into(), conversation: conversation.into() };
        let (a1, a2, b1) = (whose("ana", "1"), whose("ana", "2"), whose("bo", "1"));
        for (scope, same_user, same_conversation_id) in
            [(Reuse::Conversation, false, false), (Reuse::User, true, false), (Reuse::Anyone, true, true)]
        {
            let key = |whose| key(scope, Some(whose));
            assert_eq!(key(&a1), key(&a1));
            assert_eq!(key(&a1) == key(&a2), same_user, "{scope:?}");
            assert_eq!(key(&a1) == key(&b1), same_conversation_id, "{scope:?}");
            assert_eq!(super::key(scope, None).is_some(), scope == Reuse::Anyone, "{scope:?}");
        }
    }
}
