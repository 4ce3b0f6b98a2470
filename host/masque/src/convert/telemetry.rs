//! The options of the log.

use masque_telemetry::{Format, Options};

use masque_config::{Log, LogFormat};

pub(crate) fn options(log: &Log) -> Options {
    let format = match log.format {
        LogFormat::Text => Format::Text,
        LogFormat::Json => Format::Json,
    };
    Options { format, level: log.level.clone() }
}
