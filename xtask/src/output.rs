//! Prints to the terminal. Whoever reads may be gone (`cargo xtask help | head -n 1`): that is no reason to panic.

use std::fmt::Arguments;
use std::io::Write;

/// Prints a line to standard output, if it can be written.
pub(crate) fn print(line: Arguments<'_>) {
    // A reader that is gone wants no more.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Prints a line to standard error, if it can be written.
pub(crate) fn print_error(line: Arguments<'_>) {
    // There is no other place to report this to.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
