//! Programs of PyPI that check files of `deploy`, and running commands to their end.

use std::path::PathBuf;
use std::process::Stdio;

use masque_tests::python::locked_environment;
use tokio::process::Command;
use tokio::sync::OnceCell;

/// Made once, whichever test comes first.
static ENVIRONMENT: OnceCell<PathBuf> = OnceCell::const_new();

/// The path of a program that `tests/requirements/image.txt` names.
pub(super) async fn program(name: &str) -> PathBuf {
    let make = || locked_environment("image-programs", "tests/requirements/image.txt");
    ENVIRONMENT.get_or_init(make).await.join("bin").join(name)
}

/// How a command ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) succeeded: bool,
    pub(super) output: String,
    pub(super) errors: String,
}

impl Ended {
    /// Returns the output of a command that has to succeed.
    pub(super) fn expect(self) -> String {
        assert!(self.succeeded, "{}{}", self.output, self.errors);
        self.output
    }
}

/// Runs a command to its end.
pub(super) async fn run(command: &mut Command) -> Ended {
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap();
    Ended {
        succeeded: output.status.success(),
        output: String::from_utf8_lossy(&output.stdout).into_owned(),
        errors: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
