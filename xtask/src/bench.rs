//! `cargo xtask bench`: what the host costs, measured in release code.

use std::process::{Command, ExitCode};

use anyhow::ensure;

use crate::workspace::{Workspace, run as run_command};
use crate::{build, needs};

/// What admission costs has no process of its own to be measured from outside.
const ADMISSION: &str = "admission";
/// Single pieces, timed where they are.
const PIECES: &str = "pieces";

/// What the harness measures, in its own order.
const SCENARIOS: [&str; 9] =
    ["latency", "frontier", "streams", "plugin", "everything", "start", "company", "scale", "litellm"];

/// The host and what measures it.
const PACKAGES: [&str; 4] = ["--package", "masque", "--package", "masque-bench"];

/// Everything, or the scenarios that are named; `--quick` is passed on.
pub(crate) fn run(workspace: &Workspace, arguments: &[String]) -> anyhow::Result<ExitCode> {
    let (flags, named): (Vec<&String>, Vec<&String>) =
        arguments.iter().partition(|word| word.starts_with('-'));
    let wants = |name: &str| named.is_empty() || named.iter().any(|one| *one == name);
    let scenarios: Vec<_> = named.iter().filter(|name| **name != ADMISSION && **name != PIECES).collect();
    check(&flags, &named)?;
    needs::ensure(&[&needs::VENV])?;
    if wants(PIECES) {
        let packages = ["--package", "masque-counts", "--package", "masque-store-sqlite"];
        run_command(workspace.cargo(["bench"]).args(packages).arg("--benches"))?;
    }
    if named.iter().all(|name| *name == PIECES) && !named.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    build::components(workspace)?;
    build::fixtures(workspace)?;
    // All of it in one go: cargo settles the features of shared crates for what it is asked to build, and would build the
    // largest of them once for each.
    run_command(workspace.cargo(["build", "--release"]).args(PACKAGES).args(["--bins", "--tests"]))?;
    if wants(ADMISSION) {
        let mut measure = workspace.cargo(["test", "--release"]);
        measure.args(PACKAGES).args(["--bins", "--", "--ignored", "--nocapture", "auth::measure"]);
        run_command(&mut measure)?;
    }
    if named.is_empty() || !scenarios.is_empty() {
        let binary = workspace.binary(true);
        let mut measure = Command::new(binary.with_file_name("masque-bench"));
        measure.current_dir(workspace.root()).arg("run").arg("--bin").arg(binary);
        // Figures of a part, or of a try, don't belong into the document.
        if arguments.is_empty() {
            measure.args(["--docs", "docs/performance.md"]);
        }
        run_command(measure.args(flags).args(scenarios))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Before anything is built, which takes minutes.
fn check(flags: &[&String], named: &[&String]) -> anyhow::Result<()> {
    for flag in flags {
        ensure!(*flag == "--quick", "`cargo xtask bench` takes --quick and scenarios, not {flag:?}");
    }
    for name in named {
        let known = [ADMISSION, PIECES].iter().chain(&SCENARIOS).any(|known| *name == known);
        let all = SCENARIOS.join(", ");
        ensure!(known, "there is no scenario {name:?}: there are {ADMISSION}, {PIECES}, {all}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_scenario_is_refused_and_told_what_there_is() {
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        let refused = |flags: &[&str], named: &[&str]| {
            let (flags, named) = (words(flags), words(named));
            check(&flags.iter().collect::<Vec<_>>(), &named.iter().collect::<Vec<_>>())
                .err()
                .map(|e| e.to_string())
        };
        assert_eq!(refused(&["--quick"], &["latency", "admission", "pieces"]), None);
        assert!(refused(&[], &["latencies"]).is_some_and(|error| error.contains("litellm")));
        assert!(refused(&["--fast"], &[]).is_some_and(|error| error.contains("--quick")));
    }

    #[test]
    fn the_scenarios_are_those_of_the_harness() {
        let harness = include_str!("../../bench/src/scenario/mod.rs");
        let listed = SCENARIOS.map(|name| format!("{name:?}")).join(", ");
        assert!(harness.contains(&listed), "{listed}");
    }
}
