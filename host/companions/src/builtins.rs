//! Where the components that ship with the host come from.

use masque_grants::Builtin;

/// Returns the bytes of a built-in component. The binary embeds them and passes this function in, so that this crate
/// builds without any component.
pub type BuiltinComponents = fn(Builtin) -> &'static [u8];
