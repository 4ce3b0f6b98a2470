//! Measures a host with all features on, and the programs that it is compared with, on one machine in one run.
//!
//! The harness runs scenarios one after the other (`scenario`). Further processes of this program are a model server that
//! paces its tokens (`mock`), clients that print what they measured (`load`), a turn without a sandbox
//! (`native_baseline`), and a sandbox without a host (`pieces`). `report` writes the tables, `plot` draws the figures.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command that prints what it measured")]

mod load;
mod machine;
mod mock;
mod native_baseline;
mod pieces;
mod plot;
mod process;
mod report;
mod scenario;
mod setup;
mod stats;
mod venv;

use clap::{Parser, Subcommand};

/// The allocator of the host, so that the baselines in this program have the same one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(name = "masque-bench")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run all scenarios, or those that are named.
    Run(scenario::Options),
    /// Serve a model that sends tokens at the pace that its name says.
    Mock(mock::Options),
    /// Run clients and print what they measured, as JSON.
    Load(load::Options),
    /// Serve turns without a sandbox.
    NativeBaseline(native_baseline::Options),
    /// Measure the parts of the sandbox and print the times, as JSON.
    Pieces(pieces::Options),
}

fn main() -> anyhow::Result<()> {
    let command = Cli::parse().command;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if matches!(command, Command::Pieces(_)) {
        // The setting of the host's runtime.
        runtime.event_interval(4);
    }
    runtime.enable_all().build()?.block_on(async {
        match command {
            Command::Mock(options) => mock::serve(&options).await,
            Command::Load(options) => load::run(options).await,
            Command::NativeBaseline(options) => native_baseline::serve(options).await,
            Command::Pieces(options) => pieces::run(options).await,
            Command::Run(options) => scenario::run(options).await,
        }
    })
}
