//! The kind of a plugin, and its description of itself.

use std::fmt;

use super::message::Property;

/// The kind of a plugin. Each component exports exactly one of the three interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PluginKind {
    /// Composes prompts.
    Persona,
    /// Recalls messages and memories that are relevant for a turn.
    Memory,
    /// Generates replies.
    Model,
}

impl PluginKind {
    /// `persona`, `memory` or `model`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Persona => "persona",
            Self::Memory => "memory",
            Self::Model => "model",
        }
    }
}

impl fmt::Display for PluginKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A plugin's description of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// `persona`, `memory` or `model`: the interface that the component exports.
    pub kind: String,
    /// `[a-z0-9-]{1,64}`.
    pub name: String,
    /// A semantic version of at most 64 bytes.
    pub version: String,
    /// A JSON Schema (2020-12) of the plugin's settings, at most 64 KiB.
    pub settings_schema: String,
    /// The layout of the plugin's stored state. A version that can't read older state has a higher number.
    pub state_version: u32,
    /// Values for which the contract has no field.
    pub metadata: Vec<Property>,
}
