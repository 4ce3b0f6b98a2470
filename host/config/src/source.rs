//! Where a configuration comes from, and what reading it returns.

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::Config;
use crate::diagnostic::Diagnostics;
use crate::environment::Environment;
use crate::flags::Flags;
use crate::snapshot::FileSnapshot;

/// Where the configuration of a process comes from. A running host keeps it to read the configuration again.
///
/// It has no `Debug`: the environment holds secrets.
#[derive(Clone)]
pub struct ConfigSource {
    /// The flags of the command line.
    pub flags: Flags,
    /// The environment variables.
    pub environment: Environment,
    /// The folder in which the host is started. Empty for the current folder of the process.
    pub folder: PathBuf,
    /// The character card of the companion that exists if the file has none.
    pub default_card: Arc<str>,
}

/// A configuration with which a host can start.
#[derive(Debug)]
pub struct LoadedConfig {
    /// The configuration.
    pub config: Config,
    /// What the operator should know nevertheless.
    pub warnings: Diagnostics,
}

/// A configuration with which no host can start.
#[derive(Debug)]
pub struct InvalidConfig {
    /// All errors and warnings.
    pub diagnostics: Diagnostics,
    /// The valid part, with which the settings of its plugins can be checked too. `None` if a file could not be read to its
    /// end.
    pub valid_part: Option<Box<Config>>,
}

/// The configuration as it was found while a host runs.
#[derive(Debug)]
pub struct ReloadedConfig {
    /// The configuration, or all errors and warnings with the part that is valid.
    pub result: Result<LoadedConfig, InvalidConfig>,
    /// The level of the log that the file says, also if anything else in it is invalid: an operator may need another level to
    /// find out why. `None` if the file can't be parsed or `[log]` is invalid.
    pub log_level: Option<String>,
    /// The files that were read, also if one of them was invalid. After a change in them another reading is worthwhile.
    pub files: FileSnapshot,
}
