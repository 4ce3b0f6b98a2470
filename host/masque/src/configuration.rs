//! Reads the configuration for a command, and reports what is wrong with it.

use std::path::PathBuf;
use std::time::Duration;

use masque_config::{Config, ConfigSource, Diagnostics, Environment, Flags, InvalidConfig, LoadedConfig};

use crate::args::Options;
use crate::builtins::ELARA_CARD;
use crate::commands::check::verify_contents;
use crate::output::print_error;

/// How long a command may take to find out whether the rest of the configuration is valid. Files that it names may be on a file
/// system that is away.
const REST_TIMEOUT: Duration = Duration::from_secs(1);

/// A configuration, and where to read it again.
pub(crate) struct Loaded {
    pub(crate) config: Config,
    pub(crate) source: ConfigSource,
    /// Empty if there is nothing to warn of.
    pub(crate) warnings: Diagnostics,
}

/// Where the configuration of this process is. With `is_production`, it is read as if `ENVIRONMENT` were `production`.
pub(crate) fn source(options: Options, is_production: bool) -> ConfigSource {
    let Options { config, listen, data } = options;
    ConfigSource {
        flags: Flags { config, listen, data, production: is_production },
        environment: Environment::of_process(),
        folder: PathBuf::new(),
        default_card: ELARA_CARD.into(),
    }
}

/// Reads the configuration. With `is_production`, it is read as if `ENVIRONMENT` were `production`.
///
/// # Errors
/// The configuration is not valid.
pub(crate) fn load(options: Options, is_production: bool) -> Result<Loaded, InvalidConfig> {
    let source = source(options, is_production);
    let LoadedConfig { config, warnings } = source.load()?;
    Ok(Loaded { config, source, warnings })
}

/// Says in one line if a host could not start with the configuration, for a command that has read a part of it and is done. The
/// line is left out if that takes long.
pub(crate) async fn tell_of_other_mistakes(source: ConfigSource) {
    let reading = tokio::task::spawn_blocking(move || source.load().is_err());
    if let Ok(Ok(true)) = tokio::time::timeout(REST_TIMEOUT, reading).await {
        print_error(
            &"the configuration has mistakes in parts that this command does not need; see `masque check`",
        );
    }
}

/// Returns every error of a configuration, including those in the files that its valid part names.
pub(crate) async fn all_errors(invalid: InvalidConfig) -> Diagnostics {
    let mut diagnostics = invalid.diagnostics.into_vec();
    if let Some(valid_part) = invalid.valid_part {
        diagnostics.extend(verify_contents(&valid_part).await);
    }
    Diagnostics::new(diagnostics)
}
