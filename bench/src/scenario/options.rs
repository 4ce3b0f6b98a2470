//! The command line of `masque-bench run`.

use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// The host's binary.
    #[arg(long)]
    pub(super) bin: PathBuf,
    /// An older binary of the host, which some scenarios compare with.
    #[arg(long)]
    pub(super) before: Option<PathBuf>,
    /// Run every scenario with few rounds, to check that it works.
    #[arg(long)]
    pub(super) quick: bool,
    /// The folder of results and temporary files.
    #[arg(long, default_value = "target/bench")]
    pub(super) out: PathBuf,
    /// The document that the tables and plots are written into.
    #[arg(long)]
    pub(super) docs: Option<PathBuf>,
    pub(super) scenarios: Vec<String>,
}
