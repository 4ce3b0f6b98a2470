//! What an operator reads when a configuration is wrong, word for word, and what they get when it is right.

mod following;
mod guide;
mod mistakes;
mod outside;
mod reference;
mod right;

use std::path::Path;

use tempfile::TempDir;

use super::{Environment, Flags, Loaded, Problems, load};

/// A folder that a host could be started in.
pub(super) struct Folder(TempDir);

impl Folder {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(super) fn with(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        self
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(super) fn load(&self, flags: &Flags, variables: &[(&str, &str)]) -> Result<Loaded, Problems> {
        load(flags, &environment(variables), self.path())
    }
}

pub(super) fn environment(variables: &[(&str, &str)]) -> Environment {
    Environment::from_pairs(variables.iter().map(|(name, value)| (name.into(), value.into())))
}

pub(super) fn lines_of(loaded: Result<Loaded, Problems>) -> Vec<String> {
    let problems = match loaded {
        Ok(loaded) => loaded.warnings,
        Err(problems) => problems,
    };
    problems.to_string().lines().map(str::to_owned).collect()
}
