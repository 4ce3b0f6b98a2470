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
