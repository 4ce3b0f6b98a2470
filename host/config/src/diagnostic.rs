//! What is wrong with a configuration: where, what, and what to do about it. Each diagnostic prints as one line that a
//! terminal, a log and an editor that jumps to `file:line:column` can read.

use std::fmt;
use std::path::{Path, PathBuf};

/// One mistake or warning. It never holds a secret: values that may be secret are not quoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Where the mistake is.
    pub location: Location,
    /// Whether the host can start.
    pub severity: Severity,
    /// What is wrong, without a full stop.
    pub what: String,
    /// What to do about it, as a whole sentence.
    pub remedy: String,
}

/// Whether the host can start with the mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The host refuses to start.
    Error,
    /// The host starts and tells the operator.
    Warning,
}

/// Where a mistake is. Diagnostics are reported in this order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Location {
    /// A file, or a position in it.
    File {
        /// The path as the operator gave it.
        path: PathBuf,
        /// `None` for the whole file.
        position: Option<Position>,
    },
    /// An environment variable.
    Variable(String),
    /// A flag of the command line.
    Flag(&'static str),
    /// Something that exists without being configured, by its name.
    Builtin(String),
    /// A companion or plugin of the active set that hosts share. The file of this host may have another one of that name.
    ActiveSet(String),
}

/// A position in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

/// All diagnostics of one configuration, sorted by location, without duplicates.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(.0))]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostic {
    /// A mistake with which the host can't start.
    pub fn error(location: Location, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { location, severity: Severity::Error, what: what.into(), remedy: remedy.into() }
    }

    /// A warning.
    pub fn warning(location: Location, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { location, severity: Severity::Warning, what: what.into(), remedy: remedy.into() }
    }
}

impl Location {
    /// The file as a whole, without a position.
    pub fn whole_file(path: &Path) -> Self {
        Self::File { path: path.to_path_buf(), position: None }
    }
}

impl Diagnostics {
    /// Sorts the diagnostics and removes duplicates.
    pub fn new(mut diagnostics: Vec<Diagnostic>) -> Self {
        diagnostics.sort_by(|a, b| a.location.cmp(&b.location));
        diagnostics.dedup();
        Self(diagnostics)
    }

    /// Whether one of them is an error, so that the host must not start.
    pub fn are_fatal(&self) -> bool {
        self.0.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The diagnostics in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.0.iter()
    }

    /// The diagnostics in order.
    pub fn into_vec(self) -> Vec<Diagnostic> {
        self.0
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "",
            Severity::Warning => "warning: ",
        };
        // A path or name in the file may hold line breaks or terminal escapes, which would forge lines or colours.
        let line = format!("{}: {severity}{}. {}", self.location, self.what, self.remedy);
        f.write_str(&line.replace(char::is_control, " "))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, position: None } => path.display().fmt(f),
            Self::File { path, position: Some(Position { line, column }) } => {
                write!(f, "{}:{line}:{column}", path.display())
            }
            Self::Variable(name) => f.write_str(name),
            Self::Flag(name) => f.write_str(name),
            Self::Builtin(name) => write!(f, "built-in {name}"),
            Self::ActiveSet(name) => write!(f, "active set, {name}"),
        }
    }
}

fn lines(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
