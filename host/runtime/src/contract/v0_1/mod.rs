//! The contract `masque:companion@0.1.0`: its types, and their translation to the host's own.
//!
//! Everything that is particular to this version is in this folder. A later version is added as a folder beside it, with its
//! types, their translation, the functions that a component exports, and translations of its imports to
//! [`HostState`](crate::guest::HostState), which alone checks grants. A translation must not check grants, or two versions
//! could allow different things.

mod exports;
mod imports;
mod translate;
#[allow(
    unreachable_pub,
    reason = "the generated bindings re-export it, and they are public in a private module"
)]
pub mod types;

pub(crate) use self::exports::{ABOUT, find_exports};
pub(crate) use self::imports::add_to_linker;

/// The interfaces that a component may import.
const IMPORTS: [&str; 5] = [
    "masque:companion/types@0.1.0",
    "masque:companion/host@0.1.0",
    "masque:companion/state@0.1.0",
    "masque:companion/history@0.1.0",
    "masque:companion/models@0.1.0",
];

/// Whether this version of the contract offers the import of that name.
pub(crate) fn offers(import: &str) -> bool {
    IMPORTS.contains(&import)
}
