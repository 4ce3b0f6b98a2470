//! Collects the diagnostics and the files of one reading. Reading continues after each mistake, so that all are reported
//! at once.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

use masque_files::{other_writers, take_away};

use crate::diagnostic::{Diagnostic, Diagnostics, Location, Severity};
use crate::document::{Document, SyntaxError};
use crate::snapshot::FileSnapshot;
use crate::wording::sentence;

/// Collects diagnostics from everything that reads the same document.
#[derive(Debug)]
pub(crate) struct Report<'d> {
    document: Option<&'d Document>,
    diagnostics: RefCell<Vec<Diagnostic>>,
    files: RefCell<FileSnapshot>,
    /// The lines that are not TOML. Other diagnostics on these lines are consequences of how the parser recovered, so they
    /// are dropped.
    broken_lines: BTreeSet<usize>,
    has_broken_header: bool,
    #[cfg(test)]
    known_keys: RefCell<Vec<KnownKey>>,
}

/// A key that a section reads, which the reference must list.
#[cfg(test)]
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KnownKey {
    pub(crate) section: String,
    pub(crate) key: &'static str,
    pub(crate) default: Option<String>,
}

impl<'d> Report<'d> {
    /// A report that begins with the syntax errors of the document.
    pub(crate) fn new(document: Option<&'d Document>, syntax_errors: Vec<SyntaxError>) -> Self {
        Self::with_files(FileSnapshot::default(), document, syntax_errors)
    }

    /// Like [`Self::new`], with files that were read before.
    pub(crate) fn with_files(
        files: FileSnapshot,
        document: Option<&'d Document>,
        syntax_errors: Vec<SyntaxError>,
    ) -> Self {
        let broken = || syntax_errors.iter().filter(|error| error.breaks_line);
        let has_broken_header = broken().any(|error| error.in_header);
        let broken_lines = broken().map(|error| error.line).collect();
        Self {
            document,
            diagnostics: RefCell::new(syntax_errors.into_iter().map(|error| error.diagnostic).collect()),
            files: RefCell::new(files),
            broken_lines,
            has_broken_header,
            #[cfg(test)]
            known_keys: RefCell::default(),
        }
    }

    /// Adds a diagnostic, unless it is on a line that is not TOML.
    pub(crate) fn add(&self, diagnostic: Diagnostic) {
        let on_broken_line = match &diagnostic.location {
            Location::File { position: Some(position), .. } => self.broken_lines.contains(&position.line),
            _ => false,
        };
        if !on_broken_line {
            self.diagnostics.borrow_mut().push(diagnostic);
        }
    }

    /// Records how a file is found. Call this before the file is read: then a change during the reading is noticed later.
    pub(crate) fn record_file(&self, path: &Path) {
        self.files.borrow_mut().record_file(path);
    }

    /// Records how a folder is found. Call this before the folder is listed.
    pub(crate) fn record_folder(&self, path: &Path) {
        self.files.borrow_mut().record_folder(path);
    }

    /// Warns if other users may change a file or folder that decides what the host does. `name` is the path as the operator
    /// gave it. Where nothing can be found out of it, reading it tells.
    pub(crate) fn warn_of_writers(&self, name: &Path, path: &Path) {
        let writers = path.metadata().ok().and_then(|metadata| other_writers(&metadata));
        if let Some(writers) = writers {
            let remedy = sentence(&take_away(path));
            self.add(Diagnostic::warning(Location::whole_file(name), writers.to_string(), remedy));
        }
    }

    /// Everything that was read so far.
    pub(crate) fn files(&self) -> FileSnapshot {
        self.files.borrow().clone()
    }

    /// Whether a line of the file is not TOML, so that a key that seems to be missing may be on it.
    pub(crate) fn has_broken_lines(&self) -> bool {
        !self.broken_lines.is_empty()
    }

    /// Whether the header of a table is not TOML, so that its keys seem to belong to the table before.
    pub(crate) fn has_broken_header(&self) -> bool {
        self.has_broken_header
    }

    pub(crate) fn error(&self, location: Location, what: impl Into<String>, remedy: impl Into<String>) {
        self.add(Diagnostic::error(location, what, remedy));
    }

    pub(crate) fn error_at(&self, span: &Range<usize>, what: impl Into<String>, remedy: impl Into<String>) {
        self.error(self.location(span), what, remedy);
    }

    /// Where the span begins in the document.
    pub(crate) fn location(&self, span: &Range<usize>) -> Location {
        match self.document {
            Some(document) => document.location(span),
            None => Location::Builtin("configuration".to_owned()),
        }
    }

    #[cfg(test)]
    pub(crate) fn add_known_key(&self, key: KnownKey) {
        self.known_keys.borrow_mut().push(key);
    }

    #[cfg(test)]
    pub(crate) fn into_known_keys(self) -> Vec<KnownKey> {
        self.known_keys.into_inner()
    }

    /// The number of errors so far.
    pub(crate) fn error_count(&self) -> usize {
        let diagnostics = self.diagnostics.borrow();
        diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).count()
    }

    pub(crate) fn into_diagnostics(self) -> Diagnostics {
        Diagnostics::new(self.diagnostics.into_inner())
    }
}
