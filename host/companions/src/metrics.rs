//! The metrics of the active set: which generation is in use, and how reloads went.

use masque_runtime::PluginKind;
use masque_telemetry::metrics::plugins::{GENERATION, LAST_RELOAD_REFUSED, LOADED, RELOADS};
use masque_telemetry::metrics::state::begin_jobs;
use masque_telemetry::metrics::turns::begin_companion;

use crate::plugin_series::PLUGIN_SERIES;
use crate::report::ReloadOutcome;
use crate::set::ActiveSet;

/// A set is in use.
pub(crate) fn show_set(set: &ActiveSet) {
    for plugin in set.plugins.values() {
        plugin.use_it();
        let package = plugin.package();
        for (function, is_there) in [("observe", package.observes()), ("reflect", package.reflects())] {
            if is_there {
                begin_jobs(plugin.name(), function);
            }
        }
    }
    set.companions.keys().for_each(|companion| begin_companion(companion));
    GENERATION.set(&[], set.generation);
    for kind in [PluginKind::Persona, PluginKind::Memory, PluginKind::Model] {
        let loaded = set.plugins.values().filter(|plugin| plugin.package().kind() == kind).count();
        LOADED.set(&[kind.as_str()], loaded as u64);
    }
    PLUGIN_SERIES.forget_due();
}

/// A change is in effect.
pub(crate) fn count_activated() {
    RELOADS.increment(&["activated"]);
    LAST_RELOAD_REFUSED.set(&[], 0);
}

/// An attempt made no new generation.
pub(crate) fn count_attempt(outcome: ReloadOutcome) {
    let (name, is_refused) = match outcome {
        ReloadOutcome::Applied => ("unchanged", 0),
        ReloadOutcome::Refused => ("refused", 1),
    };
    RELOADS.increment(&[name]);
    LAST_RELOAD_REFUSED.set(&[], is_refused);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_attempt_counts_by_its_outcome() {
        let count = |outcome: &str| RELOADS.value(&[outcome]);
        let before = ["activated", "unchanged", "refused"].map(count);
        count_activated();
        count_attempt(ReloadOutcome::Applied);
        count_attempt(ReloadOutcome::Refused);
        let after = ["activated", "unchanged", "refused"].map(count);
        // Other tests of the process may make attempts at the same time.
        assert!(before.iter().zip(after).all(|(before, after)| *before < after), "{before:?} {after:?}");
    }
}
