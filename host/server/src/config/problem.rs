//! A mistake of the operator: where it is, what is wrong, what to do. One line each, so that a terminal, a log and an
//! editor that jumps to `file:line:column` all read it.

use std::fmt;
use std::path::{Path, PathBuf};

/// One mistake. Never holds a secret: values that may be one are not quoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) place: Place,
    pub(crate) severity: Severity,
    /// What is wrong, without a full stop.
    pub(crate) what: String,
    /// What to do about it: a whole sentence.
    pub(crate) remedy: String,
}

/// Whether the host can start with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    Error,
    Warning,
}

/// Where a mistake was made. The order is the one in which they are reported.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// The configuration file, or a line of it.
    File { path: PathBuf, position: Option<Position> },
    /// An environment variable.
    Variable(String),
    /// A flag of the command line.
    Flag(&'static str),
    /// What is there without being configured, by its name.
    Builtin(String),
}

/// Both from 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// All mistakes of one configuration, in the order of their places.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(.0))]
pub(crate) struct Problems(Vec<Problem>);

impl Problem {
    pub(crate) fn error(place: Place, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { place, severity: Severity::Error, what: what.into(), remedy: remedy.into() }
    }

    pub(crate) fn warning(place: Place, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { place, severity: Severity::Warning, what: what.into(), remedy: remedy.into() }
    }
}

impl Place {
    pub(super) fn whole_file(path: &Path) -> Self {
        Self::File { path: path.to_path_buf(), position: None }
    }
}

impl Problems {
    pub(crate) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by(|a, b| a.place.cmp(&b.place));
        problems.dedup();
        Self(problems)
    }

    /// Whether the host must not start.
    pub(crate) fn are_fatal(&self) -> bool {
        self.0.iter().any(|problem| problem.severity == Severity::Error)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }

    pub(crate) fn into_vec(self) -> Vec<Problem> {
        self.0
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "",
            Severity::Warning => "warning: ",
        };
        // A path or name in the file may hold a line break, or what moves a terminal's cursor.
        let line = format!("{}: {severity}{}. {}", self.place, self.what, self.remedy);
        f.write_str(&line.replace(char::is_control, " "))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, position: None } => path.display().fmt(f),
            Self::File { path, position: Some(Position { line, column }) } => {
                write!(f, "{}:{line}:{column}", path.display())
            }
            Self::Variable(name) => f.write_str(name),
            Self::Flag(name) => f.write_str(name),
            Self::Builtin(name) => write!(f, "built-in {name}"),
        }
    }
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
