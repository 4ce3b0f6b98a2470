//! What this machine allows, and how a test says that it was left out.

use std::io::Write;

/// Whether the long tests were asked for.
pub fn full() -> bool {
    std::env::var_os("MASQUE_FULL").is_some_and(|value| value == "1")
}

/// Says on the terminal, past the test runner's capture, that `test` showed nothing, and why.
pub fn skipped(test: &str, reason: &str) {
    let mut terminal = std::io::stderr().lock();
    // A terminal that is gone is no reason to fail.
    let _ = writeln!(terminal, "test {test} ... skipped: {reason}");
}
