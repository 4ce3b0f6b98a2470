//! Turns the checked configuration into the options of the crates that it configures.

pub(crate) mod http;
pub(crate) mod telemetry;
