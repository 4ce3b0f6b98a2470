//! Where a configuration comes from, kept so that a running host can read it again. What becomes of the second reading is
//! for the active set to say.

use std::path::PathBuf;

use super::document::Document;
use super::environment::{self, Environment};
use super::problem::{Place, Problem};
use super::report::Report;
use super::sources::Sources;
use super::types::Config;
use super::{Flags, Loaded, Problems, find, read};

/// What the process was started with. Has no `Debug`: the environment holds secrets.
#[derive(Clone)]
pub(crate) struct Origin {
    pub(crate) flags: Flags,
    pub(crate) environment: Environment,
    /// Where the host is started; empty for the process's own folder.
    pub(crate) folder: PathBuf,
}

/// A reading, right or wrong.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) loaded: Result<Loaded, Problems>,
    /// What was read, as far as it got: a change in it is worth another attempt.
    pub(crate) sources: Sources,
}

impl Origin {
    /// The configuration of a host that starts.
    ///
    /// # Errors
    /// Every mistake and every warning, in the order of their places.
    pub(crate) fn load(&self) -> Result<Loaded, Problems> {
        self.attempt(None).loaded
    }

    /// The configuration as it is found while a host runs with `running`.
    pub(crate) fn again(&self, running: &Config) -> Attempt {
        self.attempt(Some(running))
    }

    fn attempt(&self, running: Option<&Config>) -> Attempt {
        let mut sources = Sources::default();
        let (document, mut unreadable) = match find(self, &mut sources) {
            Ok(document) => (document, None),
            Err(problem) => (None, Some(problem)),
        };
        if let Some(running) = running {
            unreadable = unreadable.or_else(|| vanished(running, document.as_ref()));
        }
        let (root, syntax) = document.as_ref().map(Document::parse).unwrap_or_default();
        let report = Report::after(sources, document.as_ref(), syntax);
        unreadable.into_iter().for_each(|problem| report.add(problem));
        environment::check(&self.environment, &report);

        let config = read(self, running, document.as_ref(), &root, &report);
        let sources = report.sources();
        let problems = report.into_problems();
        let loaded =
            if problems.are_fatal() { Err(problems) } else { Ok(Loaded { config, warnings: problems }) };
        Attempt { loaded, sources }
    }
}

/// A file that is gone, or has nothing left in it, is about to be written more often than it is meant so; a host that took
/// it at its word would drop every companion.
fn vanished(running: &Config, found: Option<&Document>) -> Option<Problem> {
    let file = running.file.as_deref()?;
    let (what, remedy) = match found {
        None => ("the file is gone", "Put it back, or start the host again to run without it."),
        Some(document) if document.is_empty() && !running.locations.are_empty() => {
            ("the file is empty", "If that is meant, leave a comment in it: a line that begins with `#`.")
        }
        Some(_) => return None,
    };
    Some(Problem::error(Place::whole_file(file), what, remedy))
}
