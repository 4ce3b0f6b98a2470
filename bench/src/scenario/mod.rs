//! What is measured. Each scenario compares in one run, round by round in turn, and a run with a failure is none.

mod company;
mod everything;
mod frontier;
mod latency;
mod litellm;
mod plugin;
mod scale;
mod start;
mod streams;

use std::path::{Path, PathBuf};

use anyhow::{bail, ensure};

use crate::Run;
use crate::machine::{self, Machine};
use crate::mock::Pace;
use crate::report::{Report, Table};
use crate::setup::{ELARA, Mode, Server, Start};

/// What scenarios work with.
pub(crate) struct Bench {
    pub(crate) bin: PathBuf,
    pub(crate) out: PathBuf,
    pub(crate) quick: bool,
    pub(crate) mock: Server,
}

impl Bench {
    pub(crate) fn start(&self, pace: Pace, mode: Mode) -> Start<'_> {
        let compiled = self.out.join("compiled");
        let (bin, out, mock, elara) = (&self.bin, &self.out, &self.mock, ELARA.to_owned());
        Start { bin, out, mock, pace, mode, elara, more: String::new(), compiled }
    }

    /// `whole`, or so little that it is only seen to work.
    pub(crate) fn size<T>(&self, whole: T, quick: T) -> T {
        if self.quick { quick } else { whole }
    }
}

const NAMES: [&str; 9] =
    ["latency", "frontier", "streams", "plugin", "everything", "start", "company", "scale", "litellm"];

pub(crate) async fn run(run: Run) -> anyhow::Result<()> {
    for name in &run.scenarios {
        ensure!(
            NAMES.contains(&name.as_str()),
            "there is no scenario {name:?}: there are {}",
            NAMES.join(", ")
        );
    }
    std::fs::create_dir_all(&run.out)?;
    let (bin, out) = (absolute(&run.bin)?, absolute(&run.out)?);
    let machine = Machine::look(&bin, &out)?;
    let bench = Bench { bin, out, quick: run.quick, mock: Server::mock().await? };
    let kept = bench.out.join(if run.quick { "tables-quick" } else { "tables" });
    std::fs::create_dir_all(&kept)?;
    for name in NAMES
        .into_iter()
        .filter(|name| run.scenarios.is_empty() || run.scenarios.iter().any(|one| one == name))
    {
        let load = machine::load()?;
        eprintln!("{name} (load {load:.2})");
        let mut measured: Vec<Table> = match name {
            "latency" => latency::measure(&bench).await?,
            "frontier" => frontier::measure(&bench).await?,
            "streams" => streams::measure(&bench).await?,
            "plugin" => plugin::measure(&bench).await?,
            "everything" => everything::measure(&bench).await?,
            "start" => start::measure(&bench).await?,
            "company" => company::measure(&bench).await?,
            "scale" => scale::measure(&bench).await?,
            "litellm" => litellm::measure(&bench).await?,
            other => bail!("{other} is not measured"),
        };
        for table in &mut measured {
            table.measured = format!("Measured at {}, load before {load:.2}.", machine.commit);
            println!("{}", table.show());
        }
        std::fs::write(kept.join(format!("{name}.json")), serde_json::to_string(&measured)?)?;
    }
    // Of a scenario that was not asked for, what was measured last.
    let mut tables = Vec::new();
    for name in NAMES {
        if let Ok(text) = std::fs::read_to_string(kept.join(format!("{name}.json"))) {
            tables.extend(serde_json::from_str::<Vec<Table>>(&text)?);
        }
    }
    Report { machine, quick: run.quick, tables }.write(&bench.out, run.docs.as_deref())
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    Ok(std::path::absolute(path)?)
}
