//! The series of a plugin that exist before their first event: Prometheus takes the first value that it sees of a series for
//! its beginning, so it would miss the first failure.

use masque_grants::Grants;
use masque_telemetry::metrics::plugins::{
    CALLS, DENIALS, LIMIT_HITS, STATE_QUOTA_USED, STATE_REFUSALS, TRAPS, UPSTREAM_REQUESTS,
};

use super::codes::{CODES, LIMITS, OK};
use super::request::{PluginLabels, UPSTREAM_OUTCOMES};

/// Makes the series of a plugin that is in use: those of each outcome of its `functions`, and of what its grants allow or
/// lack.
pub(crate) fn begin_series(labels: &PluginLabels, functions: &[&str], grants: &Grants) {
    let (plugin, version) = (&*labels.plugin, &*labels.version);
    for function in functions {
        for outcome in [OK].into_iter().chain(CODES) {
            CALLS.begin(&[plugin, version, function, outcome]);
        }
    }
    TRAPS.begin(&[plugin, version]);
    for limit in LIMITS {
        LIMIT_HITS.begin(&[plugin, version, limit]);
    }
    for (grant, is_granted) in [
        ("history", grants.history),
        ("http", !grants.http.is_empty()),
        ("models", grants.models),
        ("networks", !grants.networks.is_empty()),
        ("state", grants.state),
        ("state_shared", grants.state_shared),
    ] {
        // A grant for HTTP names some origins, and requests to others are denied.
        if !is_granted || grant == "http" || grant == "networks" {
            DENIALS.begin(&[plugin, version, grant]);
        }
    }
    if grants.state {
        // A histogram begins with its first look-up.
        let _ = STATE_QUOTA_USED.with(&[plugin, version]);
        STATE_REFUSALS.begin(&[plugin, version]);
    }
    if !grants.http.is_empty() {
        for outcome in UPSTREAM_OUTCOMES {
            UPSTREAM_REQUESTS.begin(&[plugin, version, outcome]);
        }
    }
}

#[cfg(test)]
mod tests {
    use masque_telemetry::metrics::encode;

    use super::*;

    /// The series of a plugin, without their values, which are all 0.
    fn series(plugin: &str) -> Vec<String> {
        let body = encode(None).body;
        let label = format!("plugin=\"{plugin}\"");
        let lines = body.lines().filter(|line| line.contains(&label));
        lines.map(|line| line.strip_suffix(" 0").unwrap_or_else(|| panic!("{line}")).to_owned()).collect()
    }

    #[test]
    fn a_plugin_counts_from_zero_what_can_happen_to_it() {
        let labels = |plugin: &str| PluginLabels { plugin: plugin.into(), version: "1.0.0".into() };
        begin_series(&labels("begun"), &["compose", "greet"], &Grants::default());
        let begun = series("begun");
        for (name, label, value) in [
            ("masque_plugin_calls_total", "outcome", "ok"),
            ("masque_plugin_calls_total", "outcome", "timeout"),
            ("masque_plugin_calls_total", "function", "greet"),
            ("masque_plugin_traps_total", "version", "1.0.0"),
            ("masque_plugin_limit_hits_total", "limit", "memory"),
            ("masque_plugin_denials_total", "grant", "state"),
        ] {
            let label = format!("{label}=\"{value}\"");
            assert!(
                begun.iter().any(|line| line.starts_with(name) && line.contains(&label)),
                "{name} {label}"
            );
        }
        // What it has no grant for can't be refused or answered.
        for name in ["masque_plugin_state_refusals_total", "masque_upstream_requests_total"] {
            assert!(!begun.iter().any(|line| line.starts_with(name)), "{name}");
        }

        begin_series(&labels("granted"), &["compose"], &Grants { state: true, ..Grants::default() });
        let granted = series("granted");
        assert!(granted.iter().any(|line| line.starts_with("masque_plugin_state_refusals_total")));
        assert!(!granted.iter().any(|line| line.contains("grant=\"state\"")));
    }
}
