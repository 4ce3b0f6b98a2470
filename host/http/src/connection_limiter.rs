//! Limits the number of connections of one listener.
//!
//! Threat: clients that open connections and send nothing take all slots, and a client with a request must wait behind
//! them. Policy: at the limit, the connection that has been idle for the longest is closed. A connection with a running
//! request is never closed for this, and one that was accepted a moment ago has the time to send its first. Accepted consequence: if every connection has a running request, new clients wait
//! until one of the requests ends. When the listener stops, those that wait are served over the limit: every connection
//! ends soon then, and a client that was accepted gets an answer instead of a reset.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::response::Response;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::watched_body::{BodyWatcher, watch};

/// How long a connection may take to close before the next idle connection is evicted too.
const EVICTION_WAIT: Duration = Duration::from_millis(250);

/// How long a connection is idle at least before it is evicted. Many clients that connect at once would otherwise close the
/// connection of one whose request is on its way. The slots pass on so many times a second, which bounds how long the last of a
/// crowd waits: with 50 slots, 500 clients take half a second.
const MIN_IDLE: Duration = Duration::from_millis(50);

/// The connection slots of one listener.
pub(crate) struct ConnectionLimiter {
    slots: Arc<Semaphore>,
    idle: Arc<IdleConnections>,
}

/// The connections without a running request, ordered by the time since which they have none.
#[derive(Default)]
struct IdleConnections {
    queue: Mutex<IdleQueue>,
    /// Notified for every connection that becomes idle.
    added: Notify,
}

#[derive(Default)]
struct IdleQueue {
    /// Keyed by a counter: a lower key has been idle for longer.
    by_age: BTreeMap<u64, IdleConnection>,
    next_key: u64,
}

struct IdleConnection {
    evict: Arc<Notify>,
    since: Instant,
}

impl ConnectionLimiter {
    pub(crate) fn new(max_connections: usize) -> Self {
        let slots = Arc::new(Semaphore::new(max_connections.min(Semaphore::MAX_PERMITS)));
        Self { slots, idle: Arc::default() }
    }

    /// Waits for a free slot, and closes idle connections until there is one. `None` does not occur, because the
    /// semaphore is never closed.
    pub(crate) async fn acquire(&self) -> Option<ConnectionSlot> {
        let mut permit = std::pin::pin!(Arc::clone(&self.slots).acquire_owned());
        loop {
            tokio::select! {
                biased;
                permit = permit.as_mut() => {
                    return Some(ConnectionSlot::new(Some(permit.ok()?), Arc::clone(&self.idle)));
                }
                () = self.evict_longest_idle() => {}
            }
        }
    }

    /// A slot over the limit, for a client that waits when the listener stops.
    pub(crate) fn over_limit(&self) -> ConnectionSlot {
        ConnectionSlot::new(None, Arc::clone(&self.idle))
    }

    /// Asks the connection that has been idle for the longest to close, and gives it time to do so. Waits for a
    /// connection to become idle if none is.
    async fn evict_longest_idle(&self) {
        loop {
            match self.idle.evict_oldest() {
                Eviction::Asked => return tokio::time::sleep(EVICTION_WAIT).await,
                Eviction::PossibleAt(time) => tokio::time::sleep_until(time).await,
                Eviction::NoneIdle => self.idle.added.notified().await,
            }
        }
    }
}

/// What became of the wish to evict a connection.
enum Eviction {
    /// One was asked to close.
    Asked,
    /// None has been idle for long enough before that time.
    PossibleAt(Instant),
    /// All have running requests.
    NoneIdle,
}

/// The slot of one connection. Dropping it frees the slot.
pub(crate) struct ConnectionSlot {
    state: Arc<SlotState>,
    /// `None` for a slot over the limit.
    _permit: Option<OwnedSemaphorePermit>,
}

struct SlotState {
    idle: Arc<IdleConnections>,
    evict: Arc<Notify>,
    activity: Mutex<Activity>,
}

enum Activity {
    /// No running request. The number is the key in the idle queue.
    Idle(u64),
    /// The number of running requests.
    Requests(usize),
    /// The connection has ended.
    Closed,
}

impl ConnectionSlot {
    fn new(permit: Option<OwnedSemaphorePermit>, idle: Arc<IdleConnections>) -> Self {
        let evict = Arc::new(Notify::new());
        let key = idle.add(&evict);
        let state = SlotState { idle, evict, activity: Mutex::new(Activity::Idle(key)) };
        Self { state: Arc::new(state), _permit: permit }
    }

    /// Marks the connection as busy until the result is dropped.
    pub(crate) fn begin_request(&self) -> ActiveRequest {
        let mut activity = lock(&self.state.activity);
        match &mut *activity {
            Activity::Idle(key) => {
                self.state.idle.remove(*key);
                *activity = Activity::Requests(1);
            }
            Activity::Requests(count) => *count += 1,
            Activity::Closed => {}
        }
        ActiveRequest(Arc::clone(&self.state))
    }

    /// Resolves when the connection should close to free its slot. Ignores an eviction that a request has overtaken.
    pub(crate) async fn evicted(&self) {
        loop {
            self.state.evict.notified().await;
            if matches!(*lock(&self.state.activity), Activity::Idle(_)) {
                return;
            }
        }
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let activity = std::mem::replace(&mut *lock(&self.state.activity), Activity::Closed);
        if let Activity::Idle(key) = activity {
            self.state.idle.remove(key);
        }
    }
}

/// One request, from its head to the end of its response.
pub(crate) struct ActiveRequest(Arc<SlotState>);

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        let mut activity = lock(&self.0.activity);
        match &mut *activity {
            Activity::Requests(1) => *activity = Activity::Idle(self.0.idle.add(&self.0.evict)),
            Activity::Requests(count) => *count -= 1,
            Activity::Idle(_) | Activity::Closed => {}
        }
    }
}

impl ActiveRequest {
    /// Moves this request into the response's body, so that it lasts until the body is sent or dropped.
    pub(crate) fn hold_until_end_of(self, response: Response) -> Response {
        watch(response, self)
    }
}

impl IdleConnections {
    /// Returns the key to remove the connection by.
    fn add(&self, evict: &Arc<Notify>) -> u64 {
        let mut queue = lock(&self.queue);
        let key = queue.next_key;
        queue.next_key += 1;
        queue.by_age.insert(key, IdleConnection { evict: Arc::clone(evict), since: Instant::now() });
        self.added.notify_one();
        key
    }

    fn remove(&self, key: u64) {
        lock(&self.queue).by_age.remove(&key);
    }

    /// Asks the connection that has been idle for the longest to close, if that is long enough.
    fn evict_oldest(&self) -> Eviction {
        let mut queue = lock(&self.queue);
        let Some(oldest) = queue.by_age.first_entry() else { return Eviction::NoneIdle };
        let evictable_at = oldest.get().since + MIN_IDLE;
        if evictable_at > Instant::now() {
            return Eviction::PossibleAt(evictable_at);
        }
        oldest.remove().evict.notify_one();
        Eviction::Asked
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// It lasts until the body is dropped.
impl BodyWatcher for ActiveRequest {}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    async fn acquire(limiter: &ConnectionLimiter) -> ConnectionSlot {
        limiter.acquire().await.unwrap()
    }

    fn is_evicted(slot: &ConnectionSlot) -> bool {
        slot.evicted().now_or_never().is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_idle_connection_is_evicted() {
        let limiter = ConnectionLimiter::new(3);
        let (first, second, third) =
            (acquire(&limiter).await, acquire(&limiter).await, acquire(&limiter).await);
        // The first becomes idle anew after a request, and the second has a running request.
        drop(first.begin_request());
        let request = second.begin_request();
        tokio::time::advance(MIN_IDLE).await;
        let mut next = Box::pin(limiter.acquire());
        assert!(next.as_mut().now_or_never().is_none());
        assert!(is_evicted(&third) && !is_evicted(&first) && !is_evicted(&second));
        drop(third);
        assert!(next.await.is_some());
        drop(request);
    }

    #[tokio::test(start_paused = true)]
    async fn no_connection_is_evicted_below_the_limit() {
        let limiter = ConnectionLimiter::new(2);
        let (first, second) = (acquire(&limiter).await, acquire(&limiter).await);
        tokio::time::sleep(10 * EVICTION_WAIT).await;
        assert!(!is_evicted(&first) && !is_evicted(&second));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_with_a_new_request_stays_and_the_next_one_is_evicted() {
        let limiter = ConnectionLimiter::new(2);
        let (first, second) = (acquire(&limiter).await, acquire(&limiter).await);
        tokio::time::advance(MIN_IDLE).await;
        let mut next = Box::pin(limiter.acquire());
        assert!(next.as_mut().now_or_never().is_none());
        let request = first.begin_request();
        assert!(!is_evicted(&first));
        tokio::select! {
            _ = next.as_mut() => panic!("there is a free slot"),
            () = second.evicted() => {}
        }
        drop((second, request));
        assert!(next.await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn if_all_are_busy_the_first_to_become_idle_is_evicted() {
        let limiter = ConnectionLimiter::new(1);
        let only = acquire(&limiter).await;
        let (one, other) = (only.begin_request(), only.begin_request());
        let mut next = Box::pin(limiter.acquire());
        assert!(next.as_mut().now_or_never().is_none());
        drop(one);
        assert!(next.as_mut().now_or_never().is_none() && !is_evicted(&only));
        drop(other);
        assert!(
            next.as_mut().now_or_never().is_none() && !is_evicted(&only),
            "another request may be on its way"
        );
        tokio::time::advance(MIN_IDLE).await;
        assert!(next.as_mut().now_or_never().is_none() && is_evicted(&only));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_has_just_connected_has_time_to_send_its_request_however_many_come_after_it() {
        let limiter = ConnectionLimiter::new(1);
        let just = acquire(&limiter).await;
        let mut next = Box::pin(limiter.acquire());
        assert!(next.as_mut().now_or_never().is_none() && !is_evicted(&just));
        let request = just.begin_request();
        tokio::time::advance(2 * MIN_IDLE).await;
        assert!(next.as_mut().now_or_never().is_none() && !is_evicted(&just));
        drop(request);
    }
}
