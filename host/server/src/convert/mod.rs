//! Converts the configuration into the options of the host's parts.

mod turns;

pub(crate) use turns::turn_options;
