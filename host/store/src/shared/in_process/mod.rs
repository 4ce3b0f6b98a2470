//! What several hosts would share, in the memory of one process: for a host that runs alone.

mod events;
mod inbox;
mod slots;

use std::sync::Arc;

use uuid::Uuid;

pub use events::InProcessTurnEvents;
pub use inbox::InProcessInbox;
pub use slots::InProcessTurnSlots;

use super::live_hosts::LiveHosts;
use super::status::{SharedHealth, SharedStatus};
use super::uses::Shared;
use crate::rate_limits::InProcessRateLimits;

/// There is nothing to be reached.
#[derive(Debug)]
struct InProcessHealth;

impl SharedHealth for InProcessHealth {
    fn status(&self) -> SharedStatus {
        SharedStatus::InProcess
    }
}

impl Shared {
    /// The memory of this process alone. Messages to other hosts than `host` reach nobody.
    pub fn in_process(host: Uuid) -> Self {
        Self {
            rates: Arc::new(InProcessRateLimits::default()),
            slots: Arc::new(InProcessTurnSlots::default()),
            events: Arc::new(InProcessTurnEvents::default()),
            inbox: Arc::new(InProcessInbox::new(host)),
            health: Arc::new(InProcessHealth),
            live_hosts: LiveHosts::default(),
        }
    }
}
