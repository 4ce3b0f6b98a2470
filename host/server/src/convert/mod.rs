//! Turns the checked configuration into the options of the crates that it configures.

pub(crate) mod http;
pub(crate) mod store;
pub(crate) mod telemetry;
mod turns;

pub(crate) use turns::turn_options;
