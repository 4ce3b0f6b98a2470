//! `cargo xtask lint`: formatting and clippy, for the machine and for the components' target.

use std::process::ExitCode;

use anyhow::bail;

use crate::build;
use crate::workspace::{Workspace, run as run_command};

pub(crate) fn run(workspace: &Workspace, arguments: &[String]) -> anyhow::Result<ExitCode> {
    if let Some(argument) = arguments.first() {
        bail!("`cargo xtask lint` takes no arguments, not {argument:?}");
    }
    run_command(&mut workspace.cargo(["fmt", "--all", "--check"]))?;
    // The host embeds the components, so there is no host to look at without them.
    build::components(workspace)?;
    run_command(&mut workspace.cargo(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    let crates = build::all(workspace)?;
    run_command(build::guest_cargo(workspace, "clippy", &crates).args([
        "--profile",
        "plugin",
        "--",
        "-D",
        "warnings",
    ]))?;
    Ok(ExitCode::SUCCESS)
}
