//! Converts the values of the configuration into those of the other crates.

pub(crate) mod runtime;
pub(crate) mod store;
