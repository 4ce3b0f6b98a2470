//! `cargo xtask`: the commands that build, run and test Masque.
//!
//! Its few dependencies compile within seconds, so that a fresh clone does not wait for it: `anyhow`, and `serde_json`
//! and `syn` for `lint --structure`.

mod bench;
mod build;
mod counts;
mod engine;
mod fuzz;
mod lint;
mod needs;
mod output;
mod structure;
mod test;
mod up;
mod workspace;

use std::process::ExitCode;

use crate::output::{print, print_error};
use crate::workspace::Workspace;

const USAGE: &str = "\
cargo xtask COMMAND

  up [-- ARGS]                 build, then start `masque serve` with ARGS and show what to try
  build [--release] [--target TRIPLE]
                               build the plugins, then the host that embeds them, for this machine or another
  test [--full] [FILTER…]      build, then run every test, or those whose name contains a FILTER;
                               --full adds the long ones: a foreign model server, a hundred kills, fuzzing
  fuzz [--seconds N] [TARGET…] fuzz the code that reads untrusted bytes, each target for a minute
  bench [--quick] [SCENARIO…]  build for release and measure: admission, pieces, latency, frontier, chunks, streams, plugin,
                               everything, telemetry, state, start, company, scale, litellm; all of them write docs/performance.md
  counts [--store]             count the instructions of pure code, and compare them with the stored figures (or store them)
  lint [--structure]           allowed dependencies, import cycles, formatting and clippy, of the host and of the
                               plugins; --structure checks only the first two, without building anything

Every command takes --install: programs that it needs are installed with apt-get, as they are for root and where CI is
`true`, and no server is started by it.

The binary is target/debug/masque (target/release/masque with --release), the plugins are in target/plugins.";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next();
    let mut rest: Vec<String> = arguments.collect();
    needs::take_install_flag(&mut rest);
    match run(command.as_deref(), &rest) {
        Ok(code) => code,
        Err(error) => {
            print_error(format_args!("xtask: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Option<&str>, rest: &[String]) -> anyhow::Result<ExitCode> {
    match command {
        Some("build") => build::run(&Workspace::find()?, &build::Options::parse(rest)?),
        Some("up") => up::run(&Workspace::find()?, rest),
        Some("test") => test::run(&Workspace::find()?, &test::Options::parse(rest)?),
        Some("bench") => bench::run(&Workspace::find()?, rest),
        Some("counts") => counts::run(&Workspace::find()?, rest),
        Some("fuzz") => fuzz::run(&Workspace::find()?, &fuzz::Options::parse(rest)?),
        Some("lint") => lint::run(&Workspace::find()?, rest),
        // `up` starts this command between the host and the terminal.
        Some(up::GUIDE) => up::guide(),
        None | Some("help" | "--help" | "-h") => {
            print(format_args!("{USAGE}"));
            Ok(ExitCode::SUCCESS)
        }
        Some(other) => anyhow::bail!("there is no command {other:?}\n\n{USAGE}"),
    }
}
