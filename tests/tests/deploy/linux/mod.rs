//! Linux hosts: the units of systemd, sockets that outlive a host, encrypted backups and the Debian package.
#![allow(clippy::print_stdout, reason = "the figures that the guide states")]

mod backup;
mod machine;
mod package;
mod sockets;
mod units;

use std::process::Command;

/// Runs a program. Returns its standard output and standard error, and whether it succeeded.
fn run(command: &mut Command) -> (bool, String) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} can't be started: {error}"));
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// Runs a program that must succeed. Returns its standard output and standard error.
fn succeed(command: &mut Command) -> String {
    let (is_success, text) = run(command);
    assert!(is_success, "{command:?} failed:\n{text}");
    text
}

/// Whether a program can be run. Otherwise says that `test` is skipped, or fails where `CI` is `true`.
fn has(program: &str, test: &str) -> bool {
    let is_here = Command::new(program).arg("--version").output().is_ok();
    if !is_here {
        masque_tests::unavailable(test, &format!("{program} is not here"));
    }
    is_here
}
