//! Reads the configuration for a command, and reports what is wrong with it.

use std::path::PathBuf;

use masque_config::{Config, ConfigSource, Diagnostics, Environment, Flags, InvalidConfig, LoadedConfig};

use crate::args::Options;
use crate::builtins::ELARA_CARD;
use crate::commands::check::verify_contents;

/// A configuration, and where to read it again.
pub(crate) struct Loaded {
    pub(crate) config: Config,
    pub(crate) source: ConfigSource,
    /// Empty if there is nothing to warn of.
    pub(crate) warnings: Diagnostics,
}

/// Reads the configuration. With `is_production`, it is read as if `ENVIRONMENT` were `production`.
///
/// # Errors
/// The configuration is not valid.
pub(crate) fn load(options: Options, is_production: bool) -> Result<Loaded, InvalidConfig> {
    let Options { config, listen, data } = options;
    let source = ConfigSource {
        flags: Flags { config, listen, data, production: is_production },
        environment: Environment::of_process(),
        folder: PathBuf::new(),
        default_card: ELARA_CARD.into(),
    };
    let LoadedConfig { config, warnings } = source.load()?;
    Ok(Loaded { config, source, warnings })
}

/// Returns every error of a configuration, including those in the files that its valid part names.
pub(crate) async fn all_errors(invalid: InvalidConfig) -> Diagnostics {
    let mut diagnostics = invalid.diagnostics.into_vec();
    if let Some(valid_part) = invalid.valid_part {
        diagnostics.extend(verify_contents(&valid_part).await);
    }
    Diagnostics::new(diagnostics)
}
