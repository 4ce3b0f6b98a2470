//! The components that ship inside the binary, so that a host needs no file beside it, and the card of the default
//! companion. What they may do is decided in the configuration, as for every plugin.

pub(crate) use masque_grants::Builtin;

/// The card of the companion that exists when nothing is configured.
pub(crate) const ELARA_CARD: &str = include_str!("../../../plugins/card/cards/elara.json");

/// The bytes of a built-in component.
pub(crate) fn component(builtin: Builtin) -> &'static [u8] {
    match builtin {
        Builtin::Card => include_bytes!(concat!(env!("MASQUE_PLUGINS"), "/card.wasm")),
        Builtin::Window => include_bytes!(concat!(env!("MASQUE_PLUGINS"), "/window.wasm")),
        Builtin::Openai => include_bytes!(concat!(env!("MASQUE_PLUGINS"), "/openai.wasm")),
        Builtin::Offline => include_bytes!(concat!(env!("MASQUE_PLUGINS"), "/offline.wasm")),
    }
}
