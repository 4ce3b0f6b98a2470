//! How many hosts live, as the store said last.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The number of live hosts, this one included. Cheap to clone; clones share the number.
#[derive(Clone, Debug)]
pub struct LiveHosts(Arc<AtomicU32>);

impl Default for LiveHosts {
    fn default() -> Self {
        Self(Arc::new(AtomicU32::new(1)))
    }
}

impl LiveHosts {
    /// The number, at least 1.
    pub fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed).max(1)
    }

    /// Notes what the store said.
    pub fn set(&self, hosts: u32) {
        self.0.store(hosts, Ordering::Relaxed);
    }
}
