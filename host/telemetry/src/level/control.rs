//! Changes the level of a running log, and returns to the configured one.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tracing_subscriber::EnvFilter;

use super::filter::{InvalidLevel, parse};
use crate::targets::LOG;

/// What the log lets through now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LevelState {
    /// The directives in effect.
    pub level: String,
    /// The directives of the configuration.
    pub configured: String,
    /// When those of the configuration are in effect again; `None` if they are.
    pub until: Option<SystemTime>,
}

/// Changes what a log lets through.
pub(crate) struct LevelControl {
    apply: Box<dyn Fn(EnvFilter) + Send + Sync>,
    state: Mutex<Levels>,
}

struct Levels {
    configured: String,
    temporary: Option<Temporary>,
    /// Tells one temporary level from the next.
    changes: u64,
}

struct Temporary {
    level: String,
    until: SystemTime,
}

impl LevelControl {
    pub(crate) fn new(configured: &str, apply: Box<dyn Fn(EnvFilter) + Send + Sync>) -> Self {
        let levels = Levels { configured: configured.to_owned(), temporary: None, changes: 0 };
        Self { apply, state: Mutex::new(levels) }
    }

    fn lock(&self) -> MutexGuard<'_, Levels> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn state(&self) -> LevelState {
        let levels = self.lock();
        let configured = levels.configured.clone();
        match &levels.temporary {
            Some(Temporary { level, until }) => {
                LevelState { level: level.clone(), configured, until: Some(*until) }
            }
            None => LevelState { level: configured.clone(), configured, until: None },
        }
    }

    /// Returns whether the configuration says something else than before.
    pub(crate) fn follow(&self, configured: &str) -> Result<bool, InvalidLevel> {
        let filter = parse(configured)?;
        let mut levels = self.lock();
        if levels.configured == configured {
            return Ok(false);
        }
        configured.clone_into(&mut levels.configured);
        if levels.temporary.is_none() {
            (self.apply)(filter);
        }
        Ok(true)
    }

    /// Returns the number with which [`Self::end`] ends it.
    pub(crate) fn begin(&self, level: &str, until: SystemTime) -> Result<u64, InvalidLevel> {
        let filter = parse(level)?;
        let mut levels = self.lock();
        (self.apply)(filter);
        levels.temporary = Some(Temporary { level: level.to_owned(), until });
        levels.changes += 1;
        Ok(levels.changes)
    }

    /// Returns to the configured level, unless another temporary one has begun since.
    pub(crate) fn end(&self, change: u64) {
        let mut levels = self.lock();
        if levels.changes != change || levels.temporary.is_none() {
            return;
        }
        levels.temporary = None;
        if let Ok(filter) = parse(&levels.configured) {
            (self.apply)(filter);
        }
        let level = levels.configured.clone();
        drop(levels);
        tracing::warn!(target: LOG, level, "the configured log level is in effect again");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::UNIX_EPOCH;

    use super::*;

    /// A control, and the filters that it applied.
    fn control(configured: &str) -> (LevelControl, Arc<Mutex<Vec<String>>>) {
        let applied = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&applied);
        let apply = move |filter: EnvFilter| seen.lock().unwrap().push(filter.to_string());
        (LevelControl::new(configured, Box::new(apply)), applied)
    }

    fn levels(applied: &Mutex<Vec<String>>) -> Vec<&'static str> {
        let applied = applied.lock().unwrap();
        let level = |filter: &String| {
            ["debug", "trace", "error"].into_iter().find(|level| filter.contains(level)).unwrap_or("info")
        };
        applied.iter().map(level).collect()
    }

    #[test]
    fn a_temporary_level_ends_with_the_configured_one() {
        let (control, applied) = control("info");
        let until = UNIX_EPOCH;
        let change = control.begin("debug", until).unwrap();
        let during = control.state();
        assert_eq!((during.level.as_str(), during.configured.as_str()), ("debug", "info"));
        assert_eq!(during.until, Some(until));
        control.end(change);
        control.end(change);
        assert_eq!(
            control.state(),
            LevelState { level: "info".into(), configured: "info".into(), until: None }
        );
        assert_eq!(levels(&applied), ["debug", "info"]);
    }

    #[test]
    fn a_level_that_was_replaced_does_not_end_the_one_after_it() {
        let (control, applied) = control("info");
        let first = control.begin("debug", UNIX_EPOCH).unwrap();
        let second = control.begin("trace", UNIX_EPOCH).unwrap();
        control.end(first);
        assert_eq!(control.state().level, "trace");
        control.end(second);
        assert_eq!(levels(&applied), ["debug", "trace", "info"]);
    }

    #[test]
    fn a_configuration_that_changes_meanwhile_is_in_effect_afterwards() {
        let (control, applied) = control("info");
        let change = control.begin("debug", UNIX_EPOCH).unwrap();
        assert_eq!(control.follow("error"), Ok(true));
        assert_eq!(control.follow("error"), Ok(false));
        assert_eq!(control.state().level, "debug");
        control.end(change);
        assert_eq!(control.follow("trace"), Ok(true));
        assert_eq!(levels(&applied), ["debug", "error", "trace"]);
    }

    #[test]
    fn directives_that_are_none_change_nothing() {
        let (control, applied) = control("info");
        assert!(control.begin("loud", UNIX_EPOCH).is_err());
        assert!(control.follow("loud").is_err());
        assert_eq!(control.state().level, "info");
        assert_eq!(levels(&applied), [""; 0]);
    }
}
