//! The limits of this machine, and reports of tests that are skipped.

use std::io::Write;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Whether the long tests are enabled.
pub fn full() -> bool {
    std::env::var_os("MASQUE_FULL").is_some_and(|value| value == "1")
}

/// Prints that `test` was skipped, and why, also if the test runner captures output.
pub fn skipped(test: &str, reason: &str) {
    let mut terminal = std::io::stderr().lock();
    // A closed terminal must not fail the test.
    let _ = writeln!(terminal, "test {test} ... skipped: {reason}");
}

/// As [`skipped`], for a test that this machine lacks something for.
///
/// # Panics
/// If `CI` is `true`: there, what is not tested must not look as if it had passed.
pub fn unavailable(test: &str, reason: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{test} is not tested: {reason}");
    skipped(test, reason);
}

/// Raises this process's limit of descriptors to the maximum and returns it. A host raises its own limit.
pub fn descriptors() -> usize {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    maximum.map_or(usize::MAX, |maximum| usize::try_from(maximum).unwrap())
}
