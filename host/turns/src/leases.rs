//! Periodic work for running turns: renews the leases of all of them in one statement, and drops logs that are past their
//! time.
//!
//! A host that can't renew cancels its turns before their leases end, since another host may take the conversations from
//! then on.

use std::collections::HashSet;
use std::time::Duration;

use masque_store::TurnId;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::cancellation::CancelReason;
use crate::host::{Host, LEASE};

const RENEW_INTERVAL: Duration = Duration::from_secs(10);
/// How long before the end of its lease a turn is cancelled: enough to stop what runs.
const SAFETY_MARGIN: Duration = Duration::from_secs(5);

impl Host {
    /// Renews leases until `stop` is cancelled.
    pub(crate) async fn keep_leases(&self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(RENEW_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let work = async {
            let mut renewed = Instant::now();
            loop {
                ticks.tick().await;
                let asked = Instant::now();
                // However late this renewal is, the store gets some time to answer: it may be back.
                let patience = (renewed + LEASE - SAFETY_MARGIN).max(asked + RENEW_INTERVAL / 2);
                match tokio::time::timeout_at(patience, self.renew_leases(asked)).await {
                    Ok(true) => renewed = asked,
                    Ok(false) | Err(_) if is_last_chance_gone(renewed, asked) => {
                        tracing::error!("the leases of running turns can't be renewed; ending the turns");
                        // Turns admitted after the last renewal have newer leases and may go on.
                        self.registry.cancel_if(CancelReason::LeaseLost, |live| {
                            is_lease_ending(live.began, Instant::now())
                        });
                    }
                    Ok(false) | Err(_) => {}
                }
                self.registry.purge();
            }
        };
        stop.run_until_cancelled(work).await;
    }

    /// Renews once, and cancels the turns whose lease another host has. Returns whether the store answered.
    async fn renew_leases(&self, asked: Instant) -> bool {
        let mut turns = self.registry.running_ids();
        turns.extend(self.finalizer.pending_turns());
        if turns.is_empty() {
            return true;
        }
        let renewed: HashSet<TurnId> = match self.store.renew(self.id, &turns, LEASE).await {
            Ok(renewed) => renewed.into_iter().collect(),
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

/// Whether the next renewal would come too late for leases that were renewed at `renewed`.
fn is_last_chance_gone(renewed: Instant, asked: Instant) -> bool {
    asked + RENEW_INTERVAL > renewed + LEASE - SAFETY_MARGIN
}

/// Whether a lease that began at `began` and was never renewed ends before the next renewal.
fn is_lease_ending(began: Instant, now: Instant) -> bool {
    now + SAFETY_MARGIN + RENEW_INTERVAL > began + LEASE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_cancelled_before_their_leases_end() {
        let renewed = Instant::now();
        assert!(!is_last_chance_gone(renewed, renewed + RENEW_INTERVAL));
        assert!(is_last_chance_gone(renewed, renewed + RENEW_INTERVAL * 2));
        assert!(RENEW_INTERVAL * 2 + SAFETY_MARGIN < LEASE);
    }

    #[test]
    fn a_turn_that_has_just_begun_is_not_cancelled_for_an_old_failure() {
        let began = Instant::now();
        assert!(!is_lease_ending(began, began + Duration::from_secs(10)));
        assert!(is_lease_ending(began, began + Duration::from_secs(20)));
    }
}
