//! A component on its way in: checked, compiled, linked, and asked to describe itself with no grant at all.

use std::sync::Arc;
use std::time::Instant;

use masque_grants::is_name;
use wasmtime::component::{Component, InstancePre};

use crate::capability::Call;
use crate::contract::{self, Description};
use crate::engine::Sandbox;
use crate::error::LoadError;
use crate::file::{Form, LARGEST_COMPONENT};
use crate::grants::Grants;
use crate::guest::Guest;
use crate::limits::Limits;
use crate::plugin::Plugin;

const LARGEST_SCHEMA: usize = 64 << 10;

/// What a component is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Composes prompts.
    Persona,
    /// Recalls.
    Memory,
    /// Generates.
    Model,
}

impl Kind {
    /// `persona`, `memory` or `model`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Persona => "persona",
            Self::Memory => "memory",
            Self::Model => "model",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The exports of a component, each found in an instance without a look-up by name.
pub(crate) struct Abilities {
    pub(crate) pre: InstancePre<Guest>,
    pub(crate) about: contract::about::ExportsAboutIndices,
    pub(crate) persona: Option<contract::persona::ExportsPersonaIndices>,
    pub(crate) greeter: Option<contract::greeter::ExportsGreeterIndices>,
    pub(crate) reflector: Option<contract::reflector::ExportsReflectorIndices>,
    pub(crate) memory: Option<contract::memory::ExportsMemoryIndices>,
    pub(crate) observer: Option<contract::observer::ExportsObserverIndices>,
    pub(crate) model: Option<contract::model::ExportsModelIndices>,
}

/// A component that was compiled and described. It knows no name, settings or grants yet.
pub struct Package {
    digest: String,
    description: Description,
    kind: Kind,
    weight: u32,
    abilities: Abilities,
    sandbox: Arc<Sandbox>,
}

impl Package {
    /// `sha256:` and the component's digest in hexadecimal.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// What it says of itself.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// What it is for, by its exports.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether it has first words for a new conversation.
    pub fn greets(&self) -> bool {
        self.abilities.greeter.is_some()
    }

    /// Whether it wants to see exchanges after the turn, as a persona.
    pub fn reflects(&self) -> bool {
        self.abilities.reflector.is_some()
    }

    /// Whether it wants to see exchanges after the turn, as a memory.
    pub fn observes(&self) -> bool {
        self.abilities.observer.is_some()
    }

    pub(crate) fn abilities(&self) -> &Abilities {
        &self.abilities
    }

    pub(crate) fn sandbox(&self) -> &Arc<Sandbox> {
        &self.sandbox
    }

    /// Places of the pool that one instance takes: one, unless the component has several memories or many tables.
    pub(crate) fn weight(&self) -> u32 {
        self.weight
    }
}

impl std::fmt::Debug for Package {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Package")
            .field("digest", &self.digest)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl Sandbox {
    /// Checks, compiles and links a component, then runs its `describe`.
    pub async fn load(self: &Arc<Self>, bytes: Arc<[u8]>) -> Result<Arc<Package>, LoadError> {
        check_preamble(&bytes)?;
        let (component, digest) = self.workshop.component(bytes).await?;
        let (pre, weight) = self.link(&component)?;
        let abilities = Abilities::find(&pre)?;
        let kind = abilities.kind()?;
        let mut package = Package {
            digest: format!("sha256:{digest}"),
            description: Description {
                kind: kind.to_string(),
                name: String::new(),
                version: "(not described yet)".into(),
                settings_schema: "{}".into(),
                state_version: 0,
                metadata: Vec::new(),
            },
            kind,
            weight,
            abilities,
            sandbox: self.clone(),
        };
        let limits = Limits::default();
        let deadline = Instant::now() + limits.wall;
        // It has no name yet; its log lines are told apart by its digest, as `/status` gives it.
        let name = package.digest.clone();
        let plugin = Plugin::new(Arc::new(package), name, "{}".into(), Grants::default(), limits);
        let described = plugin.describe(Call::until(deadline)).await;
        package = Arc::into_inner(plugin.into_package())
            .ok_or_else(|| LoadError::Compile("the component is still in use after `describe`".into()))?;
        package.description = described.map_err(|error| LoadError::Describe(Box::new(error)))?;
        check_description(&package.description, kind)?;
        Ok(Arc::new(package))
    }

    fn link(&self, component: &Component) -> Result<(InstancePre<Guest>, u32), LoadError> {
        let component_type = component.component_type();
        for (name, _) in component_type.imports(&self.engine) {
            if !is_offered(name) {
                return Err(LoadError::Import(name.to_owned()));
            }
        }
        let needs = component.resources_required();
        let weight =
            needs.map_or(1, |needs| needs.num_memories.max(needs.num_tables.div_ceil(crate::engine::TABLES)));
        let pre =
            self.linker.instantiate_pre(component).map_err(|error| LoadError::Link(format!("{error:#}")))?;
        Ok((pre, weight.max(1)))
    }
}

/// Imports by package; that the version and shape fit is the linker's to say.
fn is_offered(import: &str) -> bool {
    const PACKAGES: [&str; 7] = [
        "wasi:cli/",
        "wasi:clocks/",
        "wasi:filesystem/",
        "wasi:http/",
        "wasi:io/",
        "wasi:random/",
        "wasi:sockets/",
    ];
    const CONTRACT: [&str; 5] = ["types", "host", "state", "history", "models"];
    PACKAGES.iter().any(|package| import.starts_with(package))
        || CONTRACT.iter().any(|interface| import == contract::interface(interface))
}

/// Before anything is made of the file.
fn check_preamble(bytes: &[u8]) -> Result<(), LoadError> {
    if bytes.len() > LARGEST_COMPONENT {
        return Err(LoadError::TooLarge { bytes: bytes.len(), limit: LARGEST_COMPONENT });
    }
    match Form::of(bytes) {
        Form::Component => Ok(()),
        Form::Module => Err(LoadError::CoreModule),
        Form::Other => Err(LoadError::NotWasm),
    }
}

impl Abilities {
    fn find(pre: &InstancePre<Guest>) -> Result<Self, LoadError> {
        let exports =
            |name: &str| pre.component().get_export_index(None, contract::interface(name).as_str()).is_some();
        let wrong = |error: wasmtime::Error| LoadError::Link(format!("{error:#}"));
        if !exports("about") {
            let reason =
                format!("the component does not export `{}`; is it a plugin?", contract::interface("about"));
            return Err(LoadError::Exports(reason));
        }
        macro_rules! ability {
            ($name:literal, $indices:path) => {
                if exports($name) { Some($indices(pre).map_err(wrong)?) } else { None }
            };
        }
        Ok(Self {
            pre: pre.clone(),
            about: contract::about::ExportsAboutIndices::new(pre).map_err(wrong)?,
            persona: ability!("persona", contract::persona::ExportsPersonaIndices::new),
            greeter: ability!("greeter", contract::greeter::ExportsGreeterIndices::new),
            reflector: ability!("reflector", contract::reflector::ExportsReflectorIndices::new),
            memory: ability!("memory", contract::memory::ExportsMemoryIndices::new),
            observer: ability!("observer", contract::observer::ExportsObserverIndices::new),
            model: ability!("model", contract::model::ExportsModelIndices::new),
        })
    }

    fn kind(&self) -> Result<Kind, LoadError> {
        match (self.persona.is_some(), self.memory.is_some(), self.model.is_some()) {
            (true, false, false) => Ok(Kind::Persona),
            (false, true, false) => Ok(Kind::Memory),
            (false, false, true) => Ok(Kind::Model),
            (false, false, false) => Err(LoadError::Exports(format!(
                "the component exports none of `{}`, `{}` and `{}`",
                contract::interface("persona"),
                contract::interface("memory"),
                contract::interface("model")
            ))),
            _ => Err(LoadError::Exports(
                "the component exports more than one of persona, memory and model; make one component of each".into(),
            )),
        }
    }
}

fn check_description(description: &Description, kind: Kind) -> Result<(), LoadError> {
    let wrong = |field, reason: String| Err(LoadError::Description { field, reason });
    if description.kind != kind.as_str() {
        return wrong("kind", format!("it says `{}` and exports a {kind}", clip(&description.kind)));
    }
    if !is_name(&description.name) {
        return wrong("name", format!("`{}` does not match [a-z0-9-]{{1,64}}", clip(&description.name)));
    }
    let version = &description.version;
    let characters = version.bytes().all(|b| b.is_ascii_alphanumeric() || b".-+".contains(&b));
    if !characters || version.len() > 64 || version.split('.').count() < 3 {
        return wrong("version", format!("`{}` is not a semantic version such as `1.2.3`", clip(version)));
    }
    if description.settings_schema.len() > LARGEST_SCHEMA {
        return wrong(
            "settings-schema",
            format!("it has {} bytes, of {LARGEST_SCHEMA}", description.settings_schema.len()),
        );
    }
    match serde_json::from_str::<serde_json::Value>(&description.settings_schema) {
        Ok(schema) if schema.is_object() => Ok(()),
        Ok(_) => wrong("settings-schema", "it is not a JSON object".into()),
        Err(error) => wrong("settings-schema", error.to_string()),
    }
}

fn clip(text: &str) -> String {
    crate::guest::clean(&text.chars().take(80).collect::<String>(), &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_component_is_told_what_it_is() {
        assert!(matches!(check_preamble(b""), Err(LoadError::NotWasm)));
        assert!(matches!(check_preamble(b"#!/bin/sh\n"), Err(LoadError::NotWasm)));
        assert!(matches!(check_preamble(b"\0asm\x01\0\0\0"), Err(LoadError::CoreModule)));
        assert!(check_preamble(b"\0asm\x0d\0\x01\0").is_ok());
    }

    #[test]
    fn only_the_offered_imports_pass() {
        for (import, offered) in [
            ("wasi:http/client@0.3.2", true),
            ("wasi:sockets/tcp@0.2.6", true),
            ("masque:companion/state@0.1.0", true),
            ("masque:companion/state@0.2.0", false),
            ("masque:companion/secrets@0.1.0", false),
            ("wasi:nn/graph@0.2.0", false),
            ("wasi:keyvalue/store@0.2.0", false),
            ("env", false),
        ] {
            assert_eq!(is_offered(import), offered, "{import}");
        }
    }
}
