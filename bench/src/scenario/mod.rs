//! The scenarios. Each one alternates rounds of the programs that it compares; a run with a failed turn is discarded.

mod bench;
mod chunks;
mod company;
mod everything;
mod frontier;
mod latency;
mod litellm;
mod options;
mod plugin;
mod scale;
mod start;
mod state;
mod streams;
mod telemetry;

use std::path::{Path, PathBuf};

use anyhow::{bail, ensure};

use crate::machine::{self, Machine};
use crate::report::{Report, Table};
use crate::setup::Server;
use bench::Bench;

pub(crate) use options::Options;

/// The scenarios in their order, one a line. `cargo xtask bench` reads the same file.
const NAMES: &str = include_str!("../../scenarios.txt");

/// Runs the scenarios and writes the report.
pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    for name in &options.scenarios {
        ensure!(
            NAMES.lines().any(|known| known == name),
            "there is no scenario {name:?}: there are {}",
            NAMES.lines().collect::<Vec<_>>().join(", ")
        );
    }
    std::fs::create_dir_all(&options.out)?;
    let (bin, out) = (absolute(&options.bin)?, absolute(&options.out)?);
    let machine = Machine::inspect(&bin, &out)?;
    let before = options.before.as_deref().map(absolute).transpose()?;
    let bench = Bench { bin, before, out, quick: options.quick, mock: Server::mock().await? };
    let results = bench.out.join(if options.quick { "tables-quick" } else { "tables" });
    std::fs::create_dir_all(&results)?;
    for name in NAMES
        .lines()
        .filter(|name| options.scenarios.is_empty() || options.scenarios.iter().any(|one| one == name))
    {
        let load = machine::load()?;
        eprintln!("{name} (load {load:.2})");
        let mut measured: Vec<Table> = match name {
            "latency" => latency::measure(&bench).await?,
            "frontier" => frontier::measure(&bench).await?,
            "chunks" => chunks::measure(&bench).await?,
            "streams" => streams::measure(&bench).await?,
            "plugin" => plugin::measure(&bench).await?,
            "everything" => everything::measure(&bench).await?,
            "telemetry" => telemetry::measure(&bench).await?,
            "state" => state::measure(&bench).await?,
            "start" => start::measure(&bench).await?,
            "company" => company::measure(&bench).await?,
            "scale" => scale::measure(&bench).await?,
            "litellm" => litellm::measure(&bench).await?,
            other => bail!("the scenario {other} has no implementation"),
        };
        for table in &mut measured {
            table.measured = format!("Measured at {}, load before {load:.2}.", machine.commit);
            println!("{}", table.to_markdown());
        }
        std::fs::write(results.join(format!("{name}.json")), serde_json::to_string(&measured)?)?;
    }
    // The report holds the last results of the scenarios that were not run.
    let mut tables = Vec::new();
    for name in NAMES.lines() {
        if let Ok(text) = std::fs::read_to_string(results.join(format!("{name}.json"))) {
            tables.extend(serde_json::from_str::<Vec<Table>>(&text)?);
        }
    }
    Report { machine, quick: options.quick, tables }.write(&bench.out, options.docs.as_deref())
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    Ok(std::path::absolute(path)?)
}
