//! The diagnostics of invalid configurations, word for word, and the values of valid ones.

mod active_set;
mod environment;
mod examples;
mod guide;
mod mistakes;
mod part;
mod reference;
mod reload;
mod secrets;
mod valid;

use std::path::Path;

use tempfile::TempDir;

use crate::{ConfigSource, Diagnostics, Environment, Flags, LoadedConfig};

/// The card of the default companion, whose name the tests look for.
const CARD: &str = "{\"name\": \"Elara\"}";

/// A folder in which a host is started.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn with(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        self
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn load(
        &self,
        flags: &Flags,
        variables: &[(&str, &str)],
    ) -> Result<LoadedConfig, Diagnostics> {
        self.source(flags, variables).load().map_err(|invalid| invalid.diagnostics)
    }

    pub(crate) fn source(&self, flags: &Flags, variables: &[(&str, &str)]) -> ConfigSource {
        ConfigSource {
            flags: flags.clone(),
            environment: variables_of(variables),
            folder: self.path().to_path_buf(),
            default_card: CARD.into(),
        }
    }
}

pub(crate) fn variables_of(variables: &[(&str, &str)]) -> Environment {
    Environment::from_pairs(variables.iter().map(|(name, value)| (name.into(), value.into())))
}

pub(crate) fn lines_of(loaded: Result<LoadedConfig, Diagnostics>) -> Vec<String> {
    let diagnostics = match loaded {
        Ok(loaded) => loaded.warnings,
        Err(diagnostics) => diagnostics,
    };
    diagnostics.to_string().lines().map(str::to_owned).collect()
}
