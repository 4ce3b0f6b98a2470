//! One generation of the active set, as a plain value.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::companion::Companion;
use crate::plugin::LoadedPlugin;
use crate::redact::Redactor;

/// One generation: everything that a turn needs to know about companions and plugins. It never changes once it is made.
#[derive(Debug)]
pub struct ActiveSet {
    /// The number of the generation. It rises by one with every swap.
    pub generation: u64,
    /// The digest of the configuration that the set was made from, as `sha256:…`.
    pub configuration: String,
    /// The companions by name.
    pub companions: BTreeMap<String, Arc<Companion>>,
    /// The names of the companions, shared with every admission.
    pub names: Arc<BTreeSet<String>>,
    /// All plugins by name, including those that no companion uses.
    pub plugins: BTreeMap<String, Arc<LoadedPlugin>>,
    /// Removes the secrets of all plugins from log texts.
    pub redactor: Arc<Redactor>,
}
