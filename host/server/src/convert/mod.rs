//! Converts the configuration into the options of each crate.

pub(crate) mod auth;
