//! `[data]`: the folders where state is kept.

use std::path::{Path, PathBuf};

use crate::environment::{self, Environment};
use crate::flags::Flags;
use crate::section::Section;
use crate::value::{self, Expected, InvalidValue};

pub(crate) const DEFAULT_DATA: &str = "./masque-data";

/// The folders where state is kept.
#[derive(Clone, Debug)]
pub struct Data {
    /// The folder that holds all state.
    pub folder: PathBuf,
    /// The folder of compiled components. It may be deleted at any time.
    pub compiled: PathBuf,
    /// The plugins folder: each component in it is a plugin.
    pub plugins: PathBuf,
}

/// The data folder that the flag or the variable names, which takes precedence over the section. A relative path starts at
/// `folder`.
pub(crate) fn named(flags: &Flags, environment: &Environment, folder: &Path) -> Option<PathBuf> {
    let named = flags.data.clone().or_else(|| environment.get(environment::DATA).map(PathBuf::from));
    named.map(|path| folder.join(path))
}

/// Reads `folder` and `compiled`; relative paths start at `base`.
pub(crate) fn read(mut section: Section<'_, '_>, base: &Path) -> (Option<PathBuf>, Option<PathBuf>) {
    let mut path = |key, example, default: &str| {
        let path = section.read(key, Expected { what: "a path", example }, |value| {
            value::path(value, base).and_then(possible_folder)
        });
        section.defaults(key, || default.to_owned());
        path.map(|path| path.value)
    };
    let folder = path("folder", "\"masque-data\"", DEFAULT_DATA);
    let compiled = path("compiled", "\"/var/cache/masque\"", "compiled");
    section.finish();
    (folder, compiled)
}

/// The path, unless something other than a folder is at it or above it.
fn possible_folder(path: PathBuf) -> Result<PathBuf, InvalidValue> {
    let obstacle = path.ancestors().find(|part| part.symlink_metadata().is_ok() && !part.is_dir());
    match obstacle {
        Some(part) => Err(InvalidValue::Other(
            format!("{} is not a folder", part.display()),
            "Name a folder, or a path where one can be made.".to_owned(),
        )),
        None => Ok(path),
    }
}
