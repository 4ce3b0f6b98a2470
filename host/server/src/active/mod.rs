//! The active set: which companions exist, which plugins play them, in which versions and with which grants.
//!
//! An [`ActiveSet`] is one numbered generation. [`load`] makes the first one from the configuration, and [`Active`] holds
//! the one that new turns get. [`follow`] notices that a file behind the set has changed, and [`Reloader`] makes the next
//! generation from the changed files: as a whole or not at all. A turn keeps the generation that it was admitted with.
//! [`verify`] reports for `masque check` why a configuration could not be loaded.
//!
//! What the configuration may say is the business of `masque-config`; compiling and running components that of
//! `masque-runtime`. The bytes of built-in components come from the caller ([`BuiltinComponents`]).

#![allow(unreachable_pub, reason = "the module becomes a crate of its own")]

mod active;
mod builtins;
mod changes;
mod companion;
mod convert;
mod debounce;
mod follow;
mod load;
mod packages;
mod plugin;
mod redact;
mod reload;
mod report;
mod schema;
mod set;
mod verify;
mod watcher;

#[cfg(test)]
mod tests;

pub(crate) use active::{Active, ActiveState};
pub(crate) use companion::Companion;
pub(crate) use convert::sandbox_config;
pub(crate) use follow::follow;
pub(crate) use load::load;
pub(crate) use redact::Redactor;
pub(crate) use reload::Reloader;
pub(crate) use report::{ReloadOutcome, ReloadReport};
pub(crate) use set::ActiveSet;
pub(crate) use verify::verify;
