//! The uses of the shared memory, put together.

use std::sync::Arc;

use super::events::TurnEvents;
use super::inbox::Inbox;
use super::live_hosts::LiveHosts;
use super::slots::TurnSlots;
use super::status::SharedHealth;
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
