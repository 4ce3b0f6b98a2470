//! Runs programs without output.

use std::process::{Command, Stdio};

/// Runs a command without output and returns whether it succeeded.
pub(super) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
