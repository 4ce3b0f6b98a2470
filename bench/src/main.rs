//! Measures a host with everything on, beside what it is compared with, on one machine in one run.
//!
//! Three kinds of processes: the harness, which runs scenarios one after the other (`scenario`); a model server that
//! paces its tokens (`mock`); and clients (`load`), each of which prints what it saw. The host and what it is compared
//! with are programs of their own. What was measured is told in `report`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command that prints what it measured")]

mod load;
mod machine;
mod mock;
mod process;
mod report;
mod scenario;
mod setup;
mod stats;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

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
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match Cli::parse().command {
            Command::Mock => mock::serve().await,
            Command::Load(options) => load::run(options).await,
            Command::Run(run) => scenario::run(run).await,
        }
    })
}
