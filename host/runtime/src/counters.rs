//! What is counted over all calls of one plugin, for the operator.

use std::sync::atomic::{AtomicU64, Ordering};

/// The counters of one plugin, in one version with one set of settings.
#[derive(Debug, Default)]
pub struct PluginCounters {
    state_refusals: AtomicU64,
}

impl PluginCounters {
    /// Writes to `state` that were refused because of the plugin's quota or of a limit of the call.
    pub fn state_refusals(&self) -> u64 {
        self.state_refusals.load(Ordering::Relaxed)
    }

    pub(crate) fn add_state_refusal(&self) -> u64 {
        self.state_refusals.fetch_add(1, Ordering::Relaxed) + 1
    }
}
