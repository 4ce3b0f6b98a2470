//! `cargo xtask bench`: what the host costs, measured in release code.

use std::process::ExitCode;

use crate::workspace::{Workspace, run as run_command};
use crate::{build, needs};

/// What admission costs has no process of its own to be measured from outside.
const ADMISSION: &str = "admission";

/// Everything, or the scenarios that are named; `--quick` is passed on.
pub(crate) fn run(workspace: &Workspace, arguments: &[String]) -> anyhow::Result<ExitCode> {
    let named: Vec<&String> = arguments.iter().filter(|word| !word.starts_with('-')).collect();
    let admission = named.is_empty() || named.iter().any(|name| *name == ADMISSION);
    let others: Vec<&String> = arguments.iter().filter(|word| *word != ADMISSION).collect();
    let scenarios = named.is_empty() || named.iter().any(|name| *name != ADMISSION);
    needs::ensure(&[&needs::VENV])?;
    build::run(workspace, &build::Options::parse(&["--release".to_owned()])?)?;
    build::fixtures(workspace)?;
    if admission {
        let test = ["test", "--release", "--package", "masque", "--bin", "masque", "--"];
        let mut measure = workspace.cargo(test);
        run_command(measure.args(["--ignored", "--nocapture", "auth::measure"]))?;
    }
    if scenarios {
        let mut measure = workspace.cargo(["run", "--release", "--package", "masque-bench", "--", "run"]);
        measure.arg("--bin").arg(workspace.binary(true));
        // Figures of a part, or of a try, don't belong into the document.
        if arguments.is_empty() {
            measure.args(["--docs", "docs/performance.md"]);
        }
        run_command(measure.args(others))?;
    }
    Ok(ExitCode::SUCCESS)
}
