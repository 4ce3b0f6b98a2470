//! The turns that this host knows: running turns, by id and by idempotency key, and ended turns whose log can still be
//! read.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use masque_store::{ConversationId, Owner, TurnId};
use tokio::time::Instant;

use crate::cancellation::{CancelReason, Cancellation};
use crate::log::EventLog;
use crate::request::IdempotencyKey;

/// The memory for the logs of ended turns. Above it, the logs that ended first are dropped before their time.
const MAX_KEPT_BYTES: usize = 64 << 20;

/// A turn as others reach it.
#[derive(Debug)]
pub(crate) struct LiveTurn {
    pub(crate) owner: Owner,
    pub(crate) log: Arc<EventLog>,
    pub(crate) attempt: u32,
    pub(crate) cancellation: Cancellation,
    /// A repeated request finds the turn by it.
    pub(crate) key: Option<IdempotencyKey>,
}

/// All turns that this host knows.
#[derive(Debug)]
pub(crate) struct TurnRegistry {
    state: Mutex<RegistryState>,
    /// How long the log of an ended turn is kept.
    log_ttl: Duration,
}

#[derive(Debug, Default)]
struct RegistryState {
    turns: HashMap<TurnId, Arc<LiveTurn>>,
    /// Only running turns: the store knows what became of an ended one.
    keys: HashMap<(Owner, String), TurnId>,
    /// Oldest first.
    ended: VecDeque<(Instant, Arc<LiveTurn>)>,
    kept_bytes: usize,
    /// Set when every turn is to be cancelled, including those that are still being admitted.
    cancel_all: Option<CancelReason>,
}

impl TurnRegistry {
    pub(crate) fn new(log_ttl: Duration) -> Self {
        Self { state: Mutex::default(), log_ttl }
    }

    /// Adds a turn that begins. A later attempt replaces the one before it.
    pub(crate) fn begin(&self, live: &Arc<LiveTurn>) {
        let mut state = self.state();
        if let Some(key) = &live.key {
            state.keys.insert((live.owner.clone(), key.key.clone()), live.log.turn());
        }
        state.turns.insert(live.log.turn(), Arc::clone(live));
        if let Some(reason) = state.cancel_all {
            live.cancellation.cancel(reason);
        }
    }

    /// Marks a turn as ended. Its log stays for `log_ttl`.
    pub(crate) fn end(&self, live: &Arc<LiveTurn>) {
        let mut state = self.state();
        if let Some(key) = &live.key {
            state.keys.remove(&(live.owner.clone(), key.key.clone()));
        }
        state.kept_bytes += live.log.memory_bytes();
        state.ended.push_back((Instant::now(), Arc::clone(live)));
        state.purge(self.log_ttl);
    }

    /// Drops logs that are past their time.
    pub(crate) fn purge(&self) {
        self.state().purge(self.log_ttl);
    }

    /// The owner's turn with this id, running or recently ended.
    pub(crate) fn find(&self, owner: &Owner, turn: TurnId) -> Option<Arc<LiveTurn>> {
        let mut state = self.state();
        state.purge(self.log_ttl);
        state.turns.get(&turn).filter(|live| live.owner == *owner).cloned()
    }

    /// The owner's running turn with this idempotency key.
    pub(crate) fn find_running(&self, owner: &Owner, key: &str) -> Option<Arc<LiveTurn>> {
        let state = self.state();
        let turn = state.keys.get(&(owner.clone(), key.to_owned()))?;
        state.turns.get(turn).filter(|live| !live.log.has_ended()).cloned()
    }

    /// All running turns.
    pub(crate) fn running(&self) -> Vec<Arc<LiveTurn>> {
        let state = self.state();
        state.turns.values().filter(|live| !live.log.has_ended()).cloned().collect()
    }

    /// The running turn with this id, whoever its owner is: for other hosts, which have asked the store for the owner.
    pub(crate) fn running_turn(&self, turn: TurnId) -> Option<Arc<LiveTurn>> {
        let state = self.state();
        state.turns.get(&turn).filter(|live| !live.log.has_ended()).cloned()
    }

    /// Whether a turn of this conversation runs on this host.
    pub(crate) fn runs_in(&self, conversation: ConversationId) -> bool {
        let state = self.state();
        state.turns.values().any(|live| live.log.conversation() == conversation && !live.log.has_ended())
    }

    /// Cancels every running turn, and every turn that begins later.
    pub(crate) fn cancel_all(&self, reason: CancelReason) {
        self.state().cancel_all = Some(reason);
        self.cancel_if(reason, |_| true);
    }

    /// Cancels every running turn for which `condition` holds. Returns how many.
    pub(crate) fn cancel_if(&self, reason: CancelReason, condition: impl Fn(&LiveTurn) -> bool) -> usize {
        let state = self.state();
        let chosen = state.turns.values().filter(|live| !live.log.has_ended() && condition(live));
        chosen.map(|live| live.cancellation.cancel(reason)).count()
    }

    fn state(&self) -> MutexGuard<'_, RegistryState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RegistryState {
    fn purge(&mut self, log_ttl: Duration) {
        // The size of a log does not change once it has ended.
        while let Some((at, live)) = self.ended.front()
            && (at.elapsed() >= log_ttl || self.kept_bytes > MAX_KEPT_BYTES)
        {
            let live = Arc::clone(live);
            self.ended.pop_front();
            self.kept_bytes = self.kept_bytes.saturating_sub(live.log.memory_bytes());
            // A later attempt with the same id must stay.
            if self.turns.get(&live.log.turn()).is_some_and(|present| Arc::ptr_eq(present, &live)) {
                self.turns.remove(&live.log.turn());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::TurnEnd;
    use masque_problem::{Kind, Problem};

    const LOG_TTL: Duration = Duration::from_secs(60);

    fn owner(subject: &str) -> Owner {
        Owner { tenant: "default".into(), issuer: "local".into(), subject: subject.into() }
    }

    fn live(turn: TurnId, key: Option<&str>) -> Arc<LiveTurn> {
        Arc::new(LiveTurn {
            owner: owner("ana"),
            log: EventLog::new(turn, ConversationId::new(), "elara".into(), 1024),
            attempt: 1,
            cancellation: Cancellation::default(),
            key: key.map(|key| IdempotencyKey { key: key.into(), digest: vec![1] }),
        })
    }

    fn end(registry: &TurnRegistry, live: &Arc<LiveTurn>) {
        live.log.end(TurnEnd::Failed(Problem::from(Kind::TurnCancelled)));
        registry.end(live);
    }

    #[tokio::test(start_paused = true)]
    async fn an_ended_turn_can_be_found_for_its_time_and_no_longer() {
        let registry = TurnRegistry::new(LOG_TTL);
        let turn = live(TurnId::new(), None);
        registry.begin(&turn);
        end(&registry, &turn);
        tokio::time::advance(LOG_TTL - Duration::from_millis(1)).await;
        assert!(registry.find(&owner("ana"), turn.log.turn()).is_some());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(registry.find(&owner("ana"), turn.log.turn()).is_none());
    }

    #[tokio::test]
    async fn another_users_turn_is_not_found() {
        let registry = TurnRegistry::new(LOG_TTL);
        let turn = live(TurnId::new(), Some("key"));
        registry.begin(&turn);
        assert!(registry.find(&owner("bob"), turn.log.turn()).is_none());
        assert!(registry.find_running(&owner("bob"), "key").is_none());
        assert!(registry.find_running(&owner("ana"), "key").is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_later_attempt_outlives_the_log_of_the_one_before() {
        let registry = TurnRegistry::new(LOG_TTL);
        let first = live(TurnId::new(), Some("key"));
        registry.begin(&first);
        end(&registry, &first);
        assert!(registry.find_running(&owner("ana"), "key").is_none());
        let second = live(first.log.turn(), Some("key"));
        registry.begin(&second);
        tokio::time::advance(LOG_TTL * 2).await;
        let found = registry.find(&owner("ana"), first.log.turn()).unwrap();
        assert!(Arc::ptr_eq(&found, &second));
        assert!(registry.find_running(&owner("ana"), "key").is_some());
    }

    #[tokio::test]
    async fn only_running_turns_are_cancelled() {
        let registry = TurnRegistry::new(LOG_TTL);
        let (ended, running) = (live(TurnId::new(), None), live(TurnId::new(), None));
        registry.begin(&ended);
        registry.begin(&running);
        end(&registry, &ended);
        registry.cancel_all(CancelReason::Draining);
        assert!(futures::poll!(Box::pin(ended.cancellation.cancelled())).is_pending());
        let late = live(TurnId::new(), None);
        registry.begin(&late);
        assert_eq!(late.cancellation.cancelled().await, CancelReason::Draining, "it was being admitted");
        assert_eq!(running.cancellation.cancelled().await, CancelReason::Draining);
        running.cancellation.cancel(CancelReason::ByClient);
        assert_eq!(running.cancellation.cancelled().await, CancelReason::Draining, "the first reason counts");
    }
}
