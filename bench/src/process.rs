//! Reads the processor time and the memory of a process from the kernel.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

/// Ticks per second of the kernel's processor time. The value is the same on every architecture of Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// Returns the processor time of the process and its threads, in seconds, without its children.
pub(crate) fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name of the process may contain spaces, so count the fields from the parenthesis behind it.
    let (_, fields) = stat.rsplit_once(')').context("no process")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
    Ok(ticks.sum::<Result<f64, _>>()? / TICKS_PER_SECOND)
}

/// Returns the processor time of the process, of its children, and of those that have ended, in seconds.
pub(crate) fn family_cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let mut ticks = 0.0;
    for entry in std::fs::read_dir("/proc")? {
        let Ok(id) = entry?.file_name().to_string_lossy().parse::<u32>() else { continue };
        // A process that has ended meanwhile is in the time of its parent.
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{id}/stat")) else { continue };
        let Some((_, fields)) = stat.rsplit_once(')') else { continue };
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let is_child = fields.get(1).is_some_and(|parent| *parent == pid.to_string());
        // The process itself has the time of the children that have ended, too.
        let counted = if id == pid { 11..15 } else { 11..13 };
        if id == pid || is_child {
            let times = fields.get(counted).unwrap_or_default().iter().map(|time| time.parse::<f64>());
            ticks += times.sum::<Result<f64, _>>()?;
        }
    }
    Ok(ticks / TICKS_PER_SECOND)
}

/// Waits until the process uses at most 10 ms of processor time in 250 ms.
pub(crate) async fn wait_until_idle(pid: u32) -> anyhow::Result<()> {
    const INTERVAL: Duration = Duration::from_millis(250);
    const TIMEOUT: Duration = Duration::from_secs(60);
    let begun = Instant::now();
    let mut before = cpu_seconds(pid)?;
    loop {
        tokio::time::sleep(INTERVAL).await;
        let after = cpu_seconds(pid)?;
        // The kernel counts in steps of 10 ms.
        if after - before < 1.5 / TICKS_PER_SECOND {
            return Ok(());
        }
        ensure!(begun.elapsed() < TIMEOUT, "a host goes on working a minute after its last turn");
        before = after;
    }
}

/// Returns the proportional set size in bytes: the resident memory, with each shared page divided among its processes.
pub(crate) fn memory_bytes(pid: u32) -> anyhow::Result<f64> {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).context("no memory is counted")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse::<f64>()? * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_children_counts_also_once_they_have_ended() {
        let work = || {
            let script = "i=0; while [ $i -lt 300000 ]; do i=$((i + 1)); done; cat";
            let mut command = std::process::Command::new("sh");
            command.args(["-c", script]).stdin(std::process::Stdio::piped()).spawn().unwrap()
        };
        let own = std::process::id();
        let before = family_cpu_seconds(own).unwrap() - cpu_seconds(own).unwrap();
        let mut child = work();
        let since = || family_cpu_seconds(own).unwrap() - cpu_seconds(own).unwrap() - before;
        while since() < 0.05 {
            std::thread::sleep(Duration::from_millis(5));
        }
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(since() >= 0.03, "{}", since());
    }

    #[test]
    fn a_process_that_works_uses_time_and_memory() {
        let pid = std::process::id();
        let before = cpu_seconds(pid).unwrap();
        let mut sum = 0_u64;
        while cpu_seconds(pid).unwrap() < before + 0.02 {
            sum = (0..1_000_000_u64).fold(sum, |sum, next| sum ^ next.rotate_left(7));
        }
        assert!(std::hint::black_box(sum) < u64::MAX);
        assert!(memory_bytes(pid).unwrap() > 1e6);
    }
}
