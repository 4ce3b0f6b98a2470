//! The versions of the contract that this host supports. Each is a folder of its own.
//!
//! To add a version, add its folder and one entry in [`VERSIONS`]. No other code names a version.

use wasmtime::component::{InstancePre, Linker};

use super::v0_1;
use crate::error::LoadError;
use crate::exports::PluginExports;
use crate::guest::Guest;

/// The exports of a component; `None` if it exports no plugin of the version.
type FoundExports = Result<Option<Box<dyn PluginExports>>, LoadError>;

/// What the runtime needs of one version.
struct ContractVersion {
    /// The interface that every plugin of this version exports.
    about: &'static str,
    /// Returns whether the version has an interface of this name that components may import.
    offers: fn(&str) -> bool,
    /// Links the imports of the version.
    add_to_linker: fn(&mut Linker<Guest>) -> wasmtime::Result<()>,
    /// Finds the exports of the version.
    find_exports: fn(&InstancePre<Guest>) -> FoundExports,
}

/// The supported versions, the newest first.
const VERSIONS: [ContractVersion; 1] = [ContractVersion {
    about: v0_1::ABOUT,
    offers: v0_1::offers,
    add_to_linker: v0_1::add_to_linker,
    find_exports: v0_1::find_exports,
}];

/// Whether any version offers the import of that name.
pub(crate) fn offers(import: &str) -> bool {
    VERSIONS.iter().any(|version| (version.offers)(import))
}

/// Links the imports of every version.
pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    VERSIONS.iter().try_for_each(|version| (version.add_to_linker)(linker))
}

/// Finds what a component exports of the newest version that it was built for.
///
/// # Errors
/// The component exports no plugin, more than one, or an interface that lacks a function.
pub(crate) fn find_exports(pre: &InstancePre<Guest>) -> Result<Box<dyn PluginExports>, LoadError> {
    for version in &VERSIONS {
        if let Some(exports) = (version.find_exports)(pre)? {
            return Ok(exports);
        }
    }
    let about = VERSIONS.map(|version| format!("`{}`", version.about)).join(" or ");
    Err(LoadError::Exports(format!("the component does not export {about}; is it a plugin?")))
}
