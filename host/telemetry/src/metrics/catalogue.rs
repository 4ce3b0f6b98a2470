//! The list of all families.

use super::declare::Description;
use super::{http, plugins, process, state, turns};

/// All families that this program declares.
pub fn families() -> impl Iterator<Item = &'static Description> {
    [http::FAMILIES, turns::FAMILIES, plugins::FAMILIES, state::FAMILIES, process::FAMILIES]
        .into_iter()
        .flatten()
}
