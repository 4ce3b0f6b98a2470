//! What a process uses, as the kernel counts it.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

/// Linux counts processor time in ticks of this many a second on every architecture that it has.
const TICKS: f64 = 100.0;

/// Processor time of the process and of its threads, in seconds; of children it does not know.
pub(crate) fn cpu(pid: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name may have spaces; fields are counted from behind it.
    let (_, fields) = stat.rsplit_once(')').context("no process")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
    Ok(ticks.sum::<Result<f64, _>>()? / TICKS)
}

/// Waits until the process has hardly anything left to do: no more than a hundredth of a second in a quarter of one.
pub(crate) async fn quiet(pid: u32) -> anyhow::Result<()> {
    const LOOK: Duration = Duration::from_millis(250);
    const LONGEST: Duration = Duration::from_secs(60);
    let begun = Instant::now();
    let mut before = cpu(pid)?;
    loop {
        tokio::time::sleep(LOOK).await;
        let after = cpu(pid)?;
        // The kernel's clock has steps of 10 ms.
        if after - before < 1.5 / TICKS {
            return Ok(());
        }
        ensure!(begun.elapsed() < LONGEST, "a host goes on working a minute after its last turn");
        before = after;
    }
}

/// Resident memory, in bytes, each shared page counted by its share.
pub(crate) fn memory(pid: u32) -> anyhow::Result<f64> {
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
        let before = cpu(pid).unwrap();
        let mut sum = 0_u64;
        while cpu(pid).unwrap() < before + 0.02 {
            sum = (0..1_000_000_u64).fold(sum, |sum, next| sum ^ next.rotate_left(7));
        }
        assert!(std::hint::black_box(sum) < u64::MAX);
        assert!(memory(pid).unwrap() > 1e6);
    }
}
