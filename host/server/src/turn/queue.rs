//! Who may run when: so many at a time for each key, first come first served, with a bounded number that wait a bounded
//! time. Waiting holds nothing but the place in the line.
//!
//! A turn takes its conversation's place first, then one of its user's and one of the host's, so that those who wait for
//! their own conversation keep no one else out.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Too many wait already, or the wait was too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Busy;

/// Lines of those who wait, one for each key that is in use.
#[derive(Debug)]
pub(crate) struct Queue<K: Eq + Hash> {
    lines: Arc<Mutex<HashMap<K, Line>>>,
    at_once: usize,
    waiting: usize,
    wait: Duration,
}

#[derive(Debug)]
struct Line {
    /// tokio's semaphore serves first come first.
    turn: Arc<Semaphore>,
    /// Those that run and those that wait.
    present: usize,
}

impl<K: Eq + Hash + Clone> Queue<K> {
    /// `waiting` may wait behind the `at_once` that run, each for `wait` at most.
    pub(crate) fn new(at_once: usize, waiting: usize, wait: Duration) -> Self {
        let at_once = at_once.min(Semaphore::MAX_PERMITS);
        Self { lines: Arc::default(), at_once, waiting, wait }
    }

    /// A place among those at the head of the line. Dropping the future leaves the line.
    pub(crate) async fn enter(&self, key: K) -> Result<Place<K>, Busy> {
        let (turn, presence) = {
            let mut lines = lock(&self.lines);
            let line = lines
                .entry(key.clone())
                .or_insert_with(|| Line { turn: Arc::new(Semaphore::new(self.at_once)), present: 0 });
            if line.present >= self.at_once.saturating_add(self.waiting) {
                return Err(Busy);
            }
            line.present += 1;
            (Arc::clone(&line.turn), Presence { lines: Arc::clone(&self.lines), key })
        };
        match tokio::time::timeout(self.wait, turn.acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Place { _permit: permit, _presence: presence }),
            // The semaphore is never closed, so what is left is the timeout.
            Ok(Err(_)) | Err(_) => Err(Busy),
        }
    }
}

/// A place at the head of a line; the next one moves up when it is dropped.
#[derive(Debug)]
pub(crate) struct Place<K: Eq + Hash> {
    // Before the presence: the next in line must find the line still there.
    _permit: OwnedSemaphorePermit,
    _presence: Presence<K>,
}

#[derive(Debug)]
struct Presence<K: Eq + Hash> {
    lines: Arc<Mutex<HashMap<K, Line>>>,
    key: K,
}

impl<K: Eq + Hash> Drop for Presence<K> {
    fn drop(&mut self) {
        let mut lines = lock(&self.lines);
        if let Some(line) = lines.get_mut(&self.key) {
            line.present -= 1;
            if line.present == 0 {
                lines.remove(&self.key);
            }
        }
    }
}

fn lock<K>(lines: &Mutex<HashMap<K, Line>>) -> MutexGuard<'_, HashMap<K, Line>> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn those_who_wait_are_served_in_the_order_they_came() {
        let queue = Queue::new(1, 4, WAIT);
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
    async fn one_conversation_does_not_wait_for_another() {
        let queue = Queue::new(1, 0, WAIT);
        let _one = queue.enter("one").await.unwrap();
        queue.enter("two").await.unwrap();
    }

    #[tokio::test]
    async fn a_full_line_turns_the_next_one_away_at_once() {
        let queue = Queue::new(1, 1, WAIT);
        let _head = queue.enter("c").await.unwrap();
        let mut second = Box::pin(queue.enter("c"));
        assert!(futures::poll!(&mut second).is_pending());
        assert_eq!(queue.enter("c").await.unwrap_err(), Busy);
        drop(second);
        let mut third = Box::pin(queue.enter("c"));
        assert!(futures::poll!(&mut third).is_pending(), "whoever left made room");
    }

    #[tokio::test(start_paused = true)]
    async fn no_one_waits_longer_than_the_wait() {
        let queue = Queue::new(1, 4, WAIT);
        let _head = queue.enter("c").await.unwrap();
        assert_eq!(queue.enter("c").await.unwrap_err(), Busy);
    }

    #[tokio::test]
    async fn a_line_that_no_one_stands_in_is_forgotten() {
        let queue = Queue::new(1, 4, WAIT);
        drop(queue.enter("c").await.unwrap());
        assert!(lock(&queue.lines).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn as_many_as_may_run_at_once_do() {
        let queue = Queue::new(2, 1, WAIT);
        let one = queue.enter("user").await.unwrap();
        let _two = queue.enter("user").await.unwrap();
        let mut third = Box::pin(queue.enter("user"));
        assert!(futures::poll!(&mut third).is_pending());
        assert_eq!(queue.enter("user").await.unwrap_err(), Busy);
        drop(one);
        third.await.unwrap();
        assert_eq!(queue.enter("user").await.map(drop), Ok(()), "the third has gone");
    }
}
