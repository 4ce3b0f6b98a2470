//! The configuration file as text and as a tree of spans: found, read, bounded and parsed. What its keys mean is left to
//! the rooms that read them.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::problem::{Place, Position, Problem};

/// Far more than any configuration needs; a wrong path given by mistake may name something huge.
const MAX_BYTES: u64 = 1024 * 1024;

/// The text of a file, and the name that its mistakes are reported under: the one the operator gave.
#[derive(Debug)]
pub(super) struct Document {
    name: PathBuf,
    text: String,
}

impl Document {
    /// Reads the file at `path`; `asked_by` is who named it, and who is told if it can't be opened.
    pub(super) fn read(name: &Path, path: &Path, asked_by: &Place) -> Result<Self, Problem> {
        let bytes = read_bounded(path, MAX_BYTES).map_err(|error| match error {
            Unreadable::Missing => Problem::error(
                asked_by.clone(),
                format!("there is no file {}", name.display()),
                "Name a configuration file that exists, or none.",
            ),
            Unreadable::TooLarge => Problem::error(
                Place::whole_file(name),
                "the file is larger than 1 MiB",
                "A configuration file is a few lines of TOML; is this another file?",
            ),
            Unreadable::Other(error) => Problem::error(
                asked_by.clone(),
                format!("{} can't be read: {error}", name.display()),
                "Make it a file that the host's user may read.",
            ),
        })?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let valid = String::from_utf8_lossy(
                error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default(),
            );
            let place =
                Place::File { path: name.to_path_buf(), position: Some(position(&valid, valid.len())) };
            Problem::error(place, "the file is not UTF-8 from here on", "Save it as UTF-8.")
        })?;
        Ok(Self { name: name.to_path_buf(), text })
    }

    #[cfg(test)]
    pub(super) fn from_text(name: &str, text: &str) -> Self {
        Self { name: PathBuf::from(name), text: text.to_owned() }
    }

    /// The tree, as far as it can be told, and every mistake of syntax.
    pub(super) fn parse(&self) -> (DeTable<'_>, Vec<SyntaxError>) {
        let (table, errors) = DeTable::parse_recoverable(&self.text);
        let errors = errors.into_iter().map(|error| {
            let span = error.span().unwrap_or_default();
            let token = self.text.get(span.clone()).unwrap_or_default();
            let tears = error.message() != "duplicate key";
            let (what, remedy) = if tears {
                (
                    format!("this is not TOML: {}", error.message()),
                    "Strings stand in quotes, a table begins with [name], and each key = value has its own line.",
                )
            } else {
                (format!("`{token}` is there twice"), "Keep one of the two, or put their keys together.")
            };
            let line = self.position(&span).line;
            let text = self.text.lines().nth(line - 1).unwrap_or_default();
            let in_header = text.trim_start().starts_with('[');
            SyntaxError { problem: Problem::error(self.place(&span), what, remedy), line, tears, in_header }
        });
        let errors = errors.collect();
        (table.into_inner(), errors)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    pub(super) fn name(&self) -> &Path {
        &self.name
    }

    /// Where a span begins.
    pub(super) fn position(&self, span: &Range<usize>) -> Position {
        position(&self.text, span.start)
    }

    pub(super) fn place(&self, span: &Range<usize>) -> Place {
        Place::File { path: self.name.clone(), position: Some(self.position(span)) }
    }
}

/// A mistake that TOML itself forbids.
#[derive(Debug)]
pub(super) struct SyntaxError {
    pub(super) problem: Problem,
    pub(super) line: usize,
    /// Whether the line could not be understood, and not merely what it adds up to.
    pub(super) tears: bool,
    pub(super) in_header: bool,
}

/// Why a file that the configuration names could not be had.
#[derive(Debug)]
pub(super) enum Unreadable {
    Missing,
    TooLarge,
    Other(io::Error),
}

/// A file's bytes, unless there are more than `limit`.
pub(super) fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, Unreadable> {
    let file = File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Unreadable::Missing,
        _ => Unreadable::Other(error),
    })?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(Unreadable::Other)?;
    if bytes.len() as u64 > limit { Err(Unreadable::TooLarge) } else { Ok(bytes) }
}

fn position(text: &str, offset: usize) -> Position {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    Position {
        line: before.matches('\n').count() + 1,
        column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
    }
}
