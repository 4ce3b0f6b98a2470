//! The active set: which companions exist, which plugins play them, in which versions and with which grants.
//!
//! An [`ActiveSet`] is one numbered generation. [`load`] makes the first one from the configuration, and [`Active`] holds
//! the one that new turns get. [`follow`] notices that a file behind the set has changed, and [`Reloader`] makes the next
//! generation from the changed files: as a whole or not at all. A turn keeps the generation that it was admitted with.
//! Hosts that share a database have one active set, which they change together ([`SharedSets`]).
//! [`verify`] reports for `masque check` why a configuration could not be loaded.
//!
//! `masque-config` defines what the configuration may contain; `masque-runtime` compiles and runs components. The bytes
//! of built-in components come from the caller ([`BuiltinComponents`]).

#![deny(missing_docs)]

mod active;
mod attempt;
mod builtins;
mod changes;
mod companion;
mod debounce;
mod follow;
mod load;
mod metrics;
mod packages;
mod plugin;
mod plugin_series;
mod publication;
mod redact;
mod reload;
mod report;
mod sandbox;
mod schema;
mod series_retention;
mod set;
mod shared_sets;
mod started;
mod successor;
mod trial;
mod verify;
mod watcher;

#[cfg(test)]
mod tests;

pub use active::{Active, ActiveState, OutdatedGeneration};
pub use builtins::BuiltinComponents;
pub use companion::Companion;
pub use follow::follow;
pub use load::load;
pub use plugin::LoadedPlugin;
pub use plugin_series::{count_last_of_companion, count_last_of_plugin};
pub use publication::{Publication, PublicationState};
pub use redact::Redactor;
pub use reload::Reloader;
pub use report::{ReloadOutcome, ReloadReport};
pub use sandbox::sandbox_config;
pub use set::ActiveSet;
pub use shared_sets::SharedSets;
pub use verify::verify;
