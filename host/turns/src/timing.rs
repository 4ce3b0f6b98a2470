//! Where the time of a turn went, as clients are told in `timing`.

use std::time::Duration;

use masque_runtime::Plugin;
use serde_json::{Value, json};

use crate::clock::fractional_ms;

/// The time that one plugin took in a turn.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PluginTiming {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) digest: String,
    pub(crate) duration: Duration,
}

impl PluginTiming {
    pub(crate) fn new(plugin: &Plugin, duration: Duration) -> Self {
        let package = plugin.package();
        Self {
            kind: package.kind().to_string(),
            name: plugin.name().to_owned(),
            version: package.description().version.clone(),
            digest: package.digest().to_owned(),
            duration,
        }
    }
}

/// The time that a whole turn took.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct TurnTiming {
    /// From the arrival of the request to the first content.
    pub(crate) first_content: Option<Duration>,
    /// From the arrival of the request to the end of the pipeline.
    pub(crate) total: Duration,
    /// The plugins that made the reply, in the order of their calls.
    pub(crate) plugins: Vec<PluginTiming>,
    /// Spent in models that failed before another one took over. It is not the host's own time.
    pub(crate) failed_models: Duration,
}

impl TurnTiming {
    /// The host's own time: everything that was not spent in a plugin.
    pub(crate) fn host(&self) -> Duration {
        let plugins: Duration = self.plugins.iter().map(|plugin| plugin.duration).sum();
        self.total.saturating_sub(plugins).saturating_sub(self.failed_models)
    }

    pub(crate) fn to_value(&self) -> Value {
        let plugins: Vec<_> = self
            .plugins
            .iter()
            .map(|plugin| {
                let PluginTiming { kind, name, version, digest, duration } = plugin;
                let ms = fractional_ms(*duration);
                json!({ "kind": kind, "name": name, "version": version, "digest": digest, "ms": ms })
            })
            .collect();
        json!({
            "first_content_ms": self.first_content.map(fractional_ms),
            "total_ms": fractional_ms(self.total),
            "host_ms": fractional_ms(self.host()),
            "plugins": plugins,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin(kind: &str, ms: u64) -> PluginTiming {
        PluginTiming {
            kind: kind.into(),
            name: kind.into(),
            version: "0.1.0".into(),
            digest: "sha256:00".into(),
            duration: Duration::from_millis(ms),
        }
    }

    #[test]
    fn the_hosts_time_is_what_no_plugin_took() {
        let timing = TurnTiming {
            first_content: Some(Duration::from_millis(40)),
            total: Duration::from_millis(100),
            plugins: vec![plugin("memory", 1), plugin("persona", 2), plugin("model", 70)],
            failed_models: Duration::from_millis(20),
        };
        assert_eq!(timing.host(), Duration::from_millis(7));
        assert_eq!(TurnTiming { total: Duration::ZERO, ..timing }.host(), Duration::ZERO);
    }
}
