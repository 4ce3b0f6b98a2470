//! The holder of the current generation. Swapping it is one atomic step: readers see the old set or the new one.

use std::sync::Arc;

use tokio::sync::watch;

use crate::metrics;
use crate::publication::Publication;
use crate::report::{ReloadOutcome, ReloadReport};
use crate::set::ActiveSet;

/// The generation that new turns get, together with the report of the last attempt to replace it.
#[derive(Debug)]
pub struct Active(watch::Sender<ActiveState>);

/// The current generation and the last report, read at the same moment.
#[derive(Clone, Debug)]
pub struct ActiveState {
    /// The current generation.
    pub set: Arc<ActiveSet>,
    /// The last attempt to replace a generation; `None` while no file has changed since the start.
    pub reload: Option<ReloadReport>,
    /// A generation that the hosts of one database prepare, or have refused.
    pub publication: Option<Publication>,
    /// Why this host can't use the generation that the hosts of its database have.
    pub obstacle: Option<String>,
}

impl ActiveState {
    fn is_last_reload_refused(&self) -> bool {
        self.reload.as_ref().is_some_and(|report| report.outcome == ReloadOutcome::Refused)
    }

    /// Whether an older set is in effect than the files of this host or its database hold: what `/health` says of both.
    fn is_older_in_effect(&self) -> bool {
        self.is_last_reload_refused() || self.obstacle.is_some()
    }

    fn show_refused(&self) {
        metrics::show_refused(self.is_older_in_effect());
    }
}

/// The set was not published: another generation has replaced the one that it was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("another generation of the active set was published in between")]
pub struct OutdatedGeneration;

impl Active {
    /// A holder whose first generation is `set`.
    pub fn new(set: ActiveSet) -> Self {
        metrics::show_set(&set);
        metrics::show_refused(false);
        Self(watch::Sender::new(ActiveState {
            set: Arc::new(set),
            reload: None,
            publication: None,
            obstacle: None,
        }))
    }

    /// The current generation. A turn takes it when it is admitted and keeps it until its end.
    pub fn current(&self) -> Arc<ActiveSet> {
        Arc::clone(&self.0.borrow().set)
    }

    /// The current generation and the last report.
    pub fn state(&self) -> ActiveState {
        self.0.borrow().clone()
    }

    /// Makes `next` the generation after `base` and returns it. Turns that hold `base` keep it. `warnings` go into the
    /// report.
    ///
    /// # Errors
    /// [`OutdatedGeneration`] if `base` is no longer the current generation; then nothing changes.
    pub fn publish(
        &self,
        base: &ActiveSet,
        mut next: ActiveSet,
        warnings: Vec<String>,
    ) -> Result<Arc<ActiveSet>, OutdatedGeneration> {
        next.generation = base.generation + 1;
        self.switch(base, next, warnings)
    }

    /// The same for a set with a number that was given to it elsewhere. It may be that of `base`, if only credentials differ.
    ///
    /// # Errors
    /// As for [`Self::publish`].
    pub fn switch(
        &self,
        base: &ActiveSet,
        next: ActiveSet,
        warnings: Vec<String>,
    ) -> Result<Arc<ActiveSet>, OutdatedGeneration> {
        let next = Arc::new(next);
        let report = ReloadReport::new(ReloadOutcome::Applied, next.generation, warnings);
        let is_published = self.0.send_if_modified(|state| {
            let is_current = std::ptr::eq(Arc::as_ptr(&state.set), base);
            if is_current {
                state.set = Arc::clone(&next);
                state.reload = Some(report);
                state.show_refused();
            }
            is_current
        });
        if !is_published {
            return Err(OutdatedGeneration);
        }
        metrics::show_set(&next);
        metrics::count_activated();
        for (name, plugin) in &base.plugins {
            if next.plugins.get(name).is_none_or(|kept| !Arc::ptr_eq(kept, plugin)) {
                plugin.retire();
            }
        }
        Ok(next)
    }

    /// Shows a generation that hosts prepare together, or was refused by them.
    pub(crate) fn set_publication(&self, publication: Option<Publication>) {
        self.0.send_if_modified(|state| {
            let differs = state.publication != publication;
            state.publication = publication;
            differs
        });
    }

    /// Says why this host can't use the generation that the hosts of its database have, if so.
    pub fn set_obstacle(&self, obstacle: Option<String>) {
        self.0.send_if_modified(|state| {
            let differs = state.obstacle != obstacle;
            state.obstacle = obstacle;
            state.show_refused();
            differs
        });
    }

    /// Why this host should get no requests: it can't prepare the generation that the hosts of its database have.
    pub fn obstacle(&self) -> Option<String> {
        self.0.borrow().obstacle.clone()
    }

    /// Whether the last change of the files was refused, and what was before is in effect.
    pub fn is_last_reload_refused(&self) -> bool {
        self.0.borrow().is_last_reload_refused()
    }

    /// Stores the report of an attempt that made no new generation, and returns the report before it.
    pub fn record(&self, report: ReloadReport) -> Option<ReloadReport> {
        metrics::count_attempt(report.outcome);
        let mut previous = None;
        self.0.send_modify(|state| {
            previous = state.reload.replace(report);
            state.show_refused();
        });
        previous
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn empty_set() -> ActiveSet {
        ActiveSet {
            generation: 1,
            configuration: String::new(),
            companions: BTreeMap::new(),
            names: Arc::default(),
            plugins: BTreeMap::new(),
            redactor: Arc::default(),
        }
    }

    #[test]
    fn whoever_holds_a_generation_keeps_it_when_the_next_one_is_published() {
        let active = Active::new(empty_set());
        let pinned = active.current();
        active.publish(&pinned, empty_set(), Vec::new()).unwrap();
        assert_eq!((pinned.generation, active.current().generation), (1, 2));
    }

    #[test]
    fn the_metric_of_a_refused_configuration_says_what_health_says() {
        let active = Active::new(empty_set());
        let shown = || active.state().is_older_in_effect();
        let record = |outcome| active.record(ReloadReport::new(outcome, 1, Vec::new()));
        assert!(!shown());
        record(ReloadOutcome::Refused);
        assert!(shown() && active.is_last_reload_refused());
        record(ReloadOutcome::Applied);
        assert!(!shown());
        // That the hosts of a database refuse a generation is an attempt, and no problem of the one in use.
        active.set_publication(Some(Publication {
            generation: 2,
            state: crate::publication::PublicationState::Refused,
            problems: Vec::new(),
        }));
        assert!(!shown());
        active.set_obstacle(Some("generation 7 can't be prepared".into()));
        assert!(shown());
        record(ReloadOutcome::Refused);
        active.set_obstacle(None);
        assert!(shown(), "the file is still refused");
        active.switch(&active.current(), empty_set(), Vec::new()).unwrap();
        assert!(!shown());
    }

    #[test]
    fn a_set_made_from_another_than_the_current_generation_is_not_published() {
        let active = Active::new(empty_set());
        let base = active.current();
        active.publish(&base, empty_set(), Vec::new()).unwrap();
        assert_eq!(active.publish(&base, empty_set(), Vec::new()).err(), Some(OutdatedGeneration));
        assert_eq!(active.current().generation, 2);
    }

    #[test]
    fn a_set_with_the_same_number_replaces_the_one_that_it_was_made_from_and_no_other() {
        let active = Active::new(empty_set());
        let base = active.current();
        let next = active.switch(&base, empty_set(), Vec::new()).unwrap();
        assert!(Arc::ptr_eq(&next, &active.current()) && next.generation == base.generation);
        assert_eq!(active.switch(&base, empty_set(), Vec::new()).err(), Some(OutdatedGeneration));
    }
}
