//! The configuration of a host with the companions and plugins of a document that another host may have written. Names of
//! credentials are resolved by this host's own `[credentials]`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use masque_grants::{Credential, Grants, HttpGrant, IpNet, Name, Reuse};

use crate::config::Config;
use crate::diagnostic::{Diagnostic, Location};
use crate::key_locations::KeyLocations;
use crate::sections::active_set::ActiveSetOptions;
use crate::sections::companions::Companion;
use crate::sections::plugin_limits::PluginLimits;
use crate::sections::plugins::{Plugin, PluginSource};
use crate::set_document::{CompanionEntry, GrantsEntry, PluginEntry, ReuseEntry, SetDocument, SourceEntry};

/// What to do about content that no release writes.
const DAMAGED: &str = "Publish the configuration again, under a higher `revision`.";

impl Config {
    /// This configuration with the companions and plugins of the document, which was published under `revision`. The
    /// component of a digest is in the file that `component` names.
    ///
    /// # Errors
    /// What this host lacks for it, such as a credential, and what is damaged.
    pub fn with_document(
        &self,
        document: &SetDocument,
        revision: u64,
        component: impl Fn(&str) -> PathBuf,
    ) -> Result<Self, Vec<Diagnostic>> {
        let mut problems = Vec::new();
        let mut plugins = BTreeMap::new();
        for (name, entry) in &document.plugins {
            let at = Place { kind: "plugin", name };
            let found = problems.len();
            let plugin = plugin(&at, entry, &self.credentials, &component, &mut problems);
            if let (Some(name), Some(plugin)) = (at.parsed_name(&mut problems), plugin)
                && problems.len() == found
            {
                plugins.insert(name, plugin);
            }
        }
        let mut companions = BTreeMap::new();
        for (name, entry) in &document.companions {
            let at = Place { kind: "companion", name };
            let companion = companion(&at, entry, document, &mut problems);
            if let (Some(name), Some(companion)) = (at.parsed_name(&mut problems), companion) {
                companions.insert(name, companion);
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self {
            companions,
            plugins,
            active_set: ActiveSetOptions { revision: Some(revision), ..self.active_set },
            // The keys of the file are not those of the document.
            locations: KeyLocations::of_active_set(),
            ..self.clone()
        })
    }
}

/// A companion or plugin of the document.
struct Place<'a> {
    kind: &'static str,
    name: &'a str,
}

impl Place<'_> {
    fn error(&self, what: impl Into<String>, remedy: impl Into<String>) -> Diagnostic {
        Diagnostic::error(Location::ActiveSet(format!("{} `{}`", self.kind, self.name)), what, remedy)
    }

    fn parsed_name(&self, problems: &mut Vec<Diagnostic>) -> Option<Name> {
        self.parsed("its name", self.name, problems)
    }

    fn parsed<T: std::str::FromStr>(
        &self,
        what: &str,
        text: &str,
        problems: &mut Vec<Diagnostic>,
    ) -> Option<T> {
        let parsed = text.parse().ok();
        if parsed.is_none() {
            problems.push(self.error(format!("{what} can't be read: `{}`", text.escape_debug()), DAMAGED));
        }
        parsed
    }
}

fn plugin(
    at: &Place<'_>,
    entry: &PluginEntry,
    credentials: &BTreeMap<Name, Arc<Credential>>,
    component: &impl Fn(&str) -> PathBuf,
    problems: &mut Vec<Diagnostic>,
) -> Option<Plugin> {
    let source = match &entry.source {
        SourceEntry::Component(digest) => {
            Some(PluginSource::Stored { digest: digest.clone(), file: component(digest) })
        }
        SourceEntry::Builtin(name) => {
            let builtin = name.parse().ok().map(PluginSource::Builtin);
            if builtin.is_none() {
                problems.push(at.error(
                    format!("this host has no built-in plugin `{}`", name.escape_debug()),
                    "Update this host.",
                ));
            }
            builtin
        }
    };
    let grants = grants(at, &entry.grants, credentials, problems);
    Some(Plugin {
        source: source?,
        settings: entry.settings.clone(),
        setting_files: entry.setting_files.clone(),
        grants,
        limits: PluginLimits {
            wall: entry.limits.wall,
            cpu: entry.limits.cpu,
            memory_bytes: entry.limits.memory_bytes,
            state_bytes: entry.limits.state_bytes,
        },
    })
}

fn grants(
    at: &Place<'_>,
    entry: &GrantsEntry,
    known: &BTreeMap<Name, Arc<Credential>>,
    problems: &mut Vec<Diagnostic>,
) -> Grants {
    let http: Vec<HttpGrant> =
        entry.http.iter().filter_map(|text| at.parsed("a grant", text, problems)).collect();
    let networks: Vec<IpNet> =
        entry.networks.iter().filter_map(|text| at.parsed("a network", text, problems)).collect();
    let mut credentials: Vec<Arc<Credential>> = Vec::new();
    for name in &entry.credentials {
        let Some(credential) = known.get(name.as_str()) else {
            problems.push(at.error(
                format!("this host has no credential `{}`", name.escape_debug()),
                format!("Add [credentials.{}] to the configuration of this host.", name.escape_debug()),
            ));
            continue;
        };
        let origin = credential.origin();
        if !http.iter().any(|grant| grant.origin() == origin) {
            problems.push(at.error(
                format!("this host's credential `{name}` is for {origin}, which the plugin may not reach"),
                "Give [credentials] the same origins on all hosts.",
            ));
        }
        let is_same =
            |other: &&Arc<Credential>| other.origin() == origin && other.header() == credential.header();
        if let Some(other) = credentials.iter().find(is_same) {
            let (other, header) = (other.name(), credential.header());
            problems.push(at.error(
                format!("this host's credentials `{other}` and `{name}` both set `{header}` for {origin}"),
                "Give [credentials] the same headers on all hosts.",
            ));
        }
        credentials.push(Arc::clone(credential));
    }
    let grants = Grants {
        http,
        networks,
        credentials,
        state: entry.state,
        state_shared: entry.state_shared,
        history: entry.history,
        models: entry.models,
        scratch: entry.scratch,
        reuse: entry.reuse.map(|reuse| match reuse {
            ReuseEntry::Conversation => Reuse::Conversation,
            ReuseEntry::User => Reuse::User,
            ReuseEntry::Anyone => Reuse::Anyone,
        }),
    };
    if grants.reuse == Some(Reuse::Anyone)
        && let Err(granted) = grants.may_serve_anyone()
    {
        let granted = granted.join(", ");
        problems.push(at.error(format!("an instance that serves anyone has the grants {granted}"), DAMAGED));
    }
    grants
}

fn companion(
    at: &Place<'_>,
    entry: &CompanionEntry,
    document: &SetDocument,
    problems: &mut Vec<Diagnostic>,
) -> Option<Companion> {
    let mut plugin = |name: &str| {
        if document.plugins.contains_key(name) {
            return at.parsed("the name of a plugin", name, problems);
        }
        problems.push(at.error(format!("there is no plugin `{}`", name.escape_debug()), DAMAGED));
        None
    };
    let (persona, memory) = (plugin(&entry.persona), plugin(&entry.memory));
    let models: Vec<Option<Name>> = entry.models.iter().map(|model| plugin(model)).collect();
    if models.is_empty() {
        problems.push(at.error("it has no model", DAMAGED));
    }
    Some(Companion {
        persona: persona?,
        memory: memory?,
        models: models.into_iter().collect::<Option<_>>()?,
        fallback: entry.fallback,
        memory_budget: entry.memory_budget,
        options: entry.options.clone(),
    })
}
