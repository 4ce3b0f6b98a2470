//! What exists without a configuration: one companion that needs neither network nor key, and its plugins.
//!
//! A plugin of the file replaces the whole default plugin of the same name. If the file has a companion, the default
//! companion does not exist.

use std::collections::BTreeMap;

use masque_grants::{Builtin, Grants, Name};
use serde_json::{Map, Value, json};

use crate::sections::companions::{Companion, DEFAULT_MEMORY_BUDGET};
use crate::sections::plugin_limits::PluginLimits;
use crate::sections::plugins::{Plugin, PluginSource};

/// The default plugins; `card` is the character card of the persona.
pub(crate) fn plugins(card: &str) -> BTreeMap<Name, Plugin> {
    let plugin = |builtin, settings: Value, grants| Plugin {
        source: PluginSource::Builtin(builtin),
        settings: settings.as_object().cloned().unwrap_or_default(),
        setting_files: BTreeMap::new(),
        grants,
        limits: PluginLimits::default(),
    };
    let history = Grants { history: true, ..Grants::default() };
    named([
        ("elara", plugin(Builtin::Card, json!({ "card": card }), Grants::default())),
        ("window", plugin(Builtin::Window, json!({}), history)),
        ("offline", plugin(Builtin::Offline, json!({}), Grants::default())),
    ])
}

/// The default companion.
pub(crate) fn companions() -> BTreeMap<Name, Companion> {
    let parts = ("elara".parse(), "window".parse(), "offline".parse());
    let (Ok(persona), Ok(memory), Ok(model)) = parts else { return BTreeMap::new() };
    let companion = Companion {
        persona,
        memory,
        models: vec![model],
        fallback: false,
        memory_budget: DEFAULT_MEMORY_BUDGET,
        options: Map::new(),
    };
    named([("elara", companion)])
}

fn named<T, const N: usize>(entries: [(&str, T); N]) -> BTreeMap<Name, T> {
    entries.into_iter().filter_map(|(name, entry)| Some((name.parse().ok()?, entry))).collect()
}
