//! Plugins, their sandbox, and their replacement.

use super::buckets::{MEMORY_BYTES, QUOTA_RATIO, REQUEST_SECONDS, SHORT_SECONDS};
use super::declare::families;

families! {
    counter CALLS = "masque_plugin_calls_total" ["plugin", "version", "function", "outcome"],
        "Calls of plugins; outcome is `ok` or the code of the failure.";
    histogram CALL_DURATION = "masque_plugin_call_duration_seconds" ["plugin", "version", "function"] in REQUEST_SECONDS,
        "Wall time of a call, from its beginning to its end, the stream of a model included.";
    histogram CALL_CPU = "masque_plugin_call_cpu_seconds" ["plugin", "version", "function"] in SHORT_SECONDS,
        "CPU time of a call, without that of calls that it makes of others.";
    histogram CALL_MEMORY = "masque_plugin_call_memory_bytes" ["plugin", "version"] in MEMORY_BYTES,
        "The most memory that the guest had during a call.";
    counter TRAPS = "masque_plugin_traps_total" ["plugin", "version"],
        "Calls that a trap ended.";
    counter LIMIT_HITS = "masque_plugin_limit_hits_total" ["plugin", "version", "limit"],
        "Limits that calls exceeded, by the name of the limit.";
    counter DENIALS = "masque_plugin_denials_total" ["plugin", "version", "grant"],
        "Requests of plugins that were denied for want of a grant, by the grant that is missing.";
    histogram STATE_QUOTA_USED = "masque_plugin_state_quota_used_ratio" ["plugin", "version"] in QUOTA_RATIO,
        "The share of its quota of `state` that a plugin used for the user of a write, after the write; for writes of the scope `shared`, for all users.";
    counter STATE_REFUSALS = "masque_plugin_state_refusals_total" ["plugin", "version"],
        "Writes to `state` that a quota or limit refused.";
    counter UPSTREAM_REQUESTS = "masque_upstream_requests_total" ["plugin", "version", "outcome"],
        "Requests of plugins through the egress gate, by outcome: the class of the status (`2xx`) or `failed`, `timeout`, `denied`, `cancelled`.";
    histogram UPSTREAM_FIRST_BYTE = "masque_upstream_first_byte_seconds" ["plugin", "version"] in REQUEST_SECONDS,
        "Time from a plugin's request to the head of the upstream's response.";
    gauge INSTANCES_IN_USE = "masque_instances_in_use" [],
        "Instances of the pool that calls use; a call whose component has several memories uses several.";
    gauge INSTANCES_LIMIT = "masque_instances_limit" [],
        "Instances that the pool can hold.";
    gauge INSTANCES_WAITING = "masque_instances_waiting" [],
        "Calls that wait for an instance.";
    histogram INSTANCE_WAIT = "masque_instance_wait_seconds" [] in SHORT_SECONDS,
        "How long calls waited for an instance.";
    histogram COMPILE_DURATION = "masque_compile_duration_seconds" [] in REQUEST_SECONDS,
        "Time to compile a component.";
    histogram LOAD_DURATION = "masque_load_duration_seconds" [] in REQUEST_SECONDS,
        "Time to load a component, compiled now or before.";
    counter COMPILE_CACHE = "masque_compile_cache_total" ["outcome"] of [["hit", "miss", "invalid"]],
        "Look-ups of compiled components: `hit`, `miss`, or `invalid` where an entry was refused.";
    counter RELOADS = "masque_reloads_total" ["outcome"] of [["activated", "refused", "unchanged"]],
        "Attempts to replace the active set: `activated`, `refused`, `unchanged`.";
    gauge LAST_RELOAD_REFUSED = "masque_last_reload_refused" [],
        "1 while the configuration that the host last read is refused, or it can't use the active set of the other hosts, and an older one is in effect; else 0. `/health` says which.";
    gauge GENERATION = "masque_active_generation" [],
        "The number of the active set in effect.";
    gauge LOADED = "masque_plugins_loaded" ["kind"],
        "Plugins of the active set.";
}

/// Removes every series of a plugin's version. To be called some time after the version is unloaded, so that Prometheus has
/// read its last values, and once no call of it runs: a later call would begin its series anew.
pub fn forget(plugin: &str, version: &str) {
    for family in FAMILIES.iter().filter(|family| family.labels.contains(&"version")) {
        family.remove_series(&[("plugin", plugin), ("version", version)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(plugin: &str) -> usize {
        let is_of =
            |label: &prometheus::proto::LabelPair| label.name() == "plugin" && label.value() == plugin;
        let families = prometheus::gather();
        let all = families.iter().flat_map(|family| family.get_metric());
        all.filter(|series| series.get_label().iter().any(is_of)).count()
    }

    #[test]
    fn the_series_of_a_forgotten_version_go_and_those_of_others_stay() {
        for version in ["1.0.0", "2.0.0"] {
            CALLS.increment(&["forgotten", version, "compose", "ok"]);
            CALLS.increment(&["forgotten", version, "compose", "internal"]);
            CALL_DURATION.observe(&["forgotten", version, "compose"], 0.1);
            LIMIT_HITS.increment(&["forgotten", version, "cpu"]);
        }
        assert_eq!(series("forgotten"), 8);
        forget("forgotten", "1.0.0");
        assert_eq!(series("forgotten"), 4);
        assert_eq!(CALLS.value(&["forgotten", "2.0.0", "compose", "ok"]), 1);
        forget("forgotten", "2.0.0");
        forget("forgotten", "2.0.0");
        assert_eq!(series("forgotten"), 0);
    }
}
