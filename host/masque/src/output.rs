//! Prints to the terminal. Whoever reads may be gone (`masque check | head -n 1`): that is no reason to panic.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

/// What an unwritable standard output means for a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// A reader that went away wanted no more.
    Accepted,
    /// The output exists only once, such as the secret of a new key.
    Fatal,
}

/// Prints a line to standard output. Returns failure if it could not be written and that matters; the reason is then on
/// standard error.
pub(crate) fn print(line: &impl Display, loss: Loss) -> ExitCode {
    let mut output = io::stdout().lock();
    match writeln!(output, "{line}").and_then(|()| output.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_accepted(&error, loss) => ExitCode::SUCCESS,
        Err(error) => {
            print_error(&format_args!("standard output can't be written: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Prints a line to standard error, if it can be written.
pub(crate) fn print_error(line: &impl Display) {
    // There is no other place to report this to.
    let _ = writeln!(io::stderr().lock(), "{line}");
}

fn is_accepted(error: &io::Error, loss: Loss) -> bool {
    error.kind() == ErrorKind::BrokenPipe && loss == Loss::Accepted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_reader_that_is_gone_is_accepted_and_not_for_a_secret() {
        let [broken, full] = [ErrorKind::BrokenPipe, ErrorKind::StorageFull].map(io::Error::from);
        assert!(is_accepted(&broken, Loss::Accepted));
        assert!(!is_accepted(&broken, Loss::Fatal));
        assert!(!is_accepted(&full, Loss::Accepted));
    }
}
