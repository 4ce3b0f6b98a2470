//! Describes how two generations differ, for the log.

use std::sync::Arc;

use crate::companion::Companion;
use crate::plugin::LoadedPlugin;
use crate::set::ActiveSet;

/// One line for each plugin or companion that was added, removed or changed. Empty if the two generations behave the
/// same.
pub(crate) fn describe_changes(before: &ActiveSet, after: &ActiveSet) -> Vec<String> {
    let mut changes = Vec::new();
    for (name, plugin) in &after.plugins {
        match before.plugins.get(name) {
            None => changes.push(format!("plugin `{name}` is new: {}", version(plugin))),
            Some(same) if Arc::ptr_eq(same, plugin) => {}
            Some(other) => {
                changes.push(format!("plugin `{name}`: {}", plugin_changes(other, plugin).join(", ")))
            }
        }
    }
    for (name, plugin) in &before.plugins {
        if !after.plugins.contains_key(name) {
            changes.push(format!("plugin `{name}` is gone: {}", version(plugin)));
        }
    }
    for (name, companion) in &after.companions {
        match before.companions.get(name) {
            None => changes.push(format!("companion `{name}` is new")),
            Some(other) if is_same_companion(other, companion) => {}
            Some(_) => changes.push(format!("companion `{name}` has other plugins or options")),
        }
    }
    for name in before.companions.keys() {
        if !after.companions.contains_key(name) {
            changes.push(format!("companion `{name}` is gone"));
        }
    }
    changes
}

/// A warning for each companion that the next generation lacks. A mistyped name or a first `[companions]` section, which
/// replaces the default companion, removes one unintentionally.
pub(crate) fn dropped_companions(before: &ActiveSet, after: &ActiveSet) -> Vec<String> {
    let names = before.companions.keys().filter(|name| !after.companions.contains_key(*name));
    names
        .map(|name| {
            format!(
                "companion `{name}` is gone, and its conversations can't be continued: the configuration has no \
                 [companions.{name}]. Add the section to keep it."
            )
        })
        .collect()
}

fn plugin_changes(before: &LoadedPlugin, after: &LoadedPlugin) -> Vec<String> {
    let mut changes = Vec::new();
    if before.package().digest() != after.package().digest() {
        changes.push(format!("{} -> {}", version(before), version(after)));
    }
    let (old, new) = (before.fingerprint(), after.fingerprint());
    for (name, differs) in [
        ("settings", old.settings != new.settings),
        ("grants", old.grants != new.grants),
        ("limits", old.limits != new.limits),
    ] {
        if differs {
            changes.push(format!("other {name}"));
        }
    }
    changes
}

fn version(plugin: &LoadedPlugin) -> String {
    let package = plugin.package();
    format!("{} {}", package.description().version, package.digest())
}

/// Compares plugins by name only: a change inside a plugin has a line of its own.
fn is_same_companion(before: &Companion, after: &Companion) -> bool {
    fn plugin_names(companion: &Companion) -> (&str, &str, Vec<&str>) {
        let models = companion.models.iter().map(|model| model.name()).collect();
        (companion.persona.name(), companion.memory.name(), models)
    }
    plugin_names(before) == plugin_names(after)
        && before.fallback == after.fallback
        && before.memory_budget == after.memory_budget
        && before.options == after.options
}
