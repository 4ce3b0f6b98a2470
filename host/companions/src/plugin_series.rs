//! The series of plugin versions in the metrics of this process: kept while a version is in use, and forgotten some time later.

use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use masque_telemetry::metrics::plugins::forget;

use crate::series_retention::{PluginVersion, SeriesRetention};

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
    /// A plugin of this version is in use. `begin` makes the series that are there before their first event.
    pub(crate) fn keep(&self, version: PluginVersion, begin: impl FnOnce()) {
        let mut versions = self.versions();
        versions.retention.load(version);
        // Under the lock: series of an earlier use of the version are not forgotten afterwards.
        begin();
    }

    /// No turn uses a plugin of this version any more. Its series are forgotten when the time has come: by a task, or with the
    /// next generation where none can be started.
    pub(crate) fn release(self: &Arc<Self>, version: &PluginVersion) {
        let mut versions = self.versions();
        versions.retention.unload(version, now());
        if !versions.is_awaited
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            versions.is_awaited = true;
            runtime.spawn(Arc::clone(self).forget_when_due());
        }
    }

    /// Ends when no version is due. If its runtime ends before, the next generation forgets what is due.
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
        for (plugin, version) in versions.retention.take_due(now()) {
            forget(&plugin, &version);
        }
    }

    fn versions(&self) -> MutexGuard<'_, Versions> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
    use tokio::time::sleep;

    use super::*;
    use crate::series_retention::RETENTION;

    const SECOND: Duration = Duration::from_secs(1);

    /// The series of a plugin at `/metrics`.
    fn count_series(plugin: &str) -> usize {
        let label = format!("plugin=\"{plugin}\"");
        encode(None).body.lines().filter(|line| line.contains(&label)).count()
    }

    fn use_version(series: &PluginSeries, plugin: &str, number: u32) -> PluginVersion {
        let version = (plugin.to_owned(), format!("1.0.{number}"));
        series.keep(version.clone(), || {
            CALLS.increment(&[plugin, &version.1, "compose", "ok"]);
            CALL_DURATION.observe(&[plugin, &version.1, "compose"], 0.1);
        });
        version
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
            series.release(&current);
            current = next;
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
        series.release(&version);
        sleep(RETENTION - SECOND).await;
        assert_eq!(count_series("returning"), before);
        use_version(&series, "returning", 0);
        sleep(2 * RETENTION).await;
        assert_eq!(count_series("returning"), before);

        // The task has ended, since nothing was due, and begins again.
        assert!(!series.versions().is_awaited);
        series.release(&version);
        sleep(RETENTION - SECOND).await;
        assert_eq!(count_series("returning"), before);
        sleep(2 * SECOND).await;
        assert_eq!(count_series("returning"), 0);
    }

    #[test]
    fn without_a_runtime_the_next_generation_forgets_what_is_due() {
        let series = Arc::new(PluginSeries::default());
        let version = use_version(&series, "left", 0);
        series.release(&version);
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
}
