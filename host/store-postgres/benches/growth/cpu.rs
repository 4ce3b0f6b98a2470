//! The CPU time of processes, from `/proc`.

use std::time::Duration;

/// The length of a tick of `/proc/PID/stat` on Linux.
const TICK: Duration = Duration::from_millis(10);

/// The CPU time of this process so far.
pub(crate) fn of_this_process() -> Duration {
    stat("self").map(|(_, time)| time).unwrap_or_default()
}

/// The CPU time of the processes that this one started, so far. Those that have ended count for nothing.
pub(crate) fn of_children(parent: u32) -> Duration {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let times = processes.filter_map(|entry| stat(entry.file_name().to_str()?));
    times.filter(|(of, _)| *of == parent).map(|(_, time)| time).sum()
}

/// The parent of a process, and its time.
fn stat(process: &str) -> Option<(u32, Duration)> {
    let line = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name before it may have spaces.
    let (_, rest) = line.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let ticks: u32 = fields.get(11)?.parse::<u32>().ok()? + fields.get(12)?.parse::<u32>().ok()?;
    Some((fields.get(1)?.parse().ok()?, TICK * ticks))
}
