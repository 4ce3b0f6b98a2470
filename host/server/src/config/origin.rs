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

/// A configuration that no host can start with.
#[derive(Debug)]
pub(crate) struct Mistaken {
    /// Every mistake and every warning, in the order of their places.
    pub(crate) problems: Problems,
    /// What is right in it, so that its plugins can be asked about their settings too; none where the file could not be
    /// read to its end.
    pub(crate) rest: Option<Box<Config>>,
}

impl Origin {
    /// The configuration of a host that starts.
    ///
    /// # Errors
    /// Every mistake that shows before a component is loaded.
    pub(crate) fn load(&self) -> Result<Loaded, Mistaken> {
        self.attempt(None).0
    }

    /// The configuration as it is found while a host runs with `running`.
    pub(crate) fn again(&self, running: &Config) -> Attempt {
        let (loaded, sources) = self.attempt(Some(running));
        Attempt { loaded: loaded.map_err(|mistaken| mistaken.problems), sources }
    }

    fn attempt(&self, running: Option<&Config>) -> (Result<Loaded, Mistaken>, Sources) {
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
        let whole = unreadable.is_none() && !report.is_torn();
        unreadable.into_iter().for_each(|problem| report.add(problem));
        environment::check(&self.environment, &report);

        let config = read(self, running, document.as_ref(), &root, &report);
        let sources = report.sources();
        let problems = report.into_problems();
        let loaded = if problems.are_fatal() {
            Err(Mistaken { problems, rest: whole.then(|| Box::new(config)) })
        } else {
            Ok(Loaded { config, warnings: problems })
        };
        (loaded, sources)
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
