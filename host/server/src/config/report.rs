//! The mistakes found so far. Reading goes on after each, so that all are reported at once.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

use super::document::{Document, SyntaxError};
use super::problem::{Place, Problem, Problems, Severity};
use super::sources::Sources;

/// Collects problems from everything that reads the same document.
#[derive(Debug)]
pub(super) struct Report<'d> {
    document: Option<&'d Document>,
    problems: RefCell<Vec<Problem>>,
    sources: RefCell<Sources>,
    /// Lines that are not TOML. What seems wrong on them otherwise is only what the parser made of the pieces.
    torn: BTreeSet<usize>,
    torn_header: bool,
    #[cfg(test)]
    known: RefCell<Vec<Known>>,
}

/// A key that some section asked for: what the reference must list.
#[cfg(test)]
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Known {
    pub(super) section: String,
    pub(super) key: &'static str,
    pub(super) default: Option<String>,
}

impl<'d> Report<'d> {
    /// A report on a document whose syntax has been read.
    pub(super) fn new(document: Option<&'d Document>, syntax: Vec<SyntaxError>) -> Self {
        Self::after(Sources::default(), document, syntax)
    }

    /// The same where something has been read already.
    pub(super) fn after(sources: Sources, document: Option<&'d Document>, syntax: Vec<SyntaxError>) -> Self {
        let torn_header = syntax.iter().any(|error| error.tears && error.in_header);
        let torn = syntax.iter().filter(|error| error.tears).map(|error| error.line).collect();
        Self {
            document,
            problems: RefCell::new(syntax.into_iter().map(|error| error.problem).collect()),
            sources: RefCell::new(sources),
            torn,
            torn_header,
            #[cfg(test)]
            known: RefCell::default(),
        }
    }

    pub(super) fn add(&self, problem: Problem) {
        let torn = match &problem.place {
            Place::File { position: Some(position), .. } => self.torn.contains(&position.line),
            _ => false,
        };
        if !torn {
            self.problems.borrow_mut().push(problem);
        }
    }

    /// To be said before a file is read: what is written to it meanwhile shows later.
    pub(super) fn read_file(&self, path: &Path) {
        self.sources.borrow_mut().note_file(path);
    }

    /// The same before a folder is listed.
    pub(super) fn read_folder(&self, path: &Path) {
        self.sources.borrow_mut().note_folder(path);
    }

    /// Everything that has been read so far.
    pub(super) fn sources(&self) -> Sources {
        self.sources.borrow().clone()
    }

    /// Whether part of the file could not be read at all, so that what is missing may be there.
    pub(super) fn is_torn(&self) -> bool {
        !self.torn.is_empty()
    }

    pub(super) fn error(&self, place: Place, what: impl Into<String>, remedy: impl Into<String>) {
        self.add(Problem::error(place, what, remedy));
    }

    pub(super) fn error_at(&self, span: &Range<usize>, what: impl Into<String>, remedy: impl Into<String>) {
        self.error(self.place(span), what, remedy);
    }

    pub(super) fn place(&self, span: &Range<usize>) -> Place {
        match self.document {
            Some(document) => document.place(span),
            None => Place::Builtin("configuration".to_owned()),
        }
    }

    /// Whether a table's header could not be read, so that its keys seem to belong to another table.
    pub(super) fn is_unsure_of_tables(&self) -> bool {
        self.torn_header
    }

    #[cfg(test)]
    pub(super) fn know(&self, known: Known) {
        self.known.borrow_mut().push(known);
    }

    #[cfg(test)]
    pub(super) fn into_known(self) -> Vec<Known> {
        self.known.into_inner()
    }

    /// How many mistakes there are so far.
    pub(super) fn errors(&self) -> usize {
        self.problems.borrow().iter().filter(|problem| problem.severity == Severity::Error).count()
    }

    pub(super) fn into_problems(self) -> Problems {
        Problems::new(self.problems.into_inner())
    }
}

/// The one of `known` that a mistyped word most likely meant.
pub(crate) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    // Jaro-Winkler forgives what hands do: swapped and missing letters. Below this it starts to guess.
    const LIKELY: f64 = 0.75;
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= LIKELY)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// "`a`, `b`" for a sentence.
pub(super) fn listed<'k>(words: impl IntoIterator<Item = &'k str>) -> String {
    words.into_iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// A clause as a sentence of its own.
pub(super) fn sentence(clause: &str) -> String {
    let mut chars = clause.chars();
    let capitalised: String = chars.next().into_iter().flat_map(char::to_uppercase).chain(chars).collect();
    format!("{capitalised}.")
}
