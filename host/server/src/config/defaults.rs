//! What is there with nothing configured: one companion that needs neither network nor key, and the plugins it is made
//! of. A plugin of the file with the same name takes the place of the whole entry here, and any companion of the file
//! that of the companion.

use std::collections::BTreeMap;

use super::companions::DEFAULT_MEMORY_BUDGET;
use super::types::{Companion, Limits, Name, Plugin, Source};
use crate::builtin::{Builtin, ELARA_CARD};
use masque_runtime::Grants;

pub(super) fn plugins() -> BTreeMap<Name, Plugin> {
    let plugin = |builtin, settings: serde_json::Value, grants| Plugin {
        source: Source::Builtin(builtin),
        settings: settings.as_object().cloned().unwrap_or_default(),
        grants,
        limits: Limits::default(),
    };
    let nothing = serde_json::json!({});
    named([
        ("elara", plugin(Builtin::Card, serde_json::json!({ "card": ELARA_CARD }), Grants::default())),
        ("window", plugin(Builtin::Window, nothing.clone(), Grants { history: true, ..Grants::default() })),
        ("offline", plugin(Builtin::Offline, nothing, Grants::default())),
    ])
}

pub(super) fn companions() -> BTreeMap<Name, Companion> {
    let parts = ("elara".parse(), "window".parse(), "offline".parse());
    let (Ok(persona), Ok(memory), Ok(model)) = parts else { return BTreeMap::new() };
    let companion = Companion {
        persona,
        memory,
        models: vec![model],
        fallback: false,
        memory_budget: DEFAULT_MEMORY_BUDGET,
        options: serde_json::Map::new(),
    };
    named([("elara", companion)])
}

fn named<T, const N: usize>(entries: [(&str, T); N]) -> BTreeMap<Name, T> {
    entries.into_iter().filter_map(|(name, entry)| Some((name.parse().ok()?, entry))).collect()
}
