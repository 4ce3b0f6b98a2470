//! `cargo xtask bench`: measures release builds of the host.

use std::process::{Command, ExitCode};

use anyhow::ensure;

use crate::workspace::{Workspace, run as run_command};
use crate::{build, needs};

/// The cost of admitting a request (authentication and rate limits), measured within a process of its own.
const ADMISSION: &str = "admission";
/// Benchmarks of single functions.
const PIECES: &str = "pieces";

/// Names an older binary of the host, which the scenario `telemetry` compares with.
const BEFORE: &str = "--before=";

/// The scenarios of the harness in its order, one a line.
const SCENARIOS: &str = include_str!("../../bench/scenarios.txt");

/// The host and the harness.
const PACKAGES: [&str; 4] = ["--package", "masque", "--package", "masque-bench"];

/// Runs all scenarios, or those that are named. Passes `--quick` on to the harness.
pub(crate) fn run(workspace: &Workspace, arguments: &[String]) -> anyhow::Result<ExitCode> {
    let (flags, named): (Vec<&String>, Vec<&String>) =
        arguments.iter().partition(|argument| argument.starts_with('-'));
    let wants = |name: &str| named.is_empty() || named.iter().any(|one| *one == name);
    let scenarios: Vec<_> = named.iter().filter(|name| **name != ADMISSION && **name != PIECES).collect();
    check(&flags, &named)?;
    needs::ensure(&[&needs::VENV, &needs::POSTGRESQL, &needs::REDIS])?;
    if wants(PIECES) {
        let packages = ["--package", "masque-counts", "--package", "masque-store-sqlite"];
        run_command(workspace.cargo(["bench"]).args(packages).arg("--benches"))?;
    }
    if wants(ADMISSION) {
        run_command(workspace.cargo(["bench"]).args(["--package", "masque-auth", "--bench", "admission"]))?;
    }
    if scenarios.is_empty() && !named.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    build::components(workspace)?;
    build::fixtures(workspace)?;
    // One command for all packages: cargo chooses the features of shared crates for the selected packages, so that several
    // commands could compile the engine several times.
    run_command(workspace.cargo(["build", "--release"]).args(PACKAGES).arg("--bins"))?;
    let binary = workspace.binary(true);
    let mut measure = Command::new(binary.with_file_name("masque-bench"));
    measure.current_dir(workspace.root()).arg("run").arg("--bin").arg(binary);
    // Only a full run writes the document.
    if arguments.is_empty() {
        measure.args(["--docs", "docs/performance.md"]);
    }
    run_command(measure.args(flags).args(scenarios))?;
    Ok(ExitCode::SUCCESS)
}

/// Refuses unknown arguments before anything is built, which takes minutes.
fn check(flags: &[&String], named: &[&String]) -> anyhow::Result<()> {
    for flag in flags {
        ensure!(
            *flag == "--quick" || flag.starts_with(BEFORE),
            "`cargo xtask bench` takes --quick, {BEFORE}BINARY and scenarios, not {flag:?}"
        );
    }
    for name in named {
        let known = [ADMISSION, PIECES].into_iter().chain(SCENARIOS.lines()).any(|known| *name == known);
        let all = SCENARIOS.lines().collect::<Vec<_>>().join(", ");
        ensure!(known, "there is no scenario {name:?}: there are {ADMISSION}, {PIECES}, {all}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_scenario_is_refused_with_the_list_of_all() {
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
}
