//! When the metrics of a companion, a plugin or its version are forgotten: ten minutes after it was unloaded, unless it is loaded
//! again.
//!
//! The threat: each version and each name that was ever in use leaves its series behind, until a host whose configuration changes
//! all day has no memory left. The policy: something is loaded while any generation in use has it, and is forgotten after a time in
//! which a Prometheus that scrapes once a minute has read its last values several times.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long series are kept after what they are about was unloaded.
pub(crate) const RETENTION: Duration = Duration::from_secs(10 * 60);

/// What series are about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum SeriesSubject {
    /// The companion with this name.
    Companion(String),
    /// The plugin with this name, whatever its version.
    Plugin(String),
    /// A plugin by its name, and its version.
    Version(String, String),
}

/// What has series.
#[derive(Debug, Default)]
pub(crate) struct SeriesRetention {
    subjects: HashMap<SeriesSubject, Kept>,
}

#[derive(Clone, Copy, Debug)]
enum Kept {
    /// By so many generations or plugins, which differ in settings or grants.
    Loaded(u32),
    UnloadedAt(Instant),
}

impl SeriesRetention {
    /// A subject is loaded.
    pub(crate) fn load(&mut self, subject: SeriesSubject) {
        let kept = self.subjects.entry(subject).or_insert(Kept::Loaded(0));
        *kept = match *kept {
            Kept::Loaded(count) => Kept::Loaded(count.saturating_add(1)),
            Kept::UnloadedAt(_) => Kept::Loaded(1),
        };
    }

    /// It is unloaded.
    pub(crate) fn unload(&mut self, subject: &SeriesSubject, now: Instant) {
        if let Some(kept) = self.subjects.get_mut(subject) {
            *kept = match *kept {
                Kept::Loaded(0 | 1) => Kept::UnloadedAt(now),
                Kept::Loaded(count) => Kept::Loaded(count - 1),
                unloaded @ Kept::UnloadedAt(_) => unloaded,
            };
        }
    }

    /// Takes what is to be forgotten now.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<SeriesSubject> {
        let is_due = |kept: &Kept| matches!(*kept, Kept::UnloadedAt(at) if at + RETENTION <= now);
        self.subjects.extract_if(|_, kept| is_due(kept)).map(|(subject, _)| subject).collect()
    }

    /// When the next one is due, if nothing is loaded until then.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let unloaded = self.subjects.values().filter_map(|kept| match *kept {
            Kept::UnloadedAt(at) => Some(at + RETENTION),
            Kept::Loaded(_) => None,
        });
        unloaded.min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(name: &str) -> SeriesSubject {
        SeriesSubject::Version(name.to_owned(), "1.0.0".to_owned())
    }

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
            let version = version("ida");
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
            let version = version(name);
            retention.load(version.clone());
            retention.unload(&version, start + Duration::from_secs(seconds));
        }
        let second = Duration::from_secs(1);
        assert_eq!(retention.next_due(), Some(start + 3 * second + RETENTION));
        assert_eq!(retention.take_due(start + 3 * second + RETENTION), [version("a")]);
        assert_eq!(retention.next_due(), Some(start + 5 * second + RETENTION));
    }
}
