//! The process, its runtime and its log.
//!
//! `process_…` (CPU time, memory, descriptors, threads) come from the collector of `prometheus`, which its default registry
//! has by itself.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::{Handle, RuntimeMetrics};

use super::declare::families;
use super::scrape::on_scrape;

families! {
    gauge BUILD = "masque_build_info" ["version"],
        "1, with the version of the program.";
    gauge RUNTIME_WORKERS = "masque_runtime_workers" [],
        "Worker threads of the asynchronous runtime.";
    gauge RUNTIME_TASKS = "masque_runtime_tasks" [],
        "Tasks of the asynchronous runtime that have not ended.";
    gauge RUNTIME_QUEUE = "masque_runtime_queued_tasks" [],
        "Tasks that wait in the queue which all workers share.";
    fractional_counter RUNTIME_BUSY = "masque_runtime_busy_seconds_total" [],
        "Time in which workers of the asynchronous runtime were busy, all workers together.";
    counter LOG_LINES_DROPPED = "masque_log_lines_dropped_total" ["priority"] of [["high", "normal"]],
        "Log lines that were dropped since standard error was not read fast enough: `high` (warnings and above) or `normal`.";
}

/// Begins the families of this module.
pub(crate) fn begin() {
    BUILD.set(&[env!("CARGO_PKG_VERSION")], 1);
    // Without a runtime there is nothing to observe, as in a test.
    if let Ok(runtime) = Handle::try_current() {
        observe_runtime(runtime.metrics());
    }
}

/// Reads the runtime at every scrape. Only what tokio holds stable.
fn observe_runtime(runtime: RuntimeMetrics) {
    let counted = Mutex::new(Duration::ZERO);
    on_scrape(move || {
        RUNTIME_WORKERS.set(&[], whole(runtime.num_workers()));
        RUNTIME_TASKS.set(&[], whole(runtime.num_alive_tasks()));
        RUNTIME_QUEUE.set(&[], whole(runtime.global_queue_depth()));
        let busy: Duration =
            (0..runtime.num_workers()).map(|worker| runtime.worker_total_busy_duration(worker)).sum();
        let mut counted = counted.lock().unwrap_or_else(PoisonError::into_inner);
        // A worker's time never falls, but another scrape may have read it later than this one.
        let new = busy.saturating_sub(*counted);
        *counted = (*counted).max(busy);
        RUNTIME_BUSY.add(&[], new.as_secs_f64());
    });
}

fn whole(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
