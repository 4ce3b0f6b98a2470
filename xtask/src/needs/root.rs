//! Runs programs as root.

use std::process::Command;

/// A command that runs `program` as root, through sudo unless this process is root already.
pub(super) fn as_root(sudo: bool, program: &str) -> Command {
    if sudo {
        let mut command = Command::new("sudo");
        command.arg(program);
        command
    } else {
        Command::new(program)
    }
}
