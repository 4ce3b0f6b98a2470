//! The companions and plugins of a configuration as a document that other hosts read, for the active set of hosts that
//! share a database.
//!
//! It holds what was read, not what was written: settings with the text of their files in place, and components by their
//! digest. So a host needs neither the file nor anything beside it, and two releases read it in the same way. Built-in plugins
//! are named without a digest: they belong to the binary, and come with it.
//!
//! Threat: whoever reads the database or a backup of it learns secrets. Policy: credentials are names. Their values, from
//! variables and files, are only in [`Grants`], which has no form here; each host resolves the names by its own
//! `[credentials]`. Variables are expanded nowhere else in companions and plugins. Consequence: a secret that an operator
//! writes into a setting itself is in the database, as it is in the file.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use masque_grants::{Credential, Grants, Name, Reuse};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::config::Config;
use crate::sections::companions::Companion;
use crate::sections::plugin_limits::PluginLimits;
use crate::sections::plugins::{Plugin, PluginSource};

/// The form of the document. A host refuses one that it does not know.
const VERSION: u32 = 1;

/// The companions and plugins of one generation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetDocument {
    version: u32,
    pub(crate) companions: BTreeMap<String, CompanionEntry>,
    pub(crate) plugins: BTreeMap<String, PluginEntry>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CompanionEntry {
    pub(crate) persona: String,
    pub(crate) memory: String,
    pub(crate) models: Vec<String>,
    pub(crate) fallback: bool,
    pub(crate) memory_budget: u32,
    pub(crate) options: Map<String, Value>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PluginEntry {
    pub(crate) source: SourceEntry,
    pub(crate) settings: Map<String, Value>,
    /// The files that settings were read from, for messages.
    pub(crate) setting_files: BTreeMap<String, PathBuf>,
    pub(crate) grants: GrantsEntry,
    pub(crate) limits: LimitsEntry,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SourceEntry {
    /// The name of a built-in plugin.
    Builtin(String),
    /// The digest of a component.
    Component(String),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GrantsEntry {
    pub(crate) http: Vec<String>,
    pub(crate) networks: Vec<String>,
    /// Names.
    pub(crate) credentials: Vec<String>,
    pub(crate) state: bool,
    pub(crate) state_shared: bool,
    pub(crate) history: bool,
    pub(crate) models: bool,
    pub(crate) scratch: Option<u64>,
    pub(crate) reuse: Option<ReuseEntry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ReuseEntry {
    Conversation,
    User,
    Anyone,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LimitsEntry {
    pub(crate) wall: Option<Duration>,
    pub(crate) cpu: Duration,
    pub(crate) memory_bytes: usize,
    pub(crate) state_bytes: usize,
}

/// Why a text can't be read as a document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDocument {
    /// It was published by a newer release.
    #[error("it is written in version {0}, and this host reads version {VERSION}; update this host")]
    Version(u32),
    /// It is damaged.
    #[error("its content can't be read: {0}")]
    Content(String),
}

/// The part that every version has.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

impl SetDocument {
    /// The document of a configuration. `digests` has the digest of the component of each plugin that comes from a file;
    /// `None` if one lacks it.
    pub fn of(config: &Config, digests: &BTreeMap<Name, String>) -> Option<Self> {
        let plugins = config
            .plugins
            .iter()
            .map(|(name, plugin)| Some((name.to_string(), plugin_entry(plugin, digests.get(name))?)));
        let companions =
            config.companions.iter().map(|(name, companion)| (name.to_string(), companion_entry(companion)));
        Some(Self {
            version: VERSION,
            companions: companions.collect(),
            plugins: plugins.collect::<Option<_>>()?,
        })
    }

    /// Reads a document.
    ///
    /// # Errors
    /// The text has another version, or is damaged.
    pub fn parse(text: &str) -> Result<Self, InvalidDocument> {
        let invalid = |error: serde_json::Error| InvalidDocument::Content(error.to_string());
        match serde_json::from_str::<Versioned>(text).map_err(invalid)?.version {
            VERSION => serde_json::from_str(text).map_err(invalid),
            other => Err(InvalidDocument::Version(other)),
        }
    }

    /// The document as text. Equal documents have equal texts.
    pub fn text(&self) -> String {
        // Only maps with keys that are no strings can't be written, and there are none.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The digests of the components that it names, each once.
    pub fn components(&self) -> Vec<String> {
        let mut digests: Vec<_> = self
            .plugins
            .values()
            .filter_map(|plugin| match &plugin.source {
                SourceEntry::Component(digest) => Some(digest.clone()),
                SourceEntry::Builtin(_) => None,
            })
            .collect();
        digests.sort_unstable();
        digests.dedup();
        digests
    }
}

/// The digest of bytes as it names components and contents: `sha256:…`.
pub fn content_digest(bytes: &[u8]) -> String {
    format!("sha256:{:x}", Sha256::digest(bytes))
}

fn companion_entry(companion: &Companion) -> CompanionEntry {
    // The destructuring names every field, here and below, so that a new one can't be forgotten.
    let Companion { persona, memory, models, fallback, memory_budget, options } = companion;
    CompanionEntry {
        persona: persona.to_string(),
        memory: memory.to_string(),
        models: models.iter().map(ToString::to_string).collect(),
        fallback: *fallback,
        memory_budget: *memory_budget,
        options: options.clone(),
    }
}

fn plugin_entry(plugin: &Plugin, digest: Option<&String>) -> Option<PluginEntry> {
    let Plugin { source, settings, setting_files, grants, limits } = plugin;
    let source = match source {
        PluginSource::Builtin(builtin) => SourceEntry::Builtin(builtin.name().to_owned()),
        PluginSource::File(_) => SourceEntry::Component(digest?.clone()),
        PluginSource::Stored { digest, .. } => SourceEntry::Component(digest.clone()),
    };
    let PluginLimits { wall, cpu, memory_bytes, state_bytes } = *limits;
    Some(PluginEntry {
        source,
        settings: settings.clone(),
        setting_files: setting_files.clone(),
        grants: grants_entry(grants),
        limits: LimitsEntry { wall, cpu, memory_bytes, state_bytes },
    })
}

fn grants_entry(grants: &Grants) -> GrantsEntry {
    let Grants { http, networks, credentials, state, state_shared, history, models, scratch, reuse } = grants;
    let name = |credential: &Arc<Credential>| credential.name().to_owned();
    GrantsEntry {
        http: http.iter().map(ToString::to_string).collect(),
        networks: networks.iter().map(ToString::to_string).collect(),
        credentials: credentials.iter().map(name).collect(),
        state: *state,
        state_shared: *state_shared,
        history: *history,
        models: *models,
        scratch: *scratch,
        reuse: reuse.map(|reuse| match reuse {
            Reuse::Conversation => ReuseEntry::Conversation,
            Reuse::User => ReuseEntry::User,
            Reuse::Anyone => ReuseEntry::Anyone,
        }),
    }
}
