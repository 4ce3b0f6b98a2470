//! Converts the checked configuration into the options of the crates that it configures.

pub(crate) mod api;
pub(crate) mod auth;
pub(crate) mod http;
pub(crate) mod store;
pub(crate) mod telemetry;
pub(crate) mod traces;
pub(crate) mod turns;
