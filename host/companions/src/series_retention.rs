//! When the metrics of a plugin's version are forgotten: ten minutes after it was unloaded, unless it is loaded again.
//!
//! The threat: each version that was ever in use leaves its series behind, until a host that replaces plugins all day has no
//! memory left. The policy: a version is loaded while any generation in use has it, and is forgotten after a time in which a
//! Prometheus that scrapes once a minute has read its last values several times.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long the series of a version are kept after it was unloaded.
pub(crate) const RETENTION: Duration = Duration::from_secs(10 * 60);

/// A plugin by its name, and its version.
pub(crate) type PluginVersion = (String, String);

/// The versions that have series.
#[derive(Debug, Default)]
pub(crate) struct SeriesRetention {
    versions: HashMap<PluginVersion, Kept>,
}

#[derive(Clone, Copy, Debug)]
enum Kept {
    /// By so many plugins, which differ in settings or grants.
    Loaded(u32),
    UnloadedAt(Instant),
}

impl SeriesRetention {
    /// A plugin of this version is loaded.
    pub(crate) fn load(&mut self, version: PluginVersion) {
        let kept = self.versions.entry(version).or_insert(Kept::Loaded(0));
        *kept = match *kept {
            Kept::Loaded(count) => Kept::Loaded(count.saturating_add(1)),
            Kept::UnloadedAt(_) => Kept::Loaded(1),
        };
    }

    /// A plugin of this version is unloaded.
    pub(crate) fn unload(&mut self, version: &PluginVersion, now: Instant) {
        if let Some(kept) = self.versions.get_mut(version) {
            *kept = match *kept {
                Kept::Loaded(0 | 1) => Kept::UnloadedAt(now),
                Kept::Loaded(count) => Kept::Loaded(count - 1),
                unloaded @ Kept::UnloadedAt(_) => unloaded,
            };
        }
    }

    /// Takes the versions that are to be forgotten now.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<PluginVersion> {
        let is_due = |kept: &Kept| matches!(*kept, Kept::UnloadedAt(at) if at + RETENTION <= now);
        self.versions.extract_if(|_, kept| is_due(kept)).map(|(version, _)| version).collect()
    }

    /// When the next version is due, if nothing is loaded until then.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let unloaded = self.versions.values().filter_map(|kept| match *kept {
            Kept::UnloadedAt(at) => Some(at + RETENTION),
            Kept::Loaded(_) => None,
        });
        unloaded.min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What happens to the version `ida 1.0.0`, and what is forgotten at that minute.
    enum Step {
        Load,
        Unload,
        Due(usize),
    }

    #[test]
    fn a_version_is_forgotten_ten_minutes_after_its_last_plugin_was_unloaded() {
        use Step::{Due, Load, Unload};
        let start = Instant::now();
        let minute = |minutes: u64| start + Duration::from_secs(60 * minutes);
        for (case, steps) in [
            ("unloaded", &[(0, Load), (1, Unload), (10, Due(0)), (11, Due(1)), (30, Due(0))][..]),
            ("still loaded", &[(0, Load), (60, Due(0))]),
            ("back in time", &[(0, Load), (1, Unload), (10, Load), (60, Due(0)), (61, Unload), (71, Due(1))]),
            (
                "other settings",
                &[(0, Load), (1, Load), (2, Unload), (30, Due(0)), (31, Unload), (41, Due(1))],
            ),
            ("back too late", &[(0, Load), (1, Unload), (11, Due(1)), (12, Load), (60, Due(0))]),
            ("never loaded", &[(0, Unload), (60, Due(0))]),
        ] {
            let mut retention = SeriesRetention::default();
            let version = ("ida".to_owned(), "1.0.0".to_owned());
            for (at, step) in steps {
                match step {
                    Load => retention.load(version.clone()),
                    Unload => retention.unload(&version, minute(*at)),
                    Due(expected) => {
                        assert_eq!(retention.take_due(minute(*at)).len(), *expected, "{case}, minute {at}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_version_that_was_unloaded_first_is_due_next() {
        let start = Instant::now();
        let mut retention = SeriesRetention::default();
        for (seconds, name) in [(5, "b"), (3, "a"), (9, "c")] {
            let version = (name.to_owned(), "1.0.0".to_owned());
            retention.load(version.clone());
            retention.unload(&version, start + Duration::from_secs(seconds));
        }
        let second = Duration::from_secs(1);
        assert_eq!(retention.next_due(), Some(start + 3 * second + RETENTION));
        assert_eq!(retention.take_due(start + 3 * second + RETENTION), [("a".into(), "1.0.0".into())]);
        assert_eq!(retention.next_due(), Some(start + 5 * second + RETENTION));
    }
}
