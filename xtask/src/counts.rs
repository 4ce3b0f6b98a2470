//! `cargo xtask counts`: counts the instructions of pure code and compares them with stored figures. It also stores the
//! allocations of a call, which a test of the runtime counts and compares.
//!
//! Callgrind counts instructions, not time, so the figure is the same on a busy machine. It changes with the compiler and
//! slightly with the features of the processor, hence the tolerance.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, bail, ensure};

use crate::needs;
use crate::output::print;
use crate::workspace::{Workspace, run as run_command};

const STORED: &str = "bench/counts/stored.txt";
/// The largest relative difference to the stored figure, in both directions: a lower figure must be stored as well.
const TOLERANCE: f64 = 0.10;
/// The repetitions of a piece in the shorter and in the longer run. The difference of both leaves out the start of the
/// program and the first repetition.
const REPETITIONS: [u64; 2] = [20, 120];

/// Counts and compares. With `--store`, stores the counts first.
pub(crate) fn run(workspace: &Workspace, arguments: &[String]) -> anyhow::Result<ExitCode> {
    let store = match arguments {
        [] => false,
        [flag] if flag == "--store" => true,
        _ => bail!("`cargo xtask counts` takes --store alone"),
    };
    needs::ensure(&[&needs::VALGRIND])?;
    ensure!(needs::is_present(&needs::VALGRIND), "counting needs valgrind");
    let counted = count(workspace)?;
    if store {
        let lines: String = counted.iter().map(|(piece, count)| format!("{count:>9}  {piece}\n")).collect();
        fs::write(workspace.root().join(STORED), lines).context(STORED)?;
    }
    check(&counted, &stored(workspace)?)?;
    count_allocations(workspace, store)?;
    Ok(ExitCode::SUCCESS)
}

/// Runs the test that counts the allocations of a call. It compares them with `bench/counts/allocations.txt`, or stores them
/// there. The whole workspace is selected, because another selection would compile the engine with other features again.
fn count_allocations(workspace: &Workspace, store: bool) -> anyhow::Result<()> {
    let mut test = workspace.cargo(["test", "--workspace", "--test", "allocations", "--", "--nocapture"]);
    if store {
        test.env("MASQUE_STORE_ALLOCATIONS", "1");
    }
    run_command(&mut test)
}

/// Counts and compares as a part of the tests. Does nothing without valgrind; [`needs::ensure`] has printed that.
pub(crate) fn test(workspace: &Workspace) -> anyhow::Result<()> {
    if needs::is_present(&needs::VALGRIND) {
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
        let [short, long] = REPETITIONS;
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
        // The environment is on the stack and would move it, which changes the counts.
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .stdin(Stdio::null())
        .output()
        .context("could not start valgrind")?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "valgrind: {text}");
    let collected = text.lines().find_map(|line| line.split_once("Collected :"));
    let (_, count) = collected.with_context(|| format!("valgrind did not say what it counted: {text}"))?;
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
    print(format_args!("\ninstructions of the pieces that only compute, against {STORED}:"));
    for (piece, count) in counted {
        let before = stored.get(piece).copied().unwrap_or_default();
        let ratio = *count as f64 / before as f64;
        print(format_args!("{count:>9}  {:>+6.1} %  {piece}", (ratio - 1.0) * 100.0));
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
    fn a_piece_outside_the_tolerance_is_named() {
        let stored = counts(&[("one", 1000), ("two", 1000)]);
        check(&counts(&[("one", 1090), ("two", 910)]), &stored).unwrap();
        for (one, two) in [(1110, 1000), (1000, 890)] {
            let refused = check(&counts(&[("one", one), ("two", two)]), &stored).unwrap_err().to_string();
            assert!(refused.contains("1000 are stored") && refused.contains("--store"), "{refused}");
        }
    }

    #[test]
    fn a_new_or_missing_piece_is_named() {
        assert!(check(&counts(&[("new", 1)]), &counts(&[])).is_err());
        assert!(check(&counts(&[]), &counts(&[("old", 1)])).is_err());
    }
}
