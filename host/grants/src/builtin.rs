//! The names of the plugins that ship inside the binary. The components themselves belong to the binary.

use std::fmt;
use std::str::FromStr;

/// A plugin that ships inside the binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Builtin {
    /// A persona that plays a character card.
    Card,
    /// A memory of the newest messages.
    Window,
    /// A model behind an OpenAI-compatible endpoint.
    Openai,
    /// A model that needs no network.
    Offline,
}

impl Builtin {
    /// All built-in plugins.
    pub const ALL: [Self; 4] = [Self::Card, Self::Window, Self::Openai, Self::Offline];

    /// The name, without the prefix `builtin:`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Card => "card",
            Self::Window => "window",
            Self::Openai => "openai",
            Self::Offline => "offline",
        }
    }
}

/// There is no built-in plugin of that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("built in are card, window, openai and offline")]
pub struct NotBuiltin;

impl FromStr for Builtin {
    type Err = NotBuiltin;

    fn from_str(name: &str) -> Result<Self, NotBuiltin> {
        Self::ALL.into_iter().find(|builtin| builtin.name() == name).ok_or(NotBuiltin)
    }
}

/// Writes the name as `source` of a plugin has it: `builtin:card`.
impl fmt::Display for Builtin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "builtin:{}", self.name())
    }
}
