//! The configuration, from the crate `masque-config`.

pub(crate) use masque_config::*;

/// Reads a configuration for a test, with the card of the default companion.
#[cfg(test)]
pub(crate) fn load(
    flags: &Flags,
    environment: &Environment,
    folder: &std::path::Path,
) -> Result<LoadedConfig, Diagnostics> {
    let source = ConfigSource {
        flags: flags.clone(),
        environment: environment.clone(),
        folder: folder.to_path_buf(),
        default_card: crate::builtin::ELARA_CARD.into(),
    };
    source.load().map_err(|invalid| invalid.diagnostics)
}
