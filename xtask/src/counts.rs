//! `cargo xtask counts`: instructions of the pieces that only compute, held to what is stored beside them.
//!
//! Callgrind counts what a processor is told to do, not how long it takes, so the figure is the same on a busy machine. It
//! does change with the compiler and a little with the processor's features: hence the tolerance.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, bail, ensure};

use crate::needs;
use crate::workspace::{Workspace, run as run_command};

const STORED: &str = "bench/counts/stored.txt";
/// Parts of the stored figure that a piece may be away from it, either way: what became cheaper is to be stored.
const TOLERANCE: f64 = 0.10;
/// How often a piece is done in the shorter and in the longer run. The difference has no start and no first time in it.
const TIMES: [u64; 2] = [20, 120];

/// Counts and compares; with `--store`, stores what was counted.
pub(crate) fn run(workspace: &Workspace, arguments: &[String]) -> anyhow::Result<ExitCode> {
    let store = match arguments {
        [] => false,
        [flag] if flag == "--store" => true,
        _ => bail!("`cargo xtask counts` takes --store alone"),
    };
    needs::ensure(&[&needs::VALGRIND])?;
    ensure!(needs::present(&needs::VALGRIND), "counting needs valgrind");
    let counted = count(workspace)?;
    if store {
        let lines: String = counted.iter().map(|(piece, count)| format!("{count:>9}  {piece}\n")).collect();
        fs::write(workspace.root().join(STORED), lines).context(STORED)?;
    }
    check(&counted, &stored(workspace)?)?;
    Ok(ExitCode::SUCCESS)
}

/// As a part of the tests: without valgrind nothing is compared, which [`needs::ensure`] has said.
pub(crate) fn test(workspace: &Workspace) -> anyhow::Result<()> {
    if needs::present(&needs::VALGRIND) {
        check(&count(workspace)?, &stored(workspace)?)?;
    }
    Ok(())
}

fn count(workspace: &Workspace) -> anyhow::Result<BTreeMap<String, u64>> {
    run_command(&mut workspace.cargo(["build", "--release", "--package", "masque-counts"]))?;
    let program = workspace.binary(true).with_file_name("masque-counts");
    let names = Command::new(&program).output().context("masque-counts")?;
    let mut counted = BTreeMap::new();
    for piece in String::from_utf8(names.stdout)?.lines() {
        let [short, long] = TIMES;
        let instructions =
            instructions(&program, piece, long)?.saturating_sub(instructions(&program, piece, short)?);
        counted.insert(piece.to_owned(), instructions / (long - short));
    }
    Ok(counted)
}

fn instructions(program: &Path, piece: &str, times: u64) -> anyhow::Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args([piece, &times.to_string()])
        // Neither the names nor the number of its variables are to move the stack.
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .stdin(Stdio::null())
        .output()
        .context("could not start valgrind")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "valgrind: {said}");
    let collected = said.lines().find_map(|line| line.split_once("Collected :"));
    let (_, count) = collected.with_context(|| format!("valgrind did not say what it counted: {said}"))?;
    Ok(count.trim().parse()?)
}

fn stored(workspace: &Workspace) -> anyhow::Result<BTreeMap<String, u64>> {
    let text = fs::read_to_string(workspace.root().join(STORED)).context(STORED)?;
    let line = |line: &str| {
        let (count, piece) = line.trim().split_once("  ").with_context(|| format!("{STORED}: {line:?}"))?;
        Ok((piece.to_owned(), count.parse()?))
    };
    text.lines().map(line).collect()
}

fn check(counted: &BTreeMap<String, u64>, stored: &BTreeMap<String, u64>) -> anyhow::Result<()> {
    let mut drifted = Vec::new();
    println!("\ninstructions of the pieces that only compute, against {STORED}:");
    for (piece, count) in counted {
        let before = stored.get(piece).copied().unwrap_or_default();
        let ratio = *count as f64 / before as f64;
        println!("{count:>9}  {:>+6.1} %  {piece}", (ratio - 1.0) * 100.0);
        if !((1.0 - TOLERANCE)..=(1.0 + TOLERANCE)).contains(&ratio) {
            drifted.push(format!("`{piece}` takes {count} instructions, and {before} are stored"));
        }
    }
    let gone = stored.keys().filter(|piece| !counted.contains_key(*piece));
    drifted.extend(gone.map(|piece| format!("`{piece}` is stored and is no piece any more")));
    ensure!(
        drifted.is_empty(),
        "{}. Where that is meant, or the compiler is another: `cargo xtask counts --store`, and say why in the commit.",
        drifted.join("; ")
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(counts: &[(&str, u64)]) -> BTreeMap<String, u64> {
        counts.iter().map(|(piece, count)| ((*piece).to_owned(), *count)).collect()
    }

    #[test]
    fn what_takes_more_or_less_than_the_tolerance_is_named() {
        let stored = counts(&[("one", 1000), ("two", 1000)]);
        check(&counts(&[("one", 1090), ("two", 910)]), &stored).unwrap();
        for (one, two) in [(1110, 1000), (1000, 890)] {
            let refused = check(&counts(&[("one", one), ("two", two)]), &stored).unwrap_err().to_string();
            assert!(refused.contains("1000 are stored") && refused.contains("--store"), "{refused}");
        }
    }

    #[test]
    fn a_piece_that_came_or_went_is_named() {
        assert!(check(&counts(&[("new", 1)]), &counts(&[])).is_err());
        assert!(check(&counts(&[]), &counts(&[("old", 1)])).is_err());
    }
}
