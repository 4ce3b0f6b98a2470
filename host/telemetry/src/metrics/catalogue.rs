//! The list of all families.

use super::declare::Description;
use super::{http, plugins, process, state, turns};

/// Removes every series that names a companion, or a plugin in one of its roles, and no version: `label` is `companion`, `plugin` or
/// `model`. As [`forget`](super::plugins::forget), to be called some time after the name was last in use.
pub fn forget_name(label: &str, name: &str) {
    let named =
        families().filter(|family| family.labels.contains(&label) && !family.labels.contains(&"version"));
    for family in named {
        family.remove_series(&[(label, name)]);
    }
}

/// All families that this program declares.
pub fn families() -> impl Iterator<Item = &'static Description> {
    [http::FAMILIES, turns::FAMILIES, plugins::FAMILIES, state::FAMILIES, process::FAMILIES]
        .into_iter()
        .flatten()
}
