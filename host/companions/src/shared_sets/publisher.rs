//! Reads the files of this host again when they change: hands its credentials to whoever prepares sets, and offers its
//! companions and plugins to the other hosts.

use std::sync::Arc;

use masque_config::{
    Config, ConfigSource, Diagnostic, Diagnostics, FileSnapshot, LoadedConfig, Location, ReloadedConfig,
    Severity,
};
use tokio::sync::watch;

use super::offer::{Offered, Offering};
use crate::active::Active;
use crate::attempt::{Reload, ReloadAttempt, have_changed};
use crate::report::{ReloadOutcome, ReloadReport};
use crate::started::follow_log_level;

/// Offers what the files of this host say.
pub(crate) struct Publisher {
    offering: Offering,
    source: ConfigSource,
    /// The configuration as it was read last.
    running: Arc<Config>,
    local: watch::Sender<Arc<Config>>,
    active: Arc<Active>,
    /// Whether the file was offered since the start.
    has_offered: bool,
    /// Whether a change that is watched was not published yet.
    has_watched_change: bool,
    /// The last warning about sections that need a restart.
    restart_warning: Option<Diagnostic>,
}

impl Publisher {
    pub(crate) fn new(
        offering: Offering,
        source: ConfigSource,
        config: Arc<Config>,
        local: watch::Sender<Arc<Config>>,
        active: Arc<Active>,
    ) -> Self {
        Self {
            offering,
            source,
            running: config,
            local,
            active,
            has_offered: false,
            has_watched_change: false,
            restart_warning: None,
        }
    }

    /// Reads the configuration again. `None` if that panicked; the panic hook has reported it.
    async fn read(&self) -> Option<ReloadedConfig> {
        let (source, running) = (self.source.clone(), Arc::clone(&self.running));
        tokio::task::spawn_blocking(move || source.reload(&running)).await.ok()
    }

    /// Takes over what was read, except for sections that need a restart.
    fn take_over(&mut self, loaded: LoadedConfig) {
        let started = &self.offering.started;
        let warning = started.restart_warning(&loaded.config);
        if let Some(new) = warning.as_ref().filter(|new| self.restart_warning.as_ref() != Some(*new)) {
            tracing::warn!("{new}");
        }
        let active_set = loaded.config.active_set;
        self.running = Arc::new(Config { active_set, ..started.with_started_sections(loaded.config) });
        self.restart_warning = warning;
        self.local.send_replace(Arc::clone(&self.running));
    }

    /// Offers what was read. Returns whether that has to be repeated.
    async fn offer(&mut self) -> bool {
        self.has_watched_change |= self.has_offered && self.running.active_set.watch;
        let current = self.active.current();
        let offered = self.offering.offer(&self.running, Some(&current), self.has_watched_change).await;
        let needs_retry = match offered {
            Ok(Offered::Published(generation)) => {
                tracing::info!(generation, "the companions and plugins of this host's file are published");
                self.record_no_problem();
                false
            }
            Ok(Offered::Nothing) => {
                self.record_no_problem();
                false
            }
            Ok(Offered::NotInEffect(problem)) => {
                self.record(&[problem]);
                false
            }
            Ok(Offered::Refused(failure)) => {
                self.record(&failure.problems);
                failure.is_temporary
            }
            // Whoever follows the database says that it is away.
            Ok(Offered::TryAgain) | Err(_) => true,
        };
        self.has_offered = true;
        self.has_watched_change &= needs_retry;
        needs_retry
    }

    /// Records why what the files say is not in effect. Repeated attempts with the same problems are logged once.
    fn record(&self, problems: &[Diagnostic]) {
        let generation = self.active.current().generation;
        let lines = problems.iter().map(ToString::to_string).collect();
        let report = ReloadReport::new(ReloadOutcome::Refused, generation, lines);
        let previous = self.active.record(report.clone());
        if previous.is_some_and(|previous| previous.equals_apart_from_time(&report)) {
            return;
        }
        for problem in problems {
            match problem.severity {
                Severity::Error => tracing::error!(generation, "{problem}"),
                Severity::Warning => tracing::warn!(generation, "{problem}"),
            }
        }
    }

    /// Takes an earlier problem back.
    fn record_no_problem(&self) {
        let state = self.active.state();
        if state.reload.is_some_and(|reload| reload.outcome == ReloadOutcome::Refused) {
            let generation = state.set.generation;
            self.active.record(ReloadReport::new(ReloadOutcome::Applied, generation, Vec::new()));
        }
    }
}

impl Reload for Publisher {
    fn files(&self) -> FileSnapshot {
        self.running.files.clone()
    }

    /// A host that starts offers its file.
    fn is_due(&self) -> bool {
        !self.has_offered
    }

    async fn reload(&mut self) -> ReloadAttempt {
        let Some(ReloadedConfig { result, log_level, files }) = self.read().await else {
            return ReloadAttempt { files: self.files(), needs_retry: true, has_changed: true };
        };
        follow_log_level(log_level.as_deref());
        // What was read may mix old and new content.
        if have_changed(&files).await {
            return ReloadAttempt { files, needs_retry: true, has_changed: true };
        }
        let digest = self.running.digest();
        let needs_retry = match result {
            Ok(loaded) => {
                self.take_over(loaded);
                self.offer().await
            }
            Err(invalid) => {
                let current = self.active.current();
                let failure = self.offering.find_problems(invalid, Some(&current)).await;
                self.record(&Diagnostics::new(failure.problems).into_vec());
                failure.is_temporary
            }
        };
        ReloadAttempt { files, needs_retry, has_changed: self.running.digest() != digest }
    }

    fn refuse_after_panic(&self) {
        self.record(&[Diagnostic::error(
            Location::Builtin("configuration".into()),
            "reading the change panicked, which is a fault of the host",
            "Undo the change, and report the message of the panic.",
        )]);
    }
}
