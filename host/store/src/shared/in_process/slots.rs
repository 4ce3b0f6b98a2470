//! The places of one host, in its memory.

use std::collections::HashMap;
#[cfg(feature = "conformance")]
use std::time::Duration;
use std::time::Instant;

use async_trait::async_trait;
use dashmap::DashMap;
use uuid::Uuid;

use crate::owner::Owner;
use crate::shared::slots::{TURN_SLOT_LIFETIME, TurnSlots};

/// [`TurnSlots`] within this process.
#[derive(Debug, Default)]
pub struct InProcessTurnSlots {
    /// The holders of each user, and until when they hold their place.
    places: DashMap<Owner, HashMap<Uuid, Instant>>,
}

impl InProcessTurnSlots {
    /// As [`TurnSlots::take`].
    pub fn take_now(&self, user: &Owner, holder: Uuid, limit: u32) -> bool {
        let now = Instant::now();
        let mut holders = self.places.entry(user.clone()).or_default();
        holders.retain(|_, until| *until > now);
        let may =
            holders.contains_key(&holder) || u32::try_from(holders.len()).is_ok_and(|taken| taken < limit);
        if may {
            holders.insert(holder, now + TURN_SLOT_LIFETIME);
        }
        let is_empty = holders.is_empty();
        drop(holders);
        if is_empty {
            self.places.remove_if(user, |_, holders| holders.is_empty());
        }
        may
    }

    /// As [`TurnSlots::renew`]. Returns those of them that are held.
    pub fn renew_now<'a>(&self, held: &'a [(Owner, Uuid)]) -> Vec<&'a (Owner, Uuid)> {
        let until = Instant::now() + TURN_SLOT_LIFETIME;
        let renewed = held
            .iter()
            .filter(|(user, holder)| {
                let Some(mut holders) = self.places.get_mut(user) else { return false };
                holders.get_mut(holder).map(|place| *place = until).is_some()
            })
            .collect();
        self.remove_expired();
        renewed
    }

    /// As [`TurnSlots::release`].
    pub fn release_now(&self, user: &Owner, holder: Uuid) {
        if let Some(mut holders) = self.places.get_mut(user) {
            holders.remove(&holder);
        }
        self.places.remove_if(user, |_, holders| holders.is_empty());
    }

    /// All places that are held.
    pub fn held(&self) -> Vec<(Owner, Uuid)> {
        let now = Instant::now();
        let mut held = Vec::new();
        for user in &self.places {
            let holders = user.iter().filter(|(_, until)| **until > now);
            held.extend(holders.map(|(holder, _)| (user.key().clone(), *holder)));
        }
        held
    }

    /// Moves all places this far into the past.
    #[cfg(feature = "conformance")]
    pub fn pass_time(&self, time: Duration) {
        for mut user in self.places.iter_mut() {
            for until in user.values_mut() {
                *until = until.checked_sub(time).unwrap_or_else(Instant::now);
            }
        }
    }

    fn remove_expired(&self) {
        let now = Instant::now();
        self.places.retain(|_, holders| {
            holders.retain(|_, until| *until > now);
            !holders.is_empty()
        });
    }
}

#[async_trait]
impl TurnSlots for InProcessTurnSlots {
    async fn take(&self, user: &Owner, holder: Uuid, limit: u32) -> bool {
        self.take_now(user, holder, limit)
    }

    async fn renew(&self, held: &[(Owner, Uuid)]) {
        self.renew_now(held);
    }

    async fn release(&self, user: &Owner, holder: Uuid) {
        self.release_now(user, holder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_user_without_a_place_is_kept() {
        let slots = InProcessTurnSlots::default();
        let user = Owner { tenant: "t".into(), issuer: "i".into(), subject: "s".into() };
        let holder = Uuid::from_u128(1);
        assert!(!slots.take_now(&user, holder, 0));
        assert!(slots.places.is_empty());
        assert!(slots.take_now(&user, holder, 1));
        assert_eq!(slots.held(), [(user.clone(), holder)]);
        slots.release_now(&user, holder);
        assert!(slots.places.is_empty());
    }
}
