//! Places for concurrent turns, over all hosts.
//!
//! The places of this host are also kept in its memory. They are all that counts while Redis can't be reached, and are
//! put into Redis again when it is back.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::try_join_all;
use masque_store::{InProcessTurnSlots, LiveHosts, Owner, TURN_SLOT_LIFETIME, TurnSlots};
use redis::RedisResult;
use uuid::Uuid;

use crate::circuit::Circuit;
use crate::keys::Keys;
use crate::link::Link;
use crate::script::{RELEASE_SLOT, RENEW_SLOTS, TAKE_SLOT};

/// [`TurnSlots`] on Redis.
pub(crate) struct RedisTurnSlots {
    pub(crate) circuit: Arc<Circuit>,
    pub(crate) keys: Keys,
    pub(crate) live_hosts: LiveHosts,
    pub(crate) local: Arc<InProcessTurnSlots>,
}

fn lifetime_ms() -> u64 {
    u64::try_from(TURN_SLOT_LIFETIME.as_millis()).unwrap_or(u64::MAX)
}

/// Takes a place by a connection.
pub(crate) async fn take_on(
    link: &Link,
    keys: &Keys,
    user: &Owner,
    holder: Uuid,
    limit: u32,
) -> RedisResult<bool> {
    let call = TAKE_SLOT.call(&[keys.slots(user)]);
    call.arg(holder.to_string()).arg(limit).arg(lifetime_ms()).run(link).await
}

/// Renews places by a connection: one call for each user, all in one round trip.
pub(crate) async fn renew_on(link: &Link, keys: &Keys, held: &[&(Owner, Uuid)]) -> RedisResult<()> {
    let mut by_user: HashMap<&Owner, Vec<String>> = HashMap::new();
    for (user, holder) in held {
        by_user.entry(user).or_default().push(holder.to_string());
    }
    let calls = by_user.into_iter().map(|(user, holders)| {
        let call = RENEW_SLOTS.call(&[keys.slots(user)]).arg(lifetime_ms()).arg(holders);
        async move { call.run::<()>(link).await }
    });
    try_join_all(calls).await.map(|_| ())
}

/// Gives a place back by a connection.
pub(crate) async fn release_on(link: &Link, keys: &Keys, user: &Owner, holder: Uuid) -> RedisResult<()> {
    RELEASE_SLOT.call(&[keys.slots(user)]).arg(holder.to_string()).run(link).await
}

#[async_trait]
impl TurnSlots for RedisTurnSlots {
    async fn take(&self, user: &Owner, holder: Uuid, limit: u32) -> bool {
        let keys = &self.keys;
        let taken =
            self.circuit.call(|link| async move { take_on(&link, keys, user, holder, limit).await }).await;
        match taken {
            // Redis has counted.
            Some(true) => self.local.take_now(user, holder, u32::MAX),
            Some(false) => false,
            None => {
                let share = limit.checked_div(self.live_hosts.get()).unwrap_or(limit);
                self.local.take_now(user, holder, share.max(limit.min(1)))
            }
        }
    }

    async fn renew(&self, held: &[(Owner, Uuid)]) {
        let held = self.local.renew_now(held);
        if held.is_empty() {
            return;
        }
        let (keys, held) = (&self.keys, &held);
        // If it fails, the places are put into Redis when it is back.
        self.circuit.call(|link| async move { renew_on(&link, keys, held).await }).await;
    }

    async fn release(&self, user: &Owner, holder: Uuid) {
        self.local.release_now(user, holder);
        let keys = &self.keys;
        // If it fails, the place is free after its lifetime.
        self.circuit.call(|link| async move { release_on(&link, keys, user, holder).await }).await;
    }
}
