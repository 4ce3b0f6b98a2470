//! What stays as a host was started, whatever its files say later: everything except companions, plugins, credentials and the
//! level of the log.

use std::sync::Arc;

use masque_config::{Config, Diagnostic, Location, Plugin};
use masque_telemetry::level;

/// The configuration that the host was started with.
#[derive(Clone)]
pub(crate) struct Started(Arc<Config>);

impl Started {
    pub(crate) fn new(config: Arc<Config>) -> Self {
        Self(config)
    }

    /// A warning that names the changed sections that take effect only at the next start.
    pub(crate) fn restart_warning(&self, config: &Config) -> Option<Diagnostic> {
        let sections = self.0.changed_sections(config);
        if sections.is_empty() {
            return None;
        }
        let what = format!("{} differs from what the host was started with", sections.join(", "));
        Some(Diagnostic::warning(file_location(config), what, "It takes effect at the next start."))
    }

    /// The new companions, plugins, credentials and level of the log, with everything else as the host was started with it.
    pub(crate) fn with_started_sections(&self, config: Config) -> Config {
        let mut started = Config::clone(&self.0);
        started.log.level = config.log.level;
        Config {
            companions: config.companions,
            plugins: config.plugins,
            credentials: config.credentials,
            file: config.file,
            locations: config.locations,
            files: config.files,
            ..started
        }
    }

    /// A problem for each plugin with a higher memory limit than the running sandbox has. The file was checked against its
    /// own `[sandbox]`, which takes effect only at the next start.
    pub(crate) fn memory_limit_problems(&self, config: &Config) -> Vec<Diagnostic> {
        let most = self.0.sandbox.memory_bytes;
        let too_large = config.plugins.iter().filter(|(_, plugin)| self.exceeds_memory(plugin));
        too_large
            .map(|(name, _)| {
                Diagnostic::error(
                    config.locations.plugin(name, "limits/memory"),
                    format!("plugin `{name}` may have more memory than the sandbox of this host gives ({most} bytes)"),
                    "Lower it, or start the host again with the new [sandbox].",
                )
            })
            .collect()
    }

    /// Whether the plugin may have more memory than the running sandbox gives.
    pub(crate) fn exceeds_memory(&self, plugin: &Plugin) -> bool {
        plugin.limits.memory_bytes > self.0.sandbox.memory_bytes
    }
}

/// Puts the level of the log into effect that a file which was read again has, whatever becomes of the rest of it. `None` leaves
/// the level as it is.
pub(crate) fn follow_log_level(level: Option<&str>) {
    if let Some(Err(error)) = level.map(level::follow) {
        tracing::error!(%error, "the level of the log stays as it is");
    }
}

/// The configuration file as a whole.
pub(crate) fn file_location(config: &Config) -> Location {
    config.file.clone().map_or_else(
        || Location::Builtin("configuration".into()),
        |path| Location::File { path, position: None },
    )
}
