//! Publishes what a configuration says, if the hosts have something older: checks it as this host would load it, adds the
//! components to the database, then the document that names them.

use std::collections::BTreeMap;
use std::sync::Arc;

use masque_config::{Config, Diagnostic, InvalidConfig, Name, PluginSource, SetDocument, content_digest};
use masque_runtime::Sandbox;
use masque_store::{
    ActiveSets, Generation, GenerationStatus, NewGeneration, PublishOutcome, SetHost, SetState, StoreError,
};

use super::components::{FetchError, LocalComponents};
use super::intent::{CurrentSet, FileSet, Intent, intent};
use crate::builtins::BuiltinComponents;
use crate::load::LoadFailure;
use crate::packages::read_component;
use crate::set::ActiveSet;
use crate::started::{Started, file_location};
use crate::successor::{assemble_successor, find_all_problems};

/// What it takes to publish.
#[derive(Clone)]
pub(crate) struct Offering {
    pub(crate) store: Arc<dyn ActiveSets>,
    pub(crate) host: SetHost,
    pub(crate) components: LocalComponents,
    pub(crate) sandbox: Arc<Sandbox>,
    pub(crate) builtins: BuiltinComponents,
    pub(crate) started: Started,
}

/// What became of an offer.
#[derive(Debug)]
pub(crate) enum Offered {
    /// It is published under this number.
    Published(u64),
    /// The hosts have it, or the file leaves the active set to the others.
    Nothing,
    /// Another host has published something meanwhile, or a generation is not decided yet.
    TryAgain,
    /// The file has something else than the hosts, and is not to be published as it is.
    NotInEffect(Diagnostic),
    /// It has mistakes.
    Refused(LoadFailure),
}

impl Offering {
    /// Offers the companions and plugins of `config`. `current` is what the host uses.
    ///
    /// # Errors
    /// The database does not answer.
    pub(crate) async fn offer(
        &self,
        config: &Config,
        current: Option<&ActiveSet>,
        has_watched_change: bool,
    ) -> Result<Offered, StoreError> {
        let document = match self.document(config).await {
            Ok(document) => document,
            Err(failure) => return Ok(Offered::Refused(failure)),
        };
        let text = document.text();
        let digest = content_digest(text.as_bytes());
        let state = self.store.set_state(self.host.id).await?;
        let newest = self.current_generation(state).await?;
        let file = FileSet {
            revision: config.active_set.revision,
            digest: &digest,
            describes_set: config.locations.describe_active_set(),
            has_watched_change,
        };
        let shared = newest.as_ref().map(|set| CurrentSet { revision: set.revision, digest: &set.digest });
        let revision = match intent(file, shared) {
            Intent::Publish(revision) => revision,
            Intent::Nothing => return Ok(Offered::Nothing),
            Intent::NoRevision => return Ok(Offered::NotInEffect(no_revision(config))),
            Intent::NotHigher(revision) => {
                let hosts = newest.map_or(revision, |set| set.revision);
                return Ok(Offered::NotInEffect(not_higher(config, revision, hosts)));
            }
        };
        if state.published.is_some() {
            return Ok(Offered::TryAgain);
        }
        let assembled =
            assemble_successor(config, &self.started, &self.sandbox, self.builtins, current).await;
        if let Err(failure) = assembled {
            return Ok(Offered::Refused(failure));
        }
        let components = document.components();
        for digest in self.store.missing_components(&components).await? {
            match self.components.upload(&*self.store, &digest).await {
                Ok(()) => {}
                Err(FetchError::Store(error)) => return Err(error),
                Err(error) => return Ok(Offered::Refused(component_failure(config, &error))),
            }
        }
        let generation = NewGeneration {
            base: state.newest,
            revision,
            digest,
            content: text,
            components,
            prepare_within: config.active_set.prepare_timeout,
            by: self.host.clone(),
        };
        Ok(match self.store.publish_generation(generation).await? {
            PublishOutcome::Published(number) => Offered::Published(number),
            PublishOutcome::Unchanged(_) => Offered::Nothing,
            PublishOutcome::OtherContent(number) => {
                Offered::NotInEffect(other_content(config, revision, number))
            }
            PublishOutcome::Lower(hosts) => Offered::NotInEffect(not_higher(config, revision, hosts)),
            PublishOutcome::Busy(_) | PublishOutcome::Outdated(_) | PublishOutcome::MissingComponent(_) => {
                Offered::TryAgain
            }
        })
    }

    /// Everything that is wrong with a file that can't be offered.
    pub(crate) async fn find_problems(
        &self,
        invalid: InvalidConfig,
        current: Option<&ActiveSet>,
    ) -> LoadFailure {
        find_all_problems(invalid, &self.started, &self.sandbox, self.builtins, current).await
    }

    /// The generation that is published, or else the active one.
    async fn current_generation(&self, state: SetState) -> Result<Option<Generation>, StoreError> {
        let Some(number) = state.published.or(state.active) else { return Ok(None) };
        let found = self.store.generation(number).await?;
        // It may have been refused since.
        Ok(found.filter(|set| matches!(set.status, GenerationStatus::Published | GenerationStatus::Active)))
    }

    /// The document of the configuration. Keeps its components.
    async fn document(&self, config: &Config) -> Result<SetDocument, LoadFailure> {
        let mut digests: BTreeMap<Name, String> = BTreeMap::new();
        let mut problems = Vec::new();
        let mut is_temporary = false;
        for (name, plugin) in &config.plugins {
            if !matches!(plugin.source, PluginSource::File(_)) {
                continue;
            }
            let kept = match read_component(&plugin.source, self.builtins).await {
                Ok(bytes) => {
                    let digest = content_digest(&bytes);
                    let kept = self.components.add(&digest, bytes.to_vec()).await;
                    digests.insert(name.clone(), digest);
                    kept.map_err(|error| (error.to_string(), FREE_SPACE.to_owned(), true))
                }
                Err(error) => Err((error.what, error.remedy, error.is_temporary)),
            };
            if let Err((what, remedy, may_pass)) = kept {
                is_temporary |= may_pass;
                problems.push(Diagnostic::error(
                    config.locations.plugin(name, "source"),
                    format!("plugin `{name}` ({}) can't be loaded: {what}", plugin.source),
                    remedy,
                ));
            }
        }
        match SetDocument::of(config, &digests) {
            Some(document) if problems.is_empty() => Ok(document),
            _ => Err(LoadFailure { problems, is_temporary }),
        }
    }
}

const FREE_SPACE: &str = "Look at the data folder and at the space on its disk.";

fn component_failure(config: &Config, error: &FetchError) -> LoadFailure {
    let problem = Diagnostic::error(file_location(config), error.to_string(), FREE_SPACE);
    LoadFailure { problems: vec![problem], is_temporary: true }
}

fn no_revision(config: &Config) -> Diagnostic {
    Diagnostic::warning(
        file_location(config),
        "its companions and plugins are not those of the hosts, and it has no `revision`",
        "To publish them, add [active_set] with a `revision` higher than that of the hosts, which /status shows.",
    )
}

fn not_higher(config: &Config, revision: u64, hosts: u64) -> Diagnostic {
    if revision == hosts {
        return Diagnostic::error(
            file_location(config),
            format!("its companions and plugins are not those that were published as revision {revision}"),
            format!("To publish them, raise `revision` in [active_set] over {hosts}."),
        );
    }
    Diagnostic::warning(
        file_location(config),
        format!("its companions and plugins have revision {revision}, and the hosts have revision {hosts}"),
        format!("To publish them, raise `revision` in [active_set] over {hosts}."),
    )
}

fn other_content(config: &Config, revision: u64, generation: u64) -> Diagnostic {
    Diagnostic::error(
        file_location(config),
        format!("revision {revision} was published with another content, as generation {generation}"),
        "Raise `revision` in [active_set].",
    )
}
