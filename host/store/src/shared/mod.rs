//! What the hosts of one installation share in memory, and may lose at any moment: nothing that was acknowledged is here
//! alone.
//!
//! Each trait is one use, and each of its methods is one atomic operation. None returns an error: where the shared memory
//! can't be reached, an implementation answers as the documentation of the method says, and the caller goes on with what
//! the [store](crate::Store) knows.

mod events;
mod inbox;
mod live_hosts;
mod slots;
mod status;

use std::sync::Arc;

pub use events::{EventPage, TURN_EVENTS_RETENTION, TurnEvents};
pub use inbox::{Inbox, InboxMessage, Recipient};
pub use live_hosts::LiveHosts;
pub use slots::{TURN_SLOT_LIFETIME, TurnSlots};
pub use status::{SharedHealth, SharedStatus};

use crate::rate_limits::RateLimits;

/// The shared memory of a host, by use.
#[derive(Clone)]
pub struct Shared {
    /// How often something may happen.
    pub rates: Arc<dyn RateLimits>,
    /// Concurrent turns of each user.
    pub slots: Arc<dyn TurnSlots>,
    /// The events of turns, for readers on other hosts.
    pub events: Arc<dyn TurnEvents>,
    /// Messages between hosts.
    pub inbox: Arc<dyn Inbox>,
    /// Whether it can be reached.
    pub health: Arc<dyn SharedHealth>,
    /// The number of hosts, by which limits are divided while they can't be shared.
    pub live_hosts: LiveHosts,
}
