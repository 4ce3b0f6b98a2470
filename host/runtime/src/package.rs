//! A component that was compiled and described.

use std::fmt;
use std::sync::Arc;

use crate::contract::{Description, PluginKind};
use crate::exports::PluginExports;
use crate::profile::ComponentIdentity;
use crate::sandbox::Sandbox;

/// A component that was compiled and described. It has no settings and no grants yet; [`Sandbox::load`] makes it.
pub struct Package {
    digest: String,
    description: Description,
    weight: u32,
    exports: Box<dyn PluginExports>,
    sandbox: Arc<Sandbox>,
}

impl Package {
    pub(crate) fn new(
        digest: String,
        description: Description,
        weight: u32,
        exports: Box<dyn PluginExports>,
        sandbox: Arc<Sandbox>,
    ) -> Self {
        Self { digest, description, weight, exports, sandbox }
    }

    /// `sha256:` and the component's digest in hexadecimal.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The component's description of itself.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// The kind of the component, by its exports.
    pub fn kind(&self) -> PluginKind {
        self.exports.kind()
    }

    /// Whether it has first messages for a new conversation.
    pub fn greets(&self) -> bool {
        self.exports.greets()
    }

    /// Whether it is given exchanges after the turn, as a persona.
    pub fn reflects(&self) -> bool {
        self.exports.reflects()
    }

    /// Whether it is given exchanges after the turn, as a memory.
    pub fn observes(&self) -> bool {
        self.exports.observes()
    }

    pub(crate) fn exports(&self) -> &dyn PluginExports {
        &*self.exports
    }

    pub(crate) fn sandbox(&self) -> &Arc<Sandbox> {
        &self.sandbox
    }

    /// The permits of the pool that one instance takes: one, unless the component has several memories, many tables or many
    /// parts.
    pub(crate) fn weight(&self) -> u32 {
        self.weight
    }

    /// What the profile of a plugin needs to know of its component.
    pub(crate) fn identity(&self) -> ComponentIdentity<'_> {
        ComponentIdentity { digest: &self.digest, version: &self.description.version, weight: self.weight }
    }
}

impl fmt::Debug for Package {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Package")
            .field("digest", &self.digest)
            .field("kind", &self.kind())
            .finish_non_exhaustive()
    }
}
