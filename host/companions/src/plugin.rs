//! A plugin as it is shared by the generations in which it stays the same.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use masque_config::PluginFingerprint;
use masque_runtime::Plugin;
use masque_telemetry::metrics::state::begin_jobs;

use crate::plugin_series::{KeptSeries, PLUGIN_SERIES};
use crate::series_retention::SeriesSubject;

/// A plugin of one or more generations. It logs a line when it is unloaded, which is when the last turn that uses it has
/// ended.
#[derive(Debug)]
pub struct LoadedPlugin {
    plugin: Arc<Plugin>,
    fingerprint: PluginFingerprint,
    settings_digest: String,
    /// Set when a generation without this plugin is published. A plugin that goes because the host stops logs nothing.
    is_retired: AtomicBool,
    /// Set when a generation with this plugin is in use. Its name and version have series from then on.
    in_use: OnceLock<[KeptSeries; 2]>,
}

impl LoadedPlugin {
    pub(crate) fn new(plugin: Plugin, fingerprint: PluginFingerprint) -> Self {
        let hex: String = fingerprint.settings.iter().map(|byte| format!("{byte:02x}")).collect();
        Self {
            plugin: Arc::new(plugin),
            fingerprint,
            settings_digest: format!("sha256:{hex}"),
            is_retired: AtomicBool::new(false),
            in_use: OnceLock::new(),
        }
    }

    pub(crate) fn plugin(&self) -> &Arc<Plugin> {
        &self.plugin
    }

    /// The digest of the settings in effect, as `sha256:…`: the records of turns name settings by it.
    pub fn settings_digest(&self) -> &str {
        &self.settings_digest
    }

    /// Digests of the settings, grants and limits, to tell whether they have changed.
    pub(crate) fn fingerprint(&self) -> &PluginFingerprint {
        &self.fingerprint
    }

    /// Marks that a generation with this plugin is in use.
    pub(crate) fn use_it(&self) {
        self.in_use.get_or_init(|| {
            let version = self.plugin.package().description().version.clone();
            let name = self.plugin.name().to_owned();
            let series = &PLUGIN_SERIES;
            [
                series.keep(SeriesSubject::Plugin(name.clone()), || self.begin_job_series()),
                series.keep(SeriesSubject::Version(name, version), || self.plugin.begin_series()),
            ]
        });
    }

    /// Makes the series of its background jobs whose first increase has to be seen.
    fn begin_job_series(&self) {
        let package = self.plugin.package();
        for (function, is_there) in [("observe", package.observes()), ("reflect", package.reflects())] {
            if is_there {
                begin_jobs(self.plugin.name(), function);
            }
        }
    }

    /// Marks that no new turn will use the plugin.
    pub(crate) fn retire(&self) {
        self.is_retired.store(true, Ordering::Relaxed);
    }
}

impl Deref for LoadedPlugin {
    type Target = Arc<Plugin>;

    fn deref(&self) -> &Arc<Plugin> {
        &self.plugin
    }
}

impl Drop for LoadedPlugin {
    fn drop(&mut self) {
        if self.is_retired.load(Ordering::Relaxed) {
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
