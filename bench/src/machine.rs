//! The machine that figures were measured on, without which they mean little.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use masque_runtime::SandboxConfig;
use serde::Serialize;

/// As it is at the beginning of a run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_gib: f64,
    pub(crate) kernel: String,
    /// What the disk takes to keep a small write, in microseconds: the median of a hundred.
    pub(crate) fdatasync_us: f64,
    /// The interval at which guests can be interrupted, in milliseconds.
    pub(crate) epoch_tick_ms: u64,
    pub(crate) commit: String,
    pub(crate) host: String,
    pub(crate) rustc: String,
    pub(crate) wasmtime: String,
    /// Of the last minute, before anything is started.
    pub(crate) load: f64,
}

impl Machine {
    /// `out` is where the host's data will be.
    pub(crate) fn look(bin: &Path, out: &Path) -> anyhow::Result<Self> {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
        let processor = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
        let meminfo = fs::read_to_string("/proc/meminfo")?;
        let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap_or_default();
        Ok(Self {
            processor: processor.trim_start_matches([' ', '\t', ':']).to_owned(),
            cores: std::thread::available_parallelism()?.get(),
            memory_gib: total.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or_default() / 1048576.0,
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            fdatasync_us: fdatasync(out)?,
            epoch_tick_ms: u64::try_from(SandboxConfig::default().tick.as_millis())?,
            commit: said("git", &["describe", "--always", "--dirty"]),
            host: said(&bin.display().to_string(), &["--version"]),
            rustc: said("rustc", &["--version"]),
            wasmtime: wasmtime(),
            load: load()?,
        })
    }
}

/// The load of the last minute.
pub(crate) fn load() -> anyhow::Result<f64> {
    let text = fs::read_to_string("/proc/loadavg")?;
    Ok(text.split_whitespace().next().unwrap_or_default().parse()?)
}

/// The version that the host embeds.
pub(crate) fn wasmtime() -> String {
    let lock = fs::read_to_string("Cargo.lock").unwrap_or_default();
    let after = lock.split("name = \"wasmtime\"\nversion = \"").nth(1);
    after.and_then(|rest| rest.split('"').next()).unwrap_or_default().to_owned()
}

fn fdatasync(folder: &Path) -> anyhow::Result<f64> {
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

fn said(program: &str, words: &[&str]) -> String {
    let output = Command::new(program).args(words).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}
