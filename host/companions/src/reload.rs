//! Makes the next generation from changed files: read, compile what is new, check everything, publish. [`crate::follow`]
//! decides when.
//!
//! A change is applied as a whole or not at all. If any part has an error, the current generation stays in effect.

use std::sync::Arc;
use std::time::Instant;

use masque_config::{
    Config, ConfigSource, Diagnostic, Diagnostics, FileSnapshot, InvalidConfig, LoadedConfig, Location,
    ReloadedConfig,
};
use masque_runtime::Sandbox;

use crate::active::Active;
use crate::attempt::{Reload, ReloadAttempt, have_changed};
use crate::builtins::BuiltinComponents;
use crate::changes::{describe_changes, dropped_companions};
use crate::load::{Assembled, LoadFailure};
use crate::metrics;
use crate::report::{ReloadOutcome, ReloadReport};
use crate::set::ActiveSet;
use crate::started::{Started, follow_log_level};
use crate::successor::{assemble_successor, find_all_problems};

/// How many readings in a row may be discarded because a file changed meanwhile. A set made from old and new files
/// mixes two configurations. If the files never stop changing, the newest reading is used in spite of this.
const MAX_DISCARDED_READINGS: u32 = 5;

/// Makes new generations. A host has one, so that generations are made one after another.
pub struct Reloader {
    source: ConfigSource,
    builtins: BuiltinComponents,
    /// The configuration that the host was started with. Everything except companions, plugins and credentials stays in
    /// effect until the host ends.
    started: Started,
    /// The configuration of the current generation.
    running: Config,
    sandbox: Arc<Sandbox>,
    active: Arc<Active>,
    discarded_readings: u32,
}

/// A set that can be published.
struct Candidate {
    set: ActiveSet,
    config: Config,
    warnings: Diagnostics,
}

impl Reloader {
    /// A reloader for `active`, whose current set was made from `config`. `source` is where the configuration is read
    /// again.
    pub fn new(
        source: ConfigSource,
        config: Arc<Config>,
        sandbox: Arc<Sandbox>,
        active: Arc<Active>,
        builtins: BuiltinComponents,
    ) -> Self {
        let running = Config::clone(&config);
        Self {
            source,
            builtins,
            started: Started::new(config),
            running,
            sandbox,
            active,
            discarded_readings: 0,
        }
    }

    /// Reads the configuration again. `None` if that panicked; the panic hook has reported it.
    async fn read(&self) -> Option<ReloadedConfig> {
        let (source, running) = (self.source.clone(), self.running.clone());
        tokio::task::spawn_blocking(move || source.reload(&running)).await.ok()
    }

    async fn prepare(
        &self,
        result: Result<LoadedConfig, InvalidConfig>,
        current: &ActiveSet,
    ) -> Result<Candidate, LoadFailure> {
        let (started, sandbox, builtins) = (&self.started, &self.sandbox, self.builtins);
        let loaded = match result {
            Ok(loaded) => loaded,
            Err(invalid) => {
                return Err(find_all_problems(invalid, started, sandbox, builtins, Some(current)).await);
            }
        };
        let mut warnings = loaded.warnings.into_vec();
        warnings.extend(started.restart_warning(&loaded.config));
        let config = started.with_started_sections(loaded.config);
        let Assembled { set, warnings: found } =
            assemble_successor(&config, started, sandbox, builtins, Some(current)).await?;
        warnings.extend(found);
        Ok(Candidate { set, config, warnings: Diagnostics::new(warnings) })
    }

    /// Publishes the candidate unless it changes nothing. Returns whether the attempt has to be repeated.
    fn publish(&mut self, candidate: Candidate, current: &ActiveSet, began: Instant) -> bool {
        let Candidate { set, config, warnings } = candidate;
        let changes = describe_changes(current, &set);
        let dropped = dropped_companions(current, &set);
        let warnings = lines(&warnings);
        if changes.is_empty() && set.configuration == current.configuration {
            self.running = config;
            self.record_unchanged(current.generation, warnings);
            return false;
        }
        let Ok(set) = self.active.publish(current, set, warnings.clone()) else {
            return true;
        };
        self.running = config;
        let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(generation = set.generation, ms, "changes are in effect: {}", changes.join("; "));
        dropped.iter().for_each(|dropped| tracing::warn!("{dropped}"));
        warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        false
    }

    /// Records that the files say what is already in effect, for example after a mistake was undone.
    fn record_unchanged(&self, generation: u64, warnings: Vec<String>) {
        if warnings.is_empty() && self.active.state().reload.is_none() {
            metrics::count_attempt(ReloadOutcome::Applied);
            return;
        }
        let report = ReloadReport::new(ReloadOutcome::Applied, generation, warnings);
        let previous = self.active.record(report.clone());
        if previous.as_ref().is_some_and(|previous| previous.outcome == ReloadOutcome::Refused) {
            tracing::info!(generation, "what the configuration says is in effect again");
        }
        if !previous.is_some_and(|previous| previous.equals_apart_from_time(&report)) {
            report.problems.iter().for_each(|problem| tracing::warn!("{problem}"));
        }
    }

    /// Records the problems. Returns whether they are others than before.
    fn refuse(&self, problems: &Diagnostics, generation: u64) -> bool {
        let report = ReloadReport::new(ReloadOutcome::Refused, generation, lines(problems));
        let previous = self.active.record(report.clone());
        // Repeated attempts with the same mistakes are logged once.
        let is_new = !previous.is_some_and(|previous| previous.equals_apart_from_time(&report));
        if is_new {
            tracing::error!(generation, "a change is refused, and the generation in use stays:");
            report.problems.iter().for_each(|problem| tracing::error!("{problem}"));
        }
        is_new
    }
}

impl Reload for Reloader {
    fn files(&self) -> FileSnapshot {
        self.running.files.clone()
    }

    fn is_due(&self) -> bool {
        false
    }

    // Dropping the future is safe at any point: nothing is published before the end.
    async fn reload(&mut self) -> ReloadAttempt {
        let began = Instant::now();
        let Some(ReloadedConfig { result, log_level, files }) = self.read().await else {
            return ReloadAttempt { files: self.files(), needs_retry: true, has_changed: true };
        };
        follow_log_level(log_level.as_deref());
        let current = self.active.current();
        let candidate = self.prepare(result, &current).await;
        if self.discarded_readings < MAX_DISCARDED_READINGS && have_changed(&files).await {
            self.discarded_readings += 1;
            return ReloadAttempt { files, needs_retry: true, has_changed: true };
        }
        self.discarded_readings = 0;
        let (needs_retry, has_changed) = match candidate {
            Ok(candidate) => {
                let needs_retry = self.publish(candidate, &current, began);
                (needs_retry, self.active.current().generation != current.generation)
            }
            Err(LoadFailure { problems, is_temporary }) => {
                (is_temporary, self.refuse(&Diagnostics::new(problems), current.generation))
            }
        };
        ReloadAttempt { files, needs_retry, has_changed }
    }

    fn refuse_after_panic(&self) {
        let location = Location::Builtin("configuration".into());
        let problem = Diagnostic::error(
            location,
            "reading the change panicked, which is a fault of the host",
            "Undo the change, and report the message of the panic.",
        );
        self.refuse(&Diagnostics::new(vec![problem]), self.active.current().generation);
    }
}

fn lines(problems: &Diagnostics) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}
