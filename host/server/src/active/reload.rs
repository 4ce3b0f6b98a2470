//! From changed files to the next generation, or to the reason why there is none: read, compile what is new, check it all,
//! publish. When that is due is for [`super::follow()`] to say.
//!
//! All or nothing: whatever is wrong with any part, the generation in use stays, and is what every turn gets.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use masque_runtime::Sandbox;

use super::load::{self, Refused};
use super::{Active, ActiveSet, changes};
use crate::config::{
    Config, ConfigSource, Diagnostic, Diagnostics, FileSnapshot, LoadedConfig, Location, ReloadedConfig,
};

/// How often in a row files may change while they are read. A set made of both old and new files is not what anyone wrote,
/// but one that is never made is no better.
const PATIENCE: u32 = 5;

/// Makes generations. There is one for a host, so that they come one after another.
pub(crate) struct Reloader {
    origin: ConfigSource,
    /// What the host was started with; all but companions, plugins and credentials is in effect until it ends.
    started: Arc<Config>,
    /// What the current generation was made of.
    running: Config,
    sandbox: Arc<Sandbox>,
    active: Arc<Active>,
    /// Readings in a row that were overtaken by a change.
    overtaken: u32,
}

/// How the last change went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reload {
    pub(crate) at: SystemTime,
    pub(crate) outcome: Outcome,
    /// The one in use since.
    pub(crate) generation: u64,
    /// A line each: all mistakes where it was refused, else what the operator should know all the same.
    pub(crate) problems: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// What the files say is in effect.
    Applied,
    /// It is not; what was in effect before still is.
    Refused,
}

/// An attempt that is over.
pub(super) struct Done {
    /// What it was made of.
    pub(super) sources: FileSnapshot,
    /// Whether another attempt at the same files may end otherwise.
    pub(super) again: bool,
}

/// A set that could be published.
struct Made {
    set: ActiveSet,
    config: Config,
    warnings: Diagnostics,
}

impl Reloader {
    /// For the set that `active` has now, which was made of `config`.
    pub(crate) fn new(
        origin: ConfigSource,
        config: Arc<Config>,
        sandbox: Arc<Sandbox>,
        active: Arc<Active>,
    ) -> Self {
        let running = Config::clone(&config);
        Self { origin, started: config, running, sandbox, active, overtaken: 0 }
    }

    /// What the current generation was made of.
    pub(super) fn sources(&self) -> FileSnapshot {
        self.running.files.clone()
    }

    /// One attempt, to its end.
    pub(super) async fn reload(&mut self) -> Done {
        let began = Instant::now();
        let Some(ReloadedConfig { result: loaded, files: sources }) = self.read().await else {
            return Done { sources: self.sources(), again: true };
        };
        let current = self.active.current();
        let made = self.make(loaded, &current).await;
        if self.overtaken < PATIENCE && have_changed(&sources).await {
            self.overtaken += 1;
            return Done { sources, again: true };
        }
        self.overtaken = 0;
        let again = match made {
            Ok(made) => self.publish(made, &current, began),
            Err(Refused { problems, passing }) => {
                self.refuse(&Diagnostics::new(problems), current.generation);
                passing
            }
        };
        Done { sources, again }
    }

    /// `None` if the reading panicked, which is reported where it happens.
    async fn read(&self) -> Option<ReloadedConfig> {
        let (origin, running) = (self.origin.clone(), self.running.clone());
        tokio::task::spawn_blocking(move || origin.reload(&running)).await.ok()
    }

    async fn make(
        &self,
        loaded: Result<LoadedConfig, Diagnostics>,
        current: &ActiveSet,
    ) -> Result<Made, Refused> {
        let loaded = loaded.map_err(|problems| Refused { problems: problems.into_vec(), passing: false })?;
        let mut warnings = loaded.warnings.into_vec();
        warnings.extend(self.next_start(&loaded.config));
        let config = self.in_effect(loaded.config);
        let too_large = self.too_large(&config);
        if !too_large.is_empty() {
            return Err(Refused { problems: too_large, passing: false });
        }
        let set = load::assemble(&config, &self.sandbox, Some(current)).await?;
        Ok(Made { set, config, warnings: Diagnostics::new(warnings) })
    }

    /// What differs from what the host was started with, and can't be changed any more.
    fn next_start(&self, config: &Config) -> Option<Diagnostic> {
        let sections = self.started.changed_sections(config);
        if sections.is_empty() {
            return None;
        }
        let place = config.file.clone().map_or_else(
            || Location::Builtin("configuration".into()),
            |path| Location::File { path, position: None },
        );
        let what = format!("{} differs from what the host was started with", sections.join(", "));
        Some(Diagnostic::warning(place, what, "It takes effect at the next start."))
    }

    /// The configuration as far as it can take effect.
    fn in_effect(&self, config: Config) -> Config {
        let started = Config::clone(&self.started);
        Config {
            companions: config.companions,
            plugins: config.plugins,
            file: config.file,
            locations: config.locations,
            files: config.files,
            ..started
        }
    }

    /// A plugin may fit into the sandbox that the file asks for, and not into the one that there is.
    fn too_large(&self, config: &Config) -> Vec<Diagnostic> {
        let most = self.started.sandbox.memory_bytes;
        let too_large = config.plugins.iter().filter(|(_, plugin)| plugin.limits.memory_bytes > most);
        too_large
            .map(|(name, _)| {
                Diagnostic::error(
                    config.locations.plugin(name, "limits/memory"),
                    format!("plugin `{name}` may have more memory than the sandbox of this host gives ({most} bytes)"),
                    "Lower it, or start the host again with the new [sandbox].",
                )
            })
            .collect()
    }

    /// Whether it has to be tried again.
    fn publish(&mut self, made: Made, current: &ActiveSet, began: Instant) -> bool {
        let Made { set, config, warnings } = made;
        let changes = changes::between(current, &set);
        let problems = lines(&warnings);
        if changes.is_empty() && set.configuration == current.configuration {
            self.running = config;
            self.unchanged(current.generation, problems);
            return false;
        }
        let Ok(set) = self.active.publish(current, set, problems.clone()) else {
            return true;
        };
        self.running = config;
        let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(generation = set.generation, ms, "changes are in effect: {}", changes.join("; "));
        problems.iter().for_each(|problem| tracing::warn!("{problem}"));
        false
    }

    /// What the files say has been in effect already.
    fn unchanged(&self, generation: u64, problems: Vec<String>) {
        if problems.is_empty() && self.active.now().reload.is_none() {
            return;
        }
        let reload = Reload::new(Outcome::Applied, generation, problems);
        let before = self.active.note(reload.clone());
        if before.as_ref().is_some_and(|before| before.outcome == Outcome::Refused) {
            tracing::info!(generation, "what the configuration says is in effect again");
        }
        if !before.is_some_and(|before| before.says_the_same(&reload)) {
            reload.problems.iter().for_each(|problem| tracing::warn!("{problem}"));
        }
    }

    fn refuse(&self, problems: &Diagnostics, generation: u64) {
        let reload = Reload::new(Outcome::Refused, generation, lines(problems));
        let before = self.active.note(reload.clone());
        // Further attempts at the same mistakes need no more lines.
        if !before.is_some_and(|before| before.says_the_same(&reload)) {
            tracing::error!(generation, "a change is refused, and the generation in use stays:");
            reload.problems.iter().for_each(|problem| tracing::error!("{problem}"));
        }
    }
}

impl Reload {
    pub(super) fn new(outcome: Outcome, generation: u64, problems: Vec<String>) -> Self {
        Self { at: SystemTime::now(), outcome, generation, problems }
    }

    fn says_the_same(&self, other: &Self) -> bool {
        (self.outcome, self.generation, &self.problems) == (other.outcome, other.generation, &other.problems)
    }
}

/// Whether the files changed while they were read, so that what came of it may be half of each.
async fn have_changed(sources: &FileSnapshot) -> bool {
    let before = sources.clone();
    // A panic has been reported, and says nothing about the files.
    tokio::task::spawn_blocking(move || before.differs_from(&before.retake())).await.unwrap_or(false)
}

fn lines(problems: &Diagnostics) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}
