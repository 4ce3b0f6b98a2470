//! What is due by time: the leases of all running turns in one statement, and logs that are past their time.
//!
//! A host that can't renew must stop before its leases end: another may take the conversations from then on.

use std::collections::HashSet;
use std::time::Duration;

use masque_store::TurnId;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::Turns;
use super::stop::Reason;

/// How long the store keeps a conversation for a turn unless it is renewed.
pub(super) const LEASE: Duration = Duration::from_secs(30);
const RENEW: Duration = Duration::from_secs(10);
/// Before the end of a lease that could not be renewed: enough to stop what runs.
const MARGIN: Duration = Duration::from_secs(5);

impl Turns {
    /// Renews until `stop`.
    pub(crate) async fn keep_leases(&self, stop: CancellationToken) {
        let mut due = tokio::time::interval(RENEW);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let work = async {
            let mut renewed = Instant::now();
            loop {
                due.tick().await;
                let asked = Instant::now();
                // However late it is, the store gets time to answer: it may be back.
                let patience = (renewed + LEASE - MARGIN).max(asked + RENEW / 2);
                match tokio::time::timeout_at(patience, self.renew(asked)).await {
                    Ok(true) => renewed = asked,
                    Ok(false) | Err(_) if last_chance_is_gone(renewed, asked) => {
                        tracing::error!("the leases of running turns can't be renewed; ending the turns");
                        // Of turns admitted since, the lease is younger.
                        self.0.registry.stop(Reason::LeaseLost, |live| outlived(live.began, Instant::now()));
                    }
                    Ok(false) | Err(_) => {}
                }
                self.0.registry.purge();
            }
        };
        stop.run_until_cancelled(work).await;
    }

    /// Whether the store renewed; turns whose lease is someone else's are asked to end.
    async fn renew(&self, asked: Instant) -> bool {
        let mut turns = self.0.registry.running_turns();
        turns.extend(self.0.settler.unwritten());
        if turns.is_empty() {
            return true;
        }
        let kept: HashSet<TurnId> = match self.0.store.renew(self.0.id, &turns, LEASE).await {
            Ok(kept) => kept.into_iter().collect(),
            Err(error) => {
                tracing::warn!(%error, "the leases of running turns could not be renewed");
                return false;
            }
        };
        // One that began after the question is not part of the answer.
        self.0
            .registry
            .stop(Reason::LeaseLost, |live| live.began < asked && !kept.contains(&live.log.turn()));
        true
    }
}

/// Whether the next renewal would come too late for leases renewed at `renewed`.
fn last_chance_is_gone(renewed: Instant, asked: Instant) -> bool {
    asked + RENEW > renewed + LEASE - MARGIN
}

/// Whether a lease that began then and was never renewed is about to end.
fn outlived(began: Instant, now: Instant) -> bool {
    now + MARGIN + RENEW > began + LEASE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_ended_before_their_leases_are() {
        let renewed = Instant::now();
        assert!(!last_chance_is_gone(renewed, renewed + RENEW));
        assert!(last_chance_is_gone(renewed, renewed + RENEW * 2));
        assert!(RENEW * 2 + MARGIN < LEASE);
    }

    #[test]
    fn a_turn_that_has_just_begun_is_not_ended_for_an_old_failure() {
        let began = Instant::now();
        assert!(!outlived(began, began + Duration::from_secs(10)));
        assert!(outlived(began, began + Duration::from_secs(20)));
    }
}
