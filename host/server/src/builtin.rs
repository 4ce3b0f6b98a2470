//! The components that ship inside the binary, so that a host needs no file beside it, and the card that its first
//! companion plays. What they may do is decided where every plugin's grants are: in the configuration.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// A component inside the binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Builtin {
    /// A persona that plays a character card.
    Card,
    /// A memory of the newest messages.
    Window,
    /// A model behind an OpenAI-compatible endpoint.
    Openai,
    /// A model that needs no network.
    Offline,
}

/// The card of the companion that is there when nothing is configured.
pub(crate) const ELARA_CARD: &str = include_str!("../../../plugins/card/cards/elara.json");

impl Builtin {
    pub(crate) const ALL: [Self; 4] = [Self::Card, Self::Window, Self::Openai, Self::Offline];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Card => "card",
            Self::Window => "window",
            Self::Openai => "openai",
            Self::Offline => "offline",
        }
    }

    /// The component's bytes.
    pub(crate) fn component(self) -> &'static [u8] {
        match self {
            Self::Card => include_bytes!(concat!(env!("MASQUE_PLUGINS"), "/card.wasm")),
            Self::Window => include_bytes!(concat!(env!("MASQUE_PLUGINS"), "/window.wasm")),
            Self::Openai => include_bytes!(concat!(env!("MASQUE_PLUGINS"), "/openai.wasm")),
            Self::Offline => include_bytes!(concat!(env!("MASQUE_PLUGINS"), "/offline.wasm")),
        }
    }
}

/// No component of that name ships.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("built in are card, window, openai and offline")]
pub(crate) struct NotBuiltin;

impl FromStr for Builtin {
    type Err = NotBuiltin;

    fn from_str(name: &str) -> Result<Self, NotBuiltin> {
        Self::ALL.into_iter().find(|builtin| builtin.name() == name).ok_or(NotBuiltin)
    }
}

/// As a plugin's `source` names it.
impl fmt::Display for Builtin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "builtin:{}", self.name())
    }
}
