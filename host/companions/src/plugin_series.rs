//! The series of companions, plugins and their versions in the metrics of this process: kept while these are in use, and forgotten
//! some time later.

use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use masque_telemetry::metrics::forget_name;
use masque_telemetry::metrics::plugins::forget;

use crate::series_retention::{SeriesRetention, SeriesSubject};

/// One for the process, as its metrics are.
pub(crate) static PLUGIN_SERIES: LazyLock<Arc<PluginSeries>> = LazyLock::new(Arc::default);

/// The versions that have series.
#[derive(Default)]
pub(crate) struct PluginSeries(Mutex<Versions>);

#[derive(Default)]
struct Versions {
    retention: SeriesRetention,
    /// Whether a task waits for the next version that is due.
    is_awaited: bool,
}

impl PluginSeries {
    /// A companion, plugin or version is in use, until the returned value is dropped. `begin` makes the series that are there
    /// before their first event.
    pub(crate) fn keep(self: &Arc<Self>, subject: SeriesSubject, begin: impl FnOnce()) -> KeptSeries {
        let mut versions = self.versions();
        versions.retention.load(subject.clone());
        // Under the lock: series of an earlier use are not forgotten afterwards.
        begin();
        drop(versions);
        KeptSeries { series: Arc::clone(self), subject }
    }

    /// The subject is no longer in use. Its series are forgotten when the time has come: by a task, or with the next generation
    /// where none can be started.
    fn release(self: &Arc<Self>, subject: &SeriesSubject) {
        let mut versions = self.versions();
        versions.retention.unload(subject, now());
        if !versions.is_awaited
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            versions.is_awaited = true;
            runtime.spawn(Arc::clone(self).forget_when_due());
        }
    }

    /// Ends when nothing is due. If its runtime ends before, the next generation forgets what is due.
    async fn forget_when_due(self: Arc<Self>) {
        loop {
            let due = {
                let mut versions = self.versions();
                let due = versions.retention.next_due();
                versions.is_awaited = due.is_some();
                due
            };
            let Some(due) = due else { return };
            tokio::time::sleep_until(due.into()).await;
            self.forget_due();
        }
    }

    /// Forgets what is due.
    pub(crate) fn forget_due(&self) {
        let mut versions = self.versions();
        for subject in versions.retention.take_due(now()) {
            match subject {
                SeriesSubject::Companion(name) => forget_name("companion", &name),
                SeriesSubject::Plugin(name) => {
                    ["plugin", "model"].into_iter().for_each(|label| forget_name(label, &name));
                }
                SeriesSubject::Version(plugin, version) => forget(&plugin, &version),
            }
        }
    }

    fn versions(&self) -> MutexGuard<'_, Versions> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps the series of a companion or plugin while it lives.
pub(crate) struct KeptSeries {
    series: Arc<PluginSeries>,
    subject: SeriesSubject,
}

impl fmt::Debug for KeptSeries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeptSeries").field(&self.subject).finish()
    }
}

impl Drop for KeptSeries {
    fn drop(&mut self) {
        self.series.release(&self.subject);
    }
}

/// Something is counted of a companion that no generation in use may have any more, such as the end of a turn whose companion was
/// removed. Its series are forgotten as if it had been in use until now.
pub fn count_last_of_companion(name: &str) {
    drop(PLUGIN_SERIES.keep(SeriesSubject::Companion(name.to_owned()), || ()));
}

/// The same for a plugin, such as one that a background job is for.
pub fn count_last_of_plugin(name: &str) {
    drop(PLUGIN_SERIES.keep(SeriesSubject::Plugin(name.to_owned()), || ()));
}

/// By the clock of the timers.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use masque_telemetry::metrics::encode;
    use masque_telemetry::metrics::plugins::{CALL_DURATION, CALLS};
    use masque_telemetry::metrics::turns::{MODEL_CALLS, RECALLS, TURNS};
    use tokio::time::sleep;

    use super::*;
    use crate::series_retention::RETENTION;

    const SECOND: Duration = Duration::from_secs(1);

    /// The series of a plugin at `/metrics`.
    fn count_series(plugin: &str) -> usize {
        let label = format!("plugin=\"{plugin}\"");
        encode(None).body.lines().filter(|line| line.contains(&label)).count()
    }

    fn use_version(series: &Arc<PluginSeries>, plugin: &str, number: u32) -> KeptSeries {
        let version = format!("1.0.{number}");
        series.keep(SeriesSubject::Version(plugin.to_owned(), version.clone()), || {
            CALLS.increment(&[plugin, &version, "compose", "ok"]);
            CALL_DURATION.observe(&[plugin, &version, "compose"], 0.1);
        })
    }

    /// With the clock paused, time passes when the test and the task that forgets both wait.
    #[tokio::test(start_paused = true)]
    async fn after_a_thousand_replacements_there_are_as_many_series_as_before() {
        let series = Arc::new(PluginSeries::default());
        let mut current = use_version(&series, "replaced", 0);
        let before = count_series("replaced");
        assert!(before > 0);
        for number in 1..=1000 {
            let next = use_version(&series, "replaced", number);
            drop(std::mem::replace(&mut current, next));
            assert!(count_series("replaced") > before);
            sleep(10 * SECOND).await;
        }
        // The loaded version, and those of the last ten minutes.
        let kept = count_series("replaced") / before;
        assert!((60..=62).contains(&kept), "{kept} versions have series");
        sleep(RETENTION).await;
        assert_eq!(count_series("replaced"), before);
    }

    #[tokio::test(start_paused = true)]
    async fn a_version_that_is_loaded_again_in_time_keeps_its_series_and_goes_after_its_last_use() {
        let series = Arc::new(PluginSeries::default());
        let version = use_version(&series, "returning", 0);
        let before = count_series("returning");
        drop(version);
        sleep(RETENTION - SECOND).await;
        assert_eq!(count_series("returning"), before);
        let version = use_version(&series, "returning", 0);
        sleep(2 * RETENTION).await;
        assert_eq!(count_series("returning"), before);

        // The task has ended, since nothing was due, and begins again.
        assert!(!series.versions().is_awaited);
        drop(version);
        sleep(RETENTION - SECOND).await;
        assert_eq!(count_series("returning"), before);
        sleep(2 * SECOND).await;
        assert_eq!(count_series("returning"), 0);
    }

    #[test]
    fn without_a_runtime_the_next_generation_forgets_what_is_due() {
        let series = Arc::new(PluginSeries::default());
        let version = use_version(&series, "left", 0);
        drop(version);
        series.forget_due();
        assert!(count_series("left") > 0);
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time().start_paused(true);
        runtime.build().unwrap().block_on(async {
            sleep(RETENTION + 2 * SECOND).await;
            series.forget_due();
        });
        assert_eq!(count_series("left"), 0);
    }

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
            .map(|subject| PLUGIN_SERIES.keep(subject, || ()))
            .collect();
        tokio::time::sleep(2 * RETENTION).await;
        PLUGIN_SERIES.forget_due();
        let names = plugins.into_iter().chain(["removed-companion"]);
        assert!(names.clone().all(has_series_of), "they are in use");
        drop(kept);
        tokio::time::sleep(RETENTION / 2).await;
        PLUGIN_SERIES.forget_due();
        assert!(names.clone().all(has_series_of), "Prometheus has not read the last values yet");
        tokio::time::sleep(RETENTION).await;
        PLUGIN_SERIES.forget_due();
        for name in names {
            assert!(!has_series_of(name), "{name}");
        }
        count_last_of_companion("removed-companion");
        TURNS.increment(&["removed-companion", "failed"]);
        tokio::time::sleep(2 * RETENTION).await;
        PLUGIN_SERIES.forget_due();
        assert!(!has_series_of("removed-companion"), "it was counted once more");
    }
}
