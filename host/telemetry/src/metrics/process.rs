//! The process, its runtime and its log.

use super::family::families;

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
    counter LOG_LINES_DROPPED = "masque_log_lines_dropped_total" ["priority"],
        "Log lines that were dropped since standard error was not read fast enough: `high` (warnings and above) or `normal`.";
}
