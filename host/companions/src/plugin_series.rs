//! The series of companions, plugins and their versions in the metrics of this process: kept while these are in use, and forgotten
//! some time later.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use masque_telemetry::metrics::forget_name;
use masque_telemetry::metrics::plugins::forget;

use crate::series_retention::{SeriesRetention, SeriesSubject};

/// One for the process, as its metrics are.
static VERSIONS: LazyLock<Mutex<Versions>> = LazyLock::new(Mutex::default);

#[derive(Default)]
struct Versions {
    retention: SeriesRetention,
    /// Whether a task waits for the next version that is due.
    is_awaited: bool,
}

/// Keeps the series of a companion or plugin while it lives. They are forgotten when their time has come: by a task, or with the
/// next generation where none can be started.
#[derive(Debug)]
pub(crate) struct KeptSeries(SeriesSubject);

impl KeptSeries {
    /// The subject is in use.
    pub(crate) fn of(subject: SeriesSubject) -> Self {
        versions().retention.load(subject.clone());
        Self(subject)
    }
}

impl Drop for KeptSeries {
    fn drop(&mut self) {
        let mut versions = versions();
        versions.retention.unload(&self.0, now());
        if !versions.is_awaited
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            versions.is_awaited = true;
            runtime.spawn(forget_when_due());
        }
    }
}

/// Something is counted of a companion that no generation in use may have any more, such as the end of a turn whose companion was
/// removed. Its series are forgotten as if it had been in use until now.
pub fn count_last_of_companion(name: &str) {
    drop(KeptSeries::of(SeriesSubject::Companion(name.to_owned())));
}

/// The same for a plugin, such as one that a background job is for.
pub fn count_last_of_plugin(name: &str) {
    drop(KeptSeries::of(SeriesSubject::Plugin(name.to_owned())));
}

/// Ends when no version is due. If its runtime ends before, the next generation forgets what is due.
async fn forget_when_due() {
    loop {
        let due = {
            let mut versions = versions();
            let due = versions.retention.next_due();
            versions.is_awaited = due.is_some();
            due
        };
        let Some(due) = due else { return };
        tokio::time::sleep_until(due.into()).await;
        forget_due_series();
    }
}

/// Forgets what is due.
pub(crate) fn forget_due_series() {
    let due = versions().retention.take_due(now());
    for subject in due {
        match subject {
            SeriesSubject::Companion(name) => forget_name("companion", &name),
            SeriesSubject::Plugin(name) => {
                ["plugin", "model"].into_iter().for_each(|label| forget_name(label, &name))
            }
            SeriesSubject::Version(plugin, version) => forget(&plugin, &version),
        }
    }
}

/// By the clock of the timers.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn versions() -> MutexGuard<'static, Versions> {
    VERSIONS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use masque_telemetry::metrics::encode;
    use masque_telemetry::metrics::turns::{MODEL_CALLS, RECALLS, TURNS};

    use super::*;
    use crate::series_retention::RETENTION;

    fn has_series_of(name: &str) -> bool {
        encode(None).body.contains(&format!("=\"{name}\""))
    }

    #[tokio::test(start_paused = true)]
    async fn the_series_of_a_companion_and_of_plugins_go_ten_minutes_after_no_generation_has_them() {
        TURNS.increment(&["removed-companion", "completed"]);
        RECALLS.increment(&["removed-memory", "ok"]);
        MODEL_CALLS.increment(&["stays-companion", "removed-asker", "stays-model", "ok"]);
        MODEL_CALLS.increment(&["stays-companion", "stays-model", "removed-model", "ok"]);
        let plugins = ["removed-memory", "removed-asker", "removed-model"];
        let kept: Vec<_> = plugins
            .map(|name| SeriesSubject::Plugin(name.to_owned()))
            .into_iter()
            .chain([SeriesSubject::Companion("removed-companion".to_owned())])
            .map(KeptSeries::of)
            .collect();
        tokio::time::sleep(2 * RETENTION).await;
        forget_due_series();
        let names = plugins.into_iter().chain(["removed-companion"]);
        assert!(names.clone().all(has_series_of), "they are in use");
        drop(kept);
        tokio::time::sleep(RETENTION / 2).await;
        forget_due_series();
        assert!(names.clone().all(has_series_of), "Prometheus has not read the last values yet");
        tokio::time::sleep(RETENTION).await;
        forget_due_series();
        for name in names {
            assert!(!has_series_of(name), "{name}");
        }
        count_last_of_companion("removed-companion");
        TURNS.increment(&["removed-companion", "failed"]);
        tokio::time::sleep(2 * RETENTION).await;
        forget_due_series();
        assert!(!has_series_of("removed-companion"), "it was counted once more");
    }
}
