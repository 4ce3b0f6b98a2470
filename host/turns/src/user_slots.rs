//! The concurrent turns of each user, over all hosts.
//!
//! The places are counted in the memory that the hosts share. This host keeps a list of those that it holds, and renews them
//! for as long as their turns run.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use masque_store::{Owner, TurnSlots};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

/// How often a user who has no free place is tried again. No host tells the others when a turn ends.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// Takes, renews and releases places of users.
pub(crate) struct UserSlots {
    slots: Arc<dyn TurnSlots>,
    limit: u32,
    held: Mutex<HashMap<Uuid, Owner>>,
    /// How many turns of each user wait on this host, without users that have none.
    waiting: Mutex<HashMap<Owner, u32>>,
    /// Notified when this host has released a place.
    released: Notify,
    /// The releases that are under way.
    tasks: TaskTracker,
}

impl UserSlots {
    /// At most `limit` places for each user. Releases are tasks of `tasks`.
    pub(crate) fn new(slots: Arc<dyn TurnSlots>, limit: u32, tasks: TaskTracker) -> Arc<Self> {
        Arc::new(Self {
            slots,
            limit,
            held: Mutex::default(),
            waiting: Mutex::default(),
            released: Notify::new(),
            tasks,
        })
    }

    /// Takes a place, if one is free.
    pub(crate) async fn take(self: &Arc<Self>, owner: &Owner) -> Option<UserSlot> {
        // A new holder each time: the release of an earlier place may still be under way and must not free this one.
        let holder = Uuid::now_v7();
        self.held().insert(holder, owner.clone());
        // Made before the place is taken: if this future is dropped meanwhile, the place is released.
        let mut slot = UserSlot { slots: Arc::clone(self), holder, may_be_taken: true };
        if self.slots.take(owner, holder, self.limit).await {
            return Some(slot);
        }
        slot.may_be_taken = false;
        None
    }

    /// Takes a place, and waits up to `wait` until one is free. As many turns may wait as there are places; those behind them
    /// would wait in vain.
    pub(crate) async fn wait(self: &Arc<Self>, owner: &Owner, wait: Duration) -> Option<UserSlot> {
        let _waiting = WaitingForSlot::begin(self, owner)?;
        let until = Instant::now() + wait;
        loop {
            let released = self.released.notified();
            tokio::pin!(released);
            // From here on no release is missed.
            released.as_mut().enable();
            if let Some(slot) = self.take(owner).await {
                return Some(slot);
            }
            let now = Instant::now();
            if now >= until {
                return None;
            }
            tokio::select! {
                () = released => {}
                () = tokio::time::sleep_until(until.min(now + RETRY_INTERVAL)) => {}
            }
        }
    }

    /// Renews all places that this host holds.
    pub(crate) async fn renew(&self) {
        let held: Vec<(Owner, Uuid)> =
            self.held().iter().map(|(holder, owner)| (owner.clone(), *holder)).collect();
        if !held.is_empty() {
            self.slots.renew(&held).await;
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<Owner, u32>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held(&self) -> MutexGuard<'_, HashMap<Uuid, Owner>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts one turn that waits, until it is dropped.
struct WaitingForSlot<'a> {
    slots: &'a UserSlots,
    owner: &'a Owner,
}

impl<'a> WaitingForSlot<'a> {
    /// `None` if as many wait as may.
    fn begin(slots: &'a UserSlots, owner: &'a Owner) -> Option<Self> {
        let mut waiting = slots.waiting();
        let count = waiting.get(owner).copied().unwrap_or_default();
        if count >= slots.limit {
            return None;
        }
        waiting.insert(owner.clone(), count + 1);
        Some(Self { slots, owner })
    }
}

impl Drop for WaitingForSlot<'_> {
    fn drop(&mut self) {
        let mut waiting = self.slots.waiting();
        match waiting.get_mut(self.owner) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                waiting.remove(self.owner);
            }
        }
    }
}

/// A place of a user. Dropping it releases the place, a moment later.
pub(crate) struct UserSlot {
    slots: Arc<UserSlots>,
    holder: Uuid,
    may_be_taken: bool,
}

impl Drop for UserSlot {
    fn drop(&mut self) {
        let Some(owner) = self.slots.held().remove(&self.holder) else { return };
        if !self.may_be_taken {
            return;
        }
        // Without a runtime the process ends, and the place expires.
        let Ok(runtime) = Handle::try_current() else { return };
        let (slots, holder) = (Arc::clone(&self.slots), self.holder);
        self.slots.tasks.spawn_on(
            async move {
                slots.slots.release(&owner, holder).await;
                slots.released.notify_waiters();
            },
            &runtime,
        );
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use async_trait::async_trait;

    use super::*;

    /// Places of one user, counted as the trait says.
    #[derive(Default)]
    struct CountedSlots {
        taken: Mutex<HashSet<Uuid>>,
        renewed: Mutex<Vec<Uuid>>,
    }

    #[async_trait]
    impl TurnSlots for CountedSlots {
        async fn take(&self, _user: &Owner, holder: Uuid, limit: u32) -> bool {
            let mut taken = self.taken.lock().unwrap();
            taken.contains(&holder) || (taken.len() < limit as usize && taken.insert(holder))
        }

        async fn renew(&self, held: &[(Owner, Uuid)]) {
            self.renewed.lock().unwrap().extend(held.iter().map(|(_, holder)| *holder));
        }

        async fn release(&self, _user: &Owner, holder: Uuid) {
            self.taken.lock().unwrap().remove(&holder);
        }
    }

    fn owner() -> Owner {
        Owner { tenant: "default".into(), issuer: "local".into(), subject: "ana".into() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_is_dropped_lets_the_next_turn_in_at_once() {
        let counted = Arc::new(CountedSlots::default());
        let slots = UserSlots::new(counted.clone(), 1, TaskTracker::new());
        let first = slots.take(&owner()).await.unwrap();
        assert!(slots.take(&owner()).await.is_none());
        let (user, began) = (owner(), Instant::now());
        let mut second = Box::pin(slots.wait(&user, Duration::from_secs(1)));
        assert!(futures::poll!(&mut second).is_pending());
        assert!(slots.wait(&user, Duration::from_secs(1)).await.is_none(), "as many wait as may");
        assert_eq!(began.elapsed(), Duration::ZERO);
        drop(first);
        let second = second.await.unwrap();
        assert!(began.elapsed() < RETRY_INTERVAL);
        slots.renew().await;
        assert_eq!(
            *counted.renewed.lock().unwrap(),
            [second.holder],
            "what was released or refused is not renewed"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_another_host_frees_is_found_and_nobody_waits_longer_than_asked() {
        let counted = Arc::new(CountedSlots::default());
        let slots = UserSlots::new(counted.clone(), 1, TaskTracker::new());
        let elsewhere = Uuid::now_v7();
        counted.taken.lock().unwrap().insert(elsewhere);
        let (user, began) = (owner(), Instant::now());
        assert!(slots.wait(&user, Duration::from_secs(1)).await.is_none());
        assert_eq!(began.elapsed().as_secs(), 1);
        let mut waiting = Box::pin(slots.wait(&user, Duration::from_secs(1)));
        assert!(futures::poll!(&mut waiting).is_pending());
        counted.taken.lock().unwrap().remove(&elsewhere);
        assert!(waiting.await.is_some());
    }
}
