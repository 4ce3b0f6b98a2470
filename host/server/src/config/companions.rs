//! `[companions.NAME]`. Whether the plugins it names exist is asked in `references`; whether they are what it takes them
//! for shows only once they are loaded.

use std::collections::BTreeMap;

use super::section::{Found, Section};
use super::settings;
use super::types::{Companion, Name};
use super::values::{Form, Wrong};

const DEFAULT_MEMORY: &str = "window";
/// Small enough that it fits, with the persona and a reply, into the 4096 tokens that local model servers start with.
pub(super) const DEFAULT_MEMORY_BUDGET: u32 = 2500;

const PERSONA: Form = Form { what: "a plugin's name", example: "\"elara\"" };
const MEMORY: Form = Form { what: "a plugin's name", example: "\"window\"" };
const MODELS: Form = Form { what: "a list of plugins' names", example: "[\"openai\", \"offline\"]" };

/// A companion as far as it could be read, with the places of the names that it gives.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) persona: Option<Found<Name>>,
    pub(super) memory: Option<Found<Name>>,
    pub(super) models: Vec<Found<Name>>,
    fallback: bool,
    memory_budget: u32,
    options: serde_json::Map<String, serde_json::Value>,
}

impl Draft {
    /// `None` where a part is missing, which has been reported.
    pub(super) fn finish(self) -> Option<Companion> {
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

pub(super) fn read(sections: BTreeMap<Name, Section<'_, '_>>) -> BTreeMap<Name, Draft> {
    sections.into_iter().map(|(name, section)| (name, one(section))).collect()
}

fn one(mut section: Section<'_, '_>) -> Draft {
    let persona =
        section.read("persona", PERSONA, |value| value.get_ref().as_str().ok_or(Wrong::Type).and_then(name));
    section.require("persona", PERSONA);
    let memory =
        section.read("memory", MEMORY, |value| value.get_ref().as_str().ok_or(Wrong::Type).and_then(name));
    section.defaults("memory", || DEFAULT_MEMORY.to_owned());
    let memory = match memory {
        None if !section.has("memory") => {
            DEFAULT_MEMORY.parse().ok().map(|value| Found { value, span: section.span() })
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
    let options = settings::plain(&mut section, "options");
    section.finish();
    Draft {
        persona,
        memory,
        models: models.map(|models| models.value).unwrap_or_default(),
        fallback,
        memory_budget: u32::try_from(memory_budget).unwrap_or(u32::MAX),
        options,
    }
}

fn name(text: &str) -> Result<Name, Wrong> {
    text.parse().map_err(|_| Wrong::Form)
}
