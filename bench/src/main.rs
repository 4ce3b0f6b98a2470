//! Measures a host with everything on, beside what it is compared with, on one machine in one run.
//!
//! Three kinds of processes: the harness, which runs scenarios one after the other (`scenario`); a model server that
//! paces its tokens (`mock`); and clients (`load`), each of which prints what it saw. The host and what it is compared
//! with are programs of their own, but for the turn without a sandbox (`twin`) and the sandbox without a host (`pieces`),
//! which are processes of this one. What was measured is told in `report` and drawn in `plot`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command that prints what it measured")]

mod load;
mod machine;
mod mock;
mod pieces;
mod plot;
mod process;
mod report;
mod scenario;
mod setup;
mod stats;
mod twin;
mod venv;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// The host's own, so that what is compared in this process has the same.
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
    /// Run scenarios: all of them, or those that are named.
    Run(Run),
    /// A model server whose tokens come at the pace that a model's name asks for.
    Mock,
    /// Clients: what they did, as JSON.
    Load(load::Options),
    /// The turn without a sandbox.
    Twin(twin::Options),
    /// The sandbox's parts one by one: what they took, as JSON.
    Pieces(pieces::Options),
}

#[derive(clap::Args)]
pub(crate) struct Run {
    /// The host's binary.
    #[arg(long)]
    bin: PathBuf,
    /// Everything, but tiny: to see that it works.
    #[arg(long)]
    quick: bool,
    /// Where results and everything that is made on the way are kept.
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
    /// Where the tables and plots are written, if anywhere.
    #[arg(long)]
    docs: Option<PathBuf>,
    scenarios: Vec<String>,
}

fn main() -> anyhow::Result<()> {
    let command = Cli::parse().command;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if matches!(command, Command::Pieces(_)) {
        // The host's own setting, for what runs guests.
        runtime.event_interval(4);
    }
    runtime.enable_all().build()?.block_on(async {
        match command {
            Command::Mock => mock::serve().await,
            Command::Load(options) => load::run(options).await,
            Command::Twin(options) => twin::serve(options).await,
            Command::Pieces(options) => pieces::run(options).await,
            Command::Run(run) => scenario::run(run).await,
        }
    })
}
