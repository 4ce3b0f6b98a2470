//! A plugin as the sets hold it, over as many generations as it stays the same.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use masque_runtime::Plugin;

use crate::config::PluginFingerprint;

/// Says in the log when the last set that has it is gone, which is when the last turn on it has ended.
#[derive(Debug)]
pub(crate) struct Loaded {
    plugin: Arc<Plugin>,
    terms: PluginFingerprint,
    /// Whether a set came that does not have it: one that only goes with the host is not worth a line.
    retired: AtomicBool,
}

impl Loaded {
    pub(super) fn new(plugin: Plugin, terms: PluginFingerprint) -> Self {
        Self { plugin: Arc::new(plugin), terms, retired: AtomicBool::new(false) }
    }

    pub(super) fn plugin(&self) -> &Arc<Plugin> {
        &self.plugin
    }

    /// What it runs under.
    pub(super) fn terms(&self) -> &PluginFingerprint {
        &self.terms
    }

    /// No new turn will use it.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }
}

impl Deref for Loaded {
    type Target = Arc<Plugin>;

    fn deref(&self) -> &Arc<Plugin> {
        &self.plugin
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        if self.retired.load(Ordering::Relaxed) {
            let package = self.plugin.package();
            tracing::info!(
                plugin = self.plugin.name(),
                version = package.description().version,
                digest = package.digest(),
                "unloaded: no turn uses it any more"
            );
        }
    }
}
