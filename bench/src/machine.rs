//! Describes the machine that the figures were measured on.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use masque_runtime::SandboxConfig;
use serde::Serialize;

/// The machine at the beginning of a run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_gib: f64,
    pub(crate) kernel: String,
    /// The time of `fdatasync` after a write of 4 KiB, in microseconds: the median of 100.
    pub(crate) fdatasync_us: f64,
    /// The interval at which guests can be interrupted, in milliseconds.
    pub(crate) epoch_tick_ms: u64,
    pub(crate) commit: String,
    pub(crate) host: String,
    pub(crate) rustc: String,
    pub(crate) wasmtime: String,
    /// The load average of the last minute, before anything is started.
    pub(crate) load: f64,
}

impl Machine {
    /// Inspects the machine. `out` is a folder on the disk that will hold the host's data.
    pub(crate) fn inspect(bin: &Path, out: &Path) -> anyhow::Result<Self> {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
        let processor = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
        let meminfo = fs::read_to_string("/proc/meminfo")?;
        let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap_or_default();
        Ok(Self {
            processor: processor.trim_start_matches([' ', '\t', ':']).to_owned(),
            cores: std::thread::available_parallelism()?.get(),
            memory_gib: total.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or_default() / 1048576.0,
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            fdatasync_us: measure_fdatasync(out)?,
            epoch_tick_ms: u64::try_from(SandboxConfig::default().tick.as_millis())?,
            commit: output_of("git", &["describe", "--always", "--dirty"]),
            host: output_of(&bin.display().to_string(), &["--version"]),
            rustc: output_of("rustc", &["--version"]),
            wasmtime: wasmtime_version(),
            load: load()?,
        })
    }
}

/// Returns the load average of the last minute.
pub(crate) fn load() -> anyhow::Result<f64> {
    let text = fs::read_to_string("/proc/loadavg")?;
    Ok(text.split_whitespace().next().unwrap_or_default().parse()?)
}

/// Returns the version of wasmtime that the host embeds.
pub(crate) fn wasmtime_version() -> String {
    let lock = fs::read_to_string("Cargo.lock").unwrap_or_default();
    let after = lock.split("name = \"wasmtime\"\nversion = \"").nth(1);
    after.and_then(|rest| rest.split('"').next()).unwrap_or_default().to_owned()
}

fn measure_fdatasync(folder: &Path) -> anyhow::Result<f64> {
    let path = folder.join("fdatasync");
    let mut file = File::create(&path)?;
    let mut times = Vec::new();
    for _ in 0..100 {
        file.write_all(&[0; 4096])?;
        let begun = Instant::now();
        file.sync_data()?;
        times.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    fs::remove_file(path)?;
    times.sort_by(f64::total_cmp);
    Ok(times.get(times.len() / 2).copied().unwrap_or_default())
}

/// Returns what a program prints, or an empty text if it can't be run.
fn output_of(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}
