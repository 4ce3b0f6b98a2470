//! The turns that this host knows: those that run, by id and by idempotency key, and those whose log can still be read.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use masque_store::{Owner, TurnId};
use tokio::time::Instant;

use super::log::Log;
use super::stop::{Reason, Stop};

/// What is kept for those who may come back; past it the logs that ended first go before their time.
const KEPT_BYTES: usize = 64 << 20;

/// A turn as others reach it.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) owner: Owner,
    pub(crate) log: Arc<Log>,
    pub(crate) attempt: u32,
    pub(crate) stop: Stop,
    /// By which a repeated request finds it.
    pub(crate) key: Option<Key>,
    pub(crate) began: Instant,
}

/// A client's own name for a request, and what was asked for under it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) key: String,
    pub(crate) digest: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Registry {
    turns: Mutex<Known>,
    /// How long an ended turn's log is kept.
    ttl: Duration,
}

#[derive(Debug, Default)]
struct Known {
    turns: HashMap<TurnId, Arc<Live>>,
    /// Of running turns only: what became of an ended one is in the store.
    keys: HashMap<(Owner, String), TurnId>,
    /// Oldest first.
    ended: VecDeque<(Instant, Arc<Live>)>,
    kept_bytes: usize,
    /// Every turn is to end, one that is only being admitted too.
    stopping: Option<Reason>,
}

impl Registry {
    pub(crate) fn new(ttl: Duration) -> Self {
        Self { turns: Mutex::default(), ttl }
    }

    /// A turn begins; a later attempt takes the place of the one before.
    pub(crate) fn begin(&self, live: &Arc<Live>) {
        let mut known = self.known();
        if let Some(key) = &live.key {
            known.keys.insert((live.owner.clone(), key.key.clone()), live.log.turn());
        }
        known.turns.insert(live.log.turn(), Arc::clone(live));
        if let Some(reason) = known.stopping {
            live.stop.ask(reason);
        }
    }

    /// A turn has ended; its log stays for a while.
    pub(crate) fn end(&self, live: &Arc<Live>) {
        let mut known = self.known();
        if let Some(key) = &live.key {
            known.keys.remove(&(live.owner.clone(), key.key.clone()));
        }
        known.kept_bytes += live.log.cost();
        known.ended.push_back((Instant::now(), Arc::clone(live)));
        known.purge(self.ttl);
    }

    /// Lets go of logs that are past their time.
    pub(crate) fn purge(&self) {
        self.known().purge(self.ttl);
    }

    /// The owner's turn, running or recently ended.
    pub(crate) fn find(&self, owner: &Owner, turn: TurnId) -> Option<Arc<Live>> {
        let mut known = self.known();
        known.purge(self.ttl);
        known.turns.get(&turn).filter(|live| live.owner == *owner).cloned()
    }

    /// The owner's running turn with that idempotency key.
    pub(crate) fn running(&self, owner: &Owner, key: &str) -> Option<Arc<Live>> {
        let known = self.known();
        let turn = known.keys.get(&(owner.clone(), key.to_owned()))?;
        known.turns.get(turn).filter(|live| live.log.ended().is_none()).cloned()
    }

    /// The turns that run.
    pub(crate) fn running_turns(&self) -> Vec<TurnId> {
        let known = self.known();
        let running = known.turns.values().filter(|live| live.log.ended().is_none());
        running.map(|live| live.log.turn()).collect()
    }

    /// Asks every turn to end, those that begin later too.
    pub(crate) fn stop_all(&self, reason: Reason) {
        self.known().stopping = Some(reason);
        self.stop(reason, |_| true);
    }

    /// Asks every running turn that `which` names to end.
    pub(crate) fn stop(&self, reason: Reason, which: impl Fn(&Live) -> bool) {
        for live in self.known().turns.values().filter(|live| live.log.ended().is_none() && which(live)) {
            live.stop.ask(reason);
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn purge(&mut self, ttl: Duration) {
        // The cost of a log does not change once it has ended.
        while let Some((at, live)) = self.ended.front()
            && (at.elapsed() >= ttl || self.kept_bytes > KEPT_BYTES)
        {
            let live = Arc::clone(live);
            self.ended.pop_front();
            self.kept_bytes = self.kept_bytes.saturating_sub(live.log.cost());
            // A later attempt under the same id is not this one's to remove.
            if self.turns.get(&live.log.turn()).is_some_and(|present| Arc::ptr_eq(present, &live)) {
                self.turns.remove(&live.log.turn());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use masque_store::ConversationId;

    use super::*;
    use crate::problem::{Kind, Problem};
    use crate::turn::log::End;

    const TTL: Duration = Duration::from_secs(60);

    fn owner(subject: &str) -> Owner {
        Owner { tenant: "default".into(), issuer: "local".into(), subject: subject.into() }
    }

    fn live(turn: TurnId, key: Option<&str>) -> Arc<Live> {
        Arc::new(Live {
            owner: owner("ana"),
            log: Log::new(turn, ConversationId::new(), "elara".into(), 1024),
            attempt: 1,
            stop: Stop::default(),
            key: key.map(|key| Key { key: key.into(), digest: vec![1] }),
            began: Instant::now(),
        })
    }

    fn end(registry: &Registry, live: &Arc<Live>) {
        live.log.end(End::Failed(Problem::from(Kind::TurnCancelled)));
        registry.end(live);
    }

    #[tokio::test(start_paused = true)]
    async fn an_ended_turn_can_be_found_for_its_time_and_no_longer() {
        let registry = Registry::new(TTL);
        let turn = live(TurnId::new(), None);
        registry.begin(&turn);
        end(&registry, &turn);
        tokio::time::advance(TTL - Duration::from_millis(1)).await;
        assert!(registry.find(&owner("ana"), turn.log.turn()).is_some());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(registry.find(&owner("ana"), turn.log.turn()).is_none());
    }

    #[tokio::test]
    async fn another_users_turn_is_not_found() {
        let registry = Registry::new(TTL);
        let turn = live(TurnId::new(), Some("key"));
        registry.begin(&turn);
        assert!(registry.find(&owner("bob"), turn.log.turn()).is_none());
        assert!(registry.running(&owner("bob"), "key").is_none());
        assert!(registry.running(&owner("ana"), "key").is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_later_attempt_outlives_the_log_of_the_one_before() {
        let registry = Registry::new(TTL);
        let first = live(TurnId::new(), Some("key"));
        registry.begin(&first);
        end(&registry, &first);
        assert!(registry.running(&owner("ana"), "key").is_none());
        let second = live(first.log.turn(), Some("key"));
        registry.begin(&second);
        tokio::time::advance(TTL * 2).await;
        let found = registry.find(&owner("ana"), first.log.turn()).unwrap();
        assert!(Arc::ptr_eq(&found, &second));
        assert!(registry.running(&owner("ana"), "key").is_some());
    }

    #[tokio::test]
    async fn only_running_turns_are_asked_to_end() {
        let registry = Registry::new(TTL);
        let (done, runs) = (live(TurnId::new(), None), live(TurnId::new(), None));
        registry.begin(&done);
        registry.begin(&runs);
        end(&registry, &done);
        registry.stop_all(Reason::Draining);
        assert!(futures::poll!(Box::pin(done.stop.asked())).is_pending());
        let late = live(TurnId::new(), None);
        registry.begin(&late);
        assert_eq!(late.stop.asked().await, Reason::Draining, "one that was being admitted");
        assert_eq!(runs.stop.asked().await, Reason::Draining);
        runs.stop.ask(Reason::Cancelled);
        assert_eq!(runs.stop.asked().await, Reason::Draining, "the first reason counts");
    }
}
