//! `cargo xtask fuzz`: fuzzes the code that reads untrusted bytes.

use std::fs;
use std::process::{ExitCode, Stdio};

use anyhow::{Context, bail};

use crate::needs;
use crate::output::{print, print_error};
use crate::workspace::{Workspace, run as run_command};

/// The programs in `fuzz/fuzz_targets`; each has seeds in `fuzz/corpus`.
const TARGETS: [&str; 5] = ["component", "configuration", "events", "settings", "upstream"];

pub(crate) struct Options {
    seconds: u32,
    targets: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { seconds: 60, targets: TARGETS.map(str::to_owned).into() }
    }
}

impl Options {
    pub(crate) fn parse(arguments: &[String]) -> anyhow::Result<Self> {
        let mut options = Self::default();
        let mut targets = Vec::new();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--seconds" => {
                    let seconds = arguments.next().context("--seconds takes a number")?;
                    options.seconds = seconds.parse().with_context(|| format!("--seconds {seconds}"))?;
                }
                target if TARGETS.contains(&target) => targets.push(target.to_owned()),
                other => {
                    bail!("`cargo xtask fuzz` takes --seconds and {}, not {other:?}", TARGETS.join(", "))
                }
            }
        }
        if !targets.is_empty() {
            options.targets = targets;
        }
        Ok(options)
    }
}

pub(crate) fn run(workspace: &Workspace, options: &Options) -> anyhow::Result<ExitCode> {
    needs::ensure(&[&needs::CPP_COMPILER])?;
    install_cargo_fuzz(workspace)?;
    for target in &options.targets {
        // Inputs that the fuzzer finds are stored here; the repository holds only seeds.
        let found = workspace.fuzz_target().join("corpus").join(target);
        fs::create_dir_all(&found).with_context(|| format!("could not make {}", found.display()))?;
        // Without sanitizers, which need a nightly toolchain and find errors that safe Rust rules out.
        let mut fuzz = workspace.cargo(["fuzz", "run", "--fuzz-dir", "fuzz", "--sanitizer", "none"]);
        fuzz.arg("--target-dir").arg(workspace.fuzz_target());
        fuzz.arg(target).arg(&found).arg(workspace.root().join("fuzz/corpus").join(target));
        fuzz.arg("--").arg(format!("-max_total_time={}", options.seconds));
        fuzz.args(["-timeout=10", "-rss_limit_mb=2048", "-verbosity=0", "-print_final_stats=1"]);
        print(format_args!("fuzzing {target} for {} s", options.seconds));
        run_command(&mut fuzz)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn install_cargo_fuzz(workspace: &Workspace) -> anyhow::Result<()> {
    let mut probe = workspace.cargo(["fuzz", "--version"]);
    let present =
        probe.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    if present {
        return Ok(());
    }
    print_error(format_args!("xtask: installing cargo-fuzz"));
    run_command(&mut workspace.cargo(["install", "cargo-fuzz", "--locked", "--quiet"]))
        .context("cargo-fuzz is missing; run `cargo install cargo-fuzz --locked`")
}
