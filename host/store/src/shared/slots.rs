//! How many turns of one user run at the same time, over all hosts.

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use crate::owner::Owner;

/// Places for running turns, counted for each user.
#[async_trait]
pub trait TurnSlots: Send + Sync {
    /// Takes a place of the user for `holder`, which the caller makes up, unless `limit` are taken. Returns whether it was
    /// taken; true if the holder has one already. Where the shared memory can't be reached, the places of this host are
    /// counted alone, against `limit` divided by the number of live hosts, but at least one.
    async fn take(&self, user: &Owner, holder: Uuid, limit: u32) -> bool;

    /// Keeps places for another [`TURN_SLOT_LIFETIME`]. A place that is not renewed is free after that, so that a host that
    /// ends without a word takes none with it. A place that the shared memory has lost is taken again, whatever the limit;
    /// one that was given back is not.
    async fn renew(&self, held: &[(Owner, Uuid)]);

    /// Gives a place back. Does nothing if the holder has none.
    async fn release(&self, user: &Owner, holder: Uuid);
}

/// How long a place is kept unless it is renewed.
pub const TURN_SLOT_LIFETIME: Duration = Duration::from_secs(30);
