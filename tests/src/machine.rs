//! What this machine allows, and how a test says that it was left out.

use std::io::Write;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

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

/// How many descriptors a process may have: this one's limit is raised as far as it goes, and a host raises its own.
pub fn descriptors() -> usize {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    maximum.map_or(usize::MAX, |maximum| usize::try_from(maximum).unwrap())
}
