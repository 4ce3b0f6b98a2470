//! `cargo xtask test`: builds the workspace and runs all tests.

use std::num::NonZeroUsize;
use std::process::ExitCode;

use anyhow::bail;

use crate::workspace::{Workspace, run as run_command};
use crate::{build, counts, engine, fuzz, needs};

#[derive(Default)]
pub(crate) struct Options {
    full: bool,
    filters: Vec<String>,
    /// Arguments for the test binaries, after `--`.
    harness: Vec<String>,
}

impl Options {
    pub(crate) fn parse(arguments: &[String]) -> anyhow::Result<Self> {
        let mut options = Self::default();
        let mut arguments = arguments.iter();
        for argument in arguments.by_ref() {
            match argument.as_str() {
                "--full" => options.full = true,
                "--" => break,
                flag if flag.starts_with('-') => {
                    bail!(
                        "`cargo xtask test` takes --full and filters, not {flag:?}; flags for the tests go after `--`"
                    )
                }
                filter => options.filters.push(filter.to_owned()),
            }
        }
        options.harness.extend(arguments.cloned());
        Ok(options)
    }
}

pub(crate) fn run(workspace: &Workspace, options: &Options) -> anyhow::Result<ExitCode> {
    needs::ensure(&[
        &needs::VENV,
        &needs::NODE,
        &needs::CURL,
        &needs::COMMANDS_OF_THE_GUIDE,
        &needs::POSTGRESQL,
        &needs::PGBOUNCER,
        &needs::REDIS,
        &needs::PROMETHEUS,
        &needs::AMTOOL,
        &needs::STRACE,
        &needs::VALGRIND,
        &needs::AGE,
        &needs::SYSTEMD_ANALYZE,
    ])?;
    if options.full {
        needs::ensure(&[&needs::BUILDAH, &needs::ARM64])?;
    }
    let debian13 = needs::Debian13::in_target(workspace.target());
    needs::ensure_debian13(&debian13)?;

    build::components(workspace)?;
    build::fixtures(workspace)?;
    let host_engine = engine::build(&mut build::host_command(workspace, false))?;
    // What the tests need, and no benchmarks: `cargo xtask lint` compiles those.
    let tests_engine = engine::build(&mut workspace.cargo(["test", "--workspace", "--no-run"]))?;
    engine::check_same(&host_engine, &tests_engine)?;

    let mut tests = workspace.cargo(["test", "--workspace", "--no-fail-fast", "--"]);
    tests.args(&options.filters).args(&options.harness);
    tests.env("MASQUE_BIN", workspace.binary(false)).env("MASQUE_PLUGINS", workspace.plugins());
    tests.env("MASQUE_FIXTURES", workspace.fixtures());
    tests.env("MASQUE_TEST_DEBIAN13", debian13.tree());
    if std::env::var_os("RUST_TEST_THREADS").is_none() {
        tests.env("RUST_TEST_THREADS", threads().to_string());
    }
    if options.full {
        tests.env("MASQUE_FULL", "1");
    } else {
        tests.env_remove("MASQUE_FULL");
    }
    run_command(&mut tests)?;
    if options.filters.is_empty() {
        counts::test(workspace)?;
    }
    if options.full && options.filters.is_empty() {
        fuzz::run(workspace, &fuzz::Options::default())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// How many tests run at once. Most of the longer ones wait: for a host to start, for a lease to end, for a timeout.
fn threads() -> usize {
    2 * std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}
