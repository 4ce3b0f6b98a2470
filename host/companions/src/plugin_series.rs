//! The series of plugin versions in the metrics of this process: kept while a version is in use, and forgotten some time later.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use masque_telemetry::metrics::plugins::forget;

use crate::series_retention::{PluginVersion, SeriesRetention};

/// One for the process, as its metrics are.
static VERSIONS: LazyLock<Mutex<Versions>> = LazyLock::new(Mutex::default);

#[derive(Default)]
struct Versions {
    retention: SeriesRetention,
    /// Whether a task waits for the next version that is due.
    is_awaited: bool,
}

/// A plugin of this version is in use.
pub(crate) fn keep_series(version: PluginVersion) {
    versions().retention.load(version);
}

/// No turn uses a plugin of this version any more. Its series are forgotten when the time has come: by a task, or with the next
/// generation where none can be started.
pub(crate) fn release_series(version: &PluginVersion) {
    let mut versions = versions();
    versions.retention.unload(version, now());
    if !versions.is_awaited
        && let Ok(runtime) = tokio::runtime::Handle::try_current()
    {
        versions.is_awaited = true;
        runtime.spawn(forget_when_due());
    }
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
    for (plugin, version) in due {
        forget(&plugin, &version);
    }
}

/// By the clock of the timers.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn versions() -> MutexGuard<'static, Versions> {
    VERSIONS.lock().unwrap_or_else(PoisonError::into_inner)
}
