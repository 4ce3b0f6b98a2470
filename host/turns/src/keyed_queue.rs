//! Decides who may run when: a fixed number at a time for each key, first come first served, and a bounded number that
//! wait for a bounded time. A waiting turn holds no slot.
//!
//! It counts what only this host can count: its own slots, and its requests with one idempotency key. The store decides who
//! may run in a conversation, and the hosts count the turns of a user together (see [`crate::user_slots`]).

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The queue is full, or the wait was too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueueBusy;

/// One queue for each key that is in use.
#[derive(Debug)]
pub(crate) struct KeyedQueue<K: Eq + Hash> {
    queues: Arc<Mutex<HashMap<K, Queue>>>,
    max_running: usize,
    max_waiting: usize,
    max_wait: Duration,
}

#[derive(Debug)]
struct Queue {
    /// tokio's semaphore is fair: first come, first served.
    permits: Arc<Semaphore>,
    /// The number of those that run and those that wait.
    members: usize,
}

impl<K: Eq + Hash + Clone> KeyedQueue<K> {
    /// For each key, `max_running` run at a time and `max_waiting` wait behind them, each for `max_wait` at most.
    pub(crate) fn new(max_running: usize, max_waiting: usize, max_wait: Duration) -> Self {
        let max_running = max_running.min(Semaphore::MAX_PERMITS);
        Self { queues: Arc::default(), max_running, max_waiting, max_wait }
    }

    /// Waits for a slot of `key`. Dropping the future leaves the queue.
    ///
    /// # Errors
    /// [`QueueBusy`], at once if the queue is full, or after `max_wait`.
    pub(crate) async fn enter(&self, key: K) -> Result<QueueSlot<K>, QueueBusy> {
        let (permits, membership) = {
            let mut queues = lock(&self.queues);
            let queue = queues
                .entry(key.clone())
                .or_insert_with(|| Queue { permits: Arc::new(Semaphore::new(self.max_running)), members: 0 });
            if queue.members >= self.max_running.saturating_add(self.max_waiting) {
                return Err(QueueBusy);
            }
            queue.members += 1;
            (Arc::clone(&queue.permits), Membership { queues: Arc::clone(&self.queues), key })
        };
        match tokio::time::timeout(self.max_wait, permits.acquire_owned()).await {
            Ok(Ok(permit)) => Ok(QueueSlot { _permit: permit, _membership: membership }),
            // The semaphore is never closed, so this is the timeout.
            Ok(Err(_)) | Err(_) => Err(QueueBusy),
        }
    }
}

/// The right to run. The next one in the queue runs when it is dropped.
#[derive(Debug)]
pub(crate) struct QueueSlot<K: Eq + Hash> {
    // Fields are dropped in order. The permit comes first, so that the queue still exists for the next in the queue.
    _permit: OwnedSemaphorePermit,
    _membership: Membership<K>,
}

/// Counts one member of a queue, and removes the queue with the last one.
#[derive(Debug)]
struct Membership<K: Eq + Hash> {
    queues: Arc<Mutex<HashMap<K, Queue>>>,
    key: K,
}

impl<K: Eq + Hash> Drop for Membership<K> {
    fn drop(&mut self) {
        let mut queues = lock(&self.queues);
        if let Some(queue) = queues.get_mut(&self.key) {
            queue.members -= 1;
            if queue.members == 0 {
                queues.remove(&self.key);
            }
        }
    }
}

fn lock<K>(queues: &Mutex<HashMap<K, Queue>>) -> MutexGuard<'_, HashMap<K, Queue>> {
    queues.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn waiting_turns_are_served_in_the_order_they_came() {
        let queue = KeyedQueue::new(1, 4, WAIT);
        let head = queue.enter("c").await.unwrap();
        let mut second = Box::pin(queue.enter("c"));
        let mut third = Box::pin(queue.enter("c"));
        assert!(futures::poll!(&mut second).is_pending());
        assert!(futures::poll!(&mut third).is_pending());
        drop(head);
        assert!(futures::poll!(&mut third).is_pending());
        let head = second.await.unwrap();
        drop(head);
        third.await.unwrap();
    }

    #[tokio::test]
    async fn one_key_does_not_wait_for_another() {
        let queue = KeyedQueue::new(1, 0, WAIT);
        let _one = queue.enter("one").await.unwrap();
        queue.enter("two").await.unwrap();
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once() {
        let queue = KeyedQueue::new(1, 1, WAIT);
        let _head = queue.enter("c").await.unwrap();
        let mut second = Box::pin(queue.enter("c"));
        assert!(futures::poll!(&mut second).is_pending());
        assert_eq!(queue.enter("c").await.unwrap_err(), QueueBusy);
        drop(second);
        let mut third = Box::pin(queue.enter("c"));
        assert!(futures::poll!(&mut third).is_pending(), "leaving the queue makes room");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_longer_than_the_maximum() {
        let queue = KeyedQueue::new(1, 4, WAIT);
        let _head = queue.enter("c").await.unwrap();
        assert_eq!(queue.enter("c").await.unwrap_err(), QueueBusy);
    }

    #[tokio::test]
    async fn an_empty_queue_is_removed() {
        let queue = KeyedQueue::new(1, 4, WAIT);
        drop(queue.enter("c").await.unwrap());
        assert!(lock(&queue.queues).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn as_many_run_at_once_as_are_allowed() {
        let queue = KeyedQueue::new(2, 1, WAIT);
        let one = queue.enter("user").await.unwrap();
        let _two = queue.enter("user").await.unwrap();
        let mut third = Box::pin(queue.enter("user"));
        assert!(futures::poll!(&mut third).is_pending());
        assert_eq!(queue.enter("user").await.unwrap_err(), QueueBusy);
        drop(one);
        third.await.unwrap();
        assert_eq!(queue.enter("user").await.map(drop), Ok(()), "the third has left");
    }
}
