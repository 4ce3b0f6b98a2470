//! `cargo xtask lint`: the structure of the workspace, then formatting and clippy for the machine and for the
//! components' target.

use std::process::ExitCode;

use anyhow::bail;

use crate::workspace::{Workspace, run as run_command};
use crate::{build, structure};

pub(crate) fn run(workspace: &Workspace, arguments: &[String]) -> anyhow::Result<ExitCode> {
    let only_structure = match arguments {
        [] => false,
        [flag] if flag == "--structure" => true,
        _ => bail!("`cargo xtask lint` takes --structure alone, not {:?}", arguments.join(" ")),
    };
    structure::run(workspace.root())?;
    if only_structure {
        return Ok(ExitCode::SUCCESS);
    }
    run_command(&mut workspace.cargo(["fmt", "--all", "--check"]))?;
    // Clippy compiles the host, which embeds the components.
    build::components(workspace)?;
    run_command(&mut workspace.cargo(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    let crates = build::all_components(workspace)?;
    run_command(build::guest_cargo(workspace, "clippy", &crates).args([
        "--profile",
        "plugin",
        "--",
        "-D",
        "warnings",
    ]))?;
    Ok(ExitCode::SUCCESS)
}
