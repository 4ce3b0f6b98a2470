//! Periodic work for running turns: one statement tells the store that the host lives, renews the leases of all its turns and
//! brings the cancellations that were asked for on other hosts. It also keeps the places of users, shows what their budgets have
//! left, and drops logs that are past their time.
//!
//! A host that can't renew cancels its turns before their leases end, since another host may take the conversations from
//! then on. One that was paused gives its readers nothing more (see [`EventLog::renew_lease`](crate::log::EventLog)).

use std::collections::HashSet;
use std::time::Duration;

use masque_store::{Heartbeat, TURN_SLOT_LIFETIME, TurnId};
use masque_telemetry::metrics::state::HEARTBEAT;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::cancellation::CancelReason;
use crate::clock::now_ms;
use crate::host::{Host, LEASE};
use crate::metering::show_budget_use;

/// The time between two renewals if the first one failed.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);
/// How long the store may take to answer one renewal.
const RENEW_TIMEOUT: Duration = Duration::from_secs(3);
/// How long before the end of its lease a turn is cancelled: enough to stop what runs.
const SAFETY_MARGIN: Duration = Duration::from_secs(5);

impl Host {
    /// Renews leases and places until `stop` is cancelled.
    pub(crate) async fn keep_leases(&self, stop: CancellationToken) {
        let renew = |asked| async move {
            let is_renewed = self.renew_leases(asked).await;
            self.registry.purge();
            is_renewed
        };
        let leases = repeat(self.options.heartbeat, renew, |now| self.cancel_ending(now));
        // Beside the leases: shared memory or a database that hangs must not delay them.
        let work = async { tokio::join!(leases, self.keep_places(), self.watch_budgets()) };
        stop.run_until_cancelled(work).await;
    }

    /// Renews the places of users with running turns, forever.
    async fn keep_places(&self) {
        let Some(users) = &self.users else { return };
        let mut ticks = tokio::time::interval(TURN_SLOT_LIFETIME / 3);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            users.renew().await;
        }
    }

    /// Shows how much of their budgets accounts have used, forever.
    async fn watch_budgets(&self) {
        let mut ticks = tokio::time::interval(self.options.heartbeat);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            show_budget_use(&self.budgets, &*self.store).await;
        }
    }

    /// Cancels the turns whose leases may end before another renewal has failed.
    fn cancel_ending(&self, now: Instant) {
        let cancelled = self.registry.cancel_if(CancelReason::LeaseLost, |live| {
            live.log.lease_ends().is_some_and(|ends| is_last_chance_gone(ends, now))
        });
        if cancelled > 0 {
            tracing::error!(
                turns = cancelled,
                "the leases of running turns can't be renewed; the turns are ended"
            );
        }
    }

    /// Renews once, at `asked`, and cancels the turns whose lease another host has or whose end a client has asked for.
    /// Returns whether the store answered. Without turns it only tells a store that hosts share that this one lives.
    async fn renew_leases(&self, asked: Instant) -> bool {
        let running = self.registry.running();
        let mut turns: Vec<TurnId> = running.iter().map(|live| live.log.turn()).collect();
        turns.extend(self.finalizer.pending_turns());
        let Heartbeat { held, cancel, live_hosts } = match self.store.heartbeat(self.id, &turns, LEASE).await
        {
            Ok(heartbeat) => heartbeat,
            Err(error) => {
                tracing::warn!(%error, "the leases of running turns could not be renewed");
                return false;
            }
        };
        self.shared.live_hosts.set(live_hosts);
        HEARTBEAT.set(&[], now_ms() / 1000);
        let (held, cancel): (HashSet<_>, HashSet<_>) =
            (held.into_iter().collect(), cancel.into_iter().collect());
        // Turns that began meanwhile were not named, and are not part of the answer.
        for live in running {
            let turn = live.log.turn();
            if !held.contains(&turn) {
                // A turn that has just ended holds no lease either, and can't be cancelled any more.
                live.cancellation.cancel(CancelReason::LeaseLost);
                continue;
            }
            live.log.renew_lease(asked + LEASE);
            if cancel.contains(&turn) {
                live.cancellation.cancel(CancelReason::ByClient);
            }
        }
        true
    }
}

/// Calls `renew` forever, every `interval`, with the time of the call. It returns whether the store answered. If it did not, or
/// not in time, `failed` is called with the time now.
async fn repeat<F: Future<Output = bool>>(
    interval: Duration,
    renew: impl Fn(Instant) -> F,
    failed: impl Fn(Instant),
) {
    let mut next = Instant::now();
    loop {
        tokio::time::sleep_until(next).await;
        let asked = Instant::now();
        let is_renewed = tokio::time::timeout(RENEW_TIMEOUT, renew(asked)).await.unwrap_or_else(|_elapsed| {
            tracing::warn!("the store does not answer; the leases of running turns are not renewed");
            false
        });
        if is_renewed {
            next = asked + interval;
        } else {
            let now = Instant::now();
            failed(now);
            next = now + RETRY_INTERVAL;
        }
    }
}

/// Whether a lease that lasts until `ends` at least could end before the turn is stopped, if the renewal that failed at `now`
/// is followed by another that fails.
fn is_last_chance_gone(ends: Instant, now: Instant) -> bool {
    now + RETRY_INTERVAL + RENEW_TIMEOUT > ends - SAFETY_MARGIN
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::future::{pending, ready};

    use super::*;

    /// The longer interval, that of a host with a database of its own.
    const INTERVAL: Duration = Duration::from_secs(10);

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
        let failed = |now: Instant| {
            if is_last_chance_gone(start + age + LEASE, now) && cancelled.get().is_none() {
                cancelled.set(Some(now - start));
            }
        };
        // Ends the loop, which has no end of its own.
        let _elapsed = tokio::time::timeout(LEASE * 3, repeat(INTERVAL, renew, failed)).await;
        cancelled.get().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn turns_are_cancelled_before_their_leases_end() {
        let hangs = cancelled_after(Duration::ZERO, pending).await;
        let fails = cancelled_after(Duration::ZERO, || ready(false)).await;
        for after in [hangs, fails] {
            assert!(after <= LEASE - SAFETY_MARGIN, "{after:?}");
            assert!(after > INTERVAL + RETRY_INTERVAL, "the store gets a second chance: {after:?}");
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
            tokio::time::timeout(LEASE, repeat(INTERVAL, renew, |_| failures.set(failures.get() + 1))).await;
        assert_eq!(failures.get(), 1);
        assert_eq!(*calls.borrow(), [0, 10, 12, 22]);
    }
}
