//! Periodic work for running turns: renews the leases of all of them in one statement, and drops logs that are past their
//! time.
//!
//! A host that can't renew cancels its turns before their leases end, since another host may take the conversations from
//! then on.

use std::collections::HashSet;
use std::time::Duration;

use masque_store::TurnId;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cancellation::CancelReason;
use crate::host::{Host, LEASE};

const RENEW_INTERVAL: Duration = Duration::from_secs(10);
/// The same after a renewal that failed.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);
/// How long the store may take to answer one renewal.
const RENEW_TIMEOUT: Duration = Duration::from_secs(3);
/// How long before the end of its lease a turn is cancelled: enough to stop what runs.
const SAFETY_MARGIN: Duration = Duration::from_secs(5);

impl Host {
    /// Renews leases until `stop` is cancelled.
    pub(crate) async fn keep_leases(&self, stop: CancellationToken) {
        let renew = |asked| async move {
            let is_renewed = self.renew_leases(asked).await;
            self.registry.purge();
            is_renewed
        };
        stop.run_until_cancelled(repeat(renew, |renewed, now| self.cancel_ending(renewed, now))).await;
    }

    /// Cancels the turns whose leases may end before another renewal has failed. `renewed` is when the leases were last
    /// renewed; turns that began later have newer ones.
    fn cancel_ending(&self, renewed: Instant, now: Instant) {
        let cancelled = self
            .registry
            .cancel_if(CancelReason::LeaseLost, |live| is_last_chance_gone(live.began.max(renewed), now));
        if cancelled > 0 {
            tracing::error!(
                turns = cancelled,
                "the leases of running turns can't be renewed; the turns are ended"
            );
        }
    }

    /// Renews once, and cancels the turns whose lease another host has. Returns whether the store answered. Without turns it
    /// only tells a store that hosts share that this one lives.
    async fn renew_leases(&self, asked: Instant) -> bool {
        let mut turns = self.registry.running_ids();
        turns.extend(self.finalizer.pending_turns());
        let renewed: HashSet<TurnId> = match self.store.heartbeat(self.id, &turns, LEASE).await {
            Ok(heard) => heard.held.into_iter().collect(),
            Err(error) => {
                tracing::warn!(%error, "the leases of running turns could not be renewed");
                return false;
            }
        };
        // Turns that began after the renewal was sent are not part of the answer.
        self.registry.cancel_if(CancelReason::LeaseLost, |live| {
            live.began < asked && !renewed.contains(&live.log.turn())
        });
        true
    }
}

/// Calls `renew` forever, with the time of the call. It returns whether the store answered. If it did not, or not in time,
/// `failed` is called with the time of the last renewal that succeeded, and the time now.
async fn repeat<F: Future<Output = bool>>(renew: impl Fn(Instant) -> F, failed: impl Fn(Instant, Instant)) {
    let mut renewed = Instant::now();
    let mut next = renewed;
    loop {
        tokio::time::sleep_until(next).await;
        let asked = Instant::now();
        let is_renewed = tokio::time::timeout(RENEW_TIMEOUT, renew(asked)).await.unwrap_or_else(|_elapsed| {
            tracing::warn!("the store does not answer; the leases of running turns are not renewed");
            false
        });
        if is_renewed {
            renewed = asked;
            next = asked + RENEW_INTERVAL;
        } else {
            let now = Instant::now();
            failed(renewed, now);
            next = now + RETRY_INTERVAL;
        }
    }
}

/// Whether a lease that began, or was last renewed, at `renewed` could end before the turn is stopped, if the renewal that
/// failed at `now` is followed by another that fails.
fn is_last_chance_gone(renewed: Instant, now: Instant) -> bool {
    now + RETRY_INTERVAL + RENEW_TIMEOUT > renewed + LEASE - SAFETY_MARGIN
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::future::{pending, ready};

    use super::*;

    /// How long after the last renewal a turn is cancelled that began `age` after it, if every later renewal ends as
    /// `answer` does.
    async fn cancelled_after<F: Future<Output = bool>>(age: Duration, answer: impl Fn() -> F) -> Duration {
        let start = Instant::now();
        let (calls, cancelled) = (Cell::new(0), Cell::new(None));
        let renew = |_| {
            calls.set(calls.get() + 1);
            let (is_first, later) = (calls.get() == 1, answer());
            async move { is_first || later.await }
        };
        let failed = |renewed: Instant, now: Instant| {
            if is_last_chance_gone(renewed.max(start + age), now) && cancelled.get().is_none() {
                cancelled.set(Some(now - start));
            }
        };
        // Ends the loop, which has no end of its own.
        let _elapsed = tokio::time::timeout(LEASE * 3, repeat(renew, failed)).await;
        cancelled.get().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn turns_are_cancelled_before_their_leases_end() {
        let hangs = cancelled_after(Duration::ZERO, pending).await;
        let fails = cancelled_after(Duration::ZERO, || ready(false)).await;
        for after in [hangs, fails] {
            assert!(after <= LEASE - SAFETY_MARGIN, "{after:?}");
            assert!(after > RENEW_INTERVAL + RETRY_INTERVAL, "the store gets a second chance: {after:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_has_just_begun_is_not_cancelled_for_an_old_failure() {
        let age = Duration::from_secs(15);
        let after = cancelled_after(age, pending).await;
        assert!(after > LEASE - SAFETY_MARGIN && after <= age + LEASE - SAFETY_MARGIN, "{after:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn leases_are_renewed_again_once_the_store_is_back() {
        let start = Instant::now();
        let (calls, failures) = (RefCell::new(Vec::new()), Cell::new(0));
        let renew = |asked: Instant| {
            calls.borrow_mut().push((asked - start).as_secs());
            ready(calls.borrow().len() != 2)
        };
        let _elapsed =
            tokio::time::timeout(LEASE, repeat(renew, |_, _| failures.set(failures.get() + 1))).await;
        assert_eq!(failures.get(), 1);
        assert_eq!(*calls.borrow(), [0, 10, 12, 22]);
    }
}
