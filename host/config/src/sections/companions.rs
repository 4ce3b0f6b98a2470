//! `[companions.NAME]`. Whether the named plugins exist is checked in `references`; whether each is of the right kind is
//! checked after they are loaded.

use std::collections::BTreeMap;

use masque_grants::Name;
use serde::Serialize;
use serde_json::{Map, Value};

use super::settings;
use crate::section::{Located, Section};
use crate::value::{self, Expected, InvalidValue};

const DEFAULT_MEMORY: &str = "window";
/// Together with the persona and a reply it fits into the 4096 tokens that local model servers start with.
pub(crate) const DEFAULT_MEMORY_BUDGET: u32 = 2500;

const PERSONA: Expected = Expected { what: "a plugin's name", example: "\"elara\"" };
const MEMORY: Expected = Expected { what: "a plugin's name", example: "\"window\"" };
const MODELS: Expected = Expected { what: "a list of plugins' names", example: "[\"openai\", \"offline\"]" };

/// A persona, a memory and one or more models.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Companion {
    /// The plugin that is its persona.
    pub persona: Name,
    /// The plugin that is its memory.
    pub memory: Name,
    /// Its models. Never empty; the first one is used unless the client chooses another.
    pub models: Vec<Name>,
    /// Whether the next model takes over if one fails before its first content.
    pub fallback: bool,
    /// The largest recollection, in tokens of the model.
    pub memory_budget: u32,
    /// Options for the model in every prompt. They take precedence over those of the persona.
    pub options: Map<String, Value>,
}

impl Companion {
    /// Whether the plugin is its persona, its memory or one of its models.
    pub(crate) fn names(&self, plugin: &str) -> bool {
        [&self.persona, &self.memory].into_iter().chain(&self.models).any(|name| &**name == plugin)
    }
}

/// A companion as it was read, with the locations of the names in it.
#[derive(Debug)]
pub(crate) struct ParsedCompanion {
    pub(crate) persona: Option<Located<Name>>,
    pub(crate) memory: Option<Located<Name>>,
    pub(crate) models: Vec<Located<Name>>,
    fallback: bool,
    memory_budget: u32,
    options: Map<String, Value>,
}

impl ParsedCompanion {
    /// The companion, or `None` if a part is missing. That was reported.
    pub(crate) fn finish(self) -> Option<Companion> {
        Some(Companion {
            persona: self.persona?.value,
            memory: self.memory?.value,
            models: self.models.into_iter().map(|model| model.value).collect(),
            fallback: self.fallback,
            memory_budget: self.memory_budget,
            options: self.options,
        })
    }
}

pub(crate) fn read(sections: BTreeMap<Name, Section<'_, '_>>) -> BTreeMap<Name, ParsedCompanion> {
    sections.into_iter().map(|(name, section)| (name, read_one(section))).collect()
}

fn read_one(mut section: Section<'_, '_>) -> ParsedCompanion {
    let persona = section.read("persona", PERSONA, |value| value::text(value).and_then(name));
    section.require("persona", PERSONA);
    let memory = section.read("memory", MEMORY, |value| value::text(value).and_then(name));
    section.defaults("memory", || DEFAULT_MEMORY.to_owned());
    let memory = match memory {
        None if !section.has("memory") => {
            DEFAULT_MEMORY.parse().ok().map(|value| Located { value, span: section.span() })
        }
        given => given,
    };
    let models = section.list("models", MODELS, name);
    section.require("models", MODELS);
    if section.is_empty_list("models") {
        section.refuse_key("models", "a companion needs at least one model", "Add for example \"offline\".");
    }
    let fallback = section.flag("fallback", false);
    let memory_budget = section.count("memory_budget", DEFAULT_MEMORY_BUDGET.into(), 64..=1_000_000);
    let options = settings::read_options(&mut section, "options");
    section.finish();
    ParsedCompanion {
        persona,
        memory,
        models: models.map(|models| models.value).unwrap_or_default(),
        fallback,
        memory_budget: u32::try_from(memory_budget).unwrap_or(u32::MAX),
        options,
    }
}

fn name(text: &str) -> Result<Name, InvalidValue> {
    text.parse().map_err(|_| InvalidValue::Form)
}
