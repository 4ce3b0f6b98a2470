//! The configuration file as text and as a tree of spans: read, bounded and parsed. The modules of the sections give its
//! keys their meaning.

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use crate::diagnostic::{Diagnostic, Location, Position};
use crate::file::{ReadError, read_bounded};

/// Far more than a configuration needs. A wrong path may name a huge file.
const MAX_BYTES: u64 = 1024 * 1024;

/// The text of a file, and the name that its diagnostics show: the one that the operator gave.
#[derive(Debug)]
pub(crate) struct Document {
    name: PathBuf,
    text: String,
}

impl Document {
    /// Reads the file at `path`. If it can't be opened, the diagnostic is at `named_at`, where the operator named it.
    pub(crate) fn read(name: &Path, path: &Path, named_at: &Location) -> Result<Self, Diagnostic> {
        let bytes = read_bounded(path, MAX_BYTES).map_err(|error| match error {
            ReadError::Missing => Diagnostic::error(
                named_at.clone(),
                format!("there is no file {}", name.display()),
                "Name a configuration file that exists, or none.",
            ),
            ReadError::TooLarge => Diagnostic::error(
                Location::whole_file(name),
                "the file is larger than 1 MiB",
                "A configuration file is a few lines of TOML; is this another file?",
            ),
            ReadError::Other(error) => Diagnostic::error(
                named_at.clone(),
                format!("{} can't be read: {error}", name.display()),
                "Make it a file that the host's user may read.",
            ),
        })?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let valid = String::from_utf8_lossy(
                error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default(),
            );
            let position = Some(position(&valid, valid.len()));
            let location = Location::File { path: name.to_path_buf(), position };
            Diagnostic::error(location, "the file is not UTF-8 from here on", "Save it as UTF-8.")
        })?;
        Ok(Self { name: name.to_path_buf(), text })
    }

    #[cfg(test)]
    pub(crate) fn from_text(name: &str, text: &str) -> Self {
        Self { name: PathBuf::from(name), text: text.to_owned() }
    }

    /// The tree, as far as the parser understands the text, and all syntax errors.
    pub(crate) fn parse(&self) -> (DeTable<'_>, Vec<SyntaxError>) {
        let (table, errors) = DeTable::parse_recoverable(&self.text);
        let errors = errors.into_iter().map(|error| {
            let span = error.span().unwrap_or_default();
            let token = self.text.get(span.clone()).unwrap_or_default();
            let breaks_line = error.message() != "duplicate key";
            let (what, remedy) = if breaks_line {
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
            let diagnostic = Diagnostic::error(self.location(&span), what, remedy);
            SyntaxError { diagnostic, line, breaks_line, in_header }
        });
        let errors = errors.collect();
        (table.into_inner(), errors)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    pub(crate) fn name(&self) -> &Path {
        &self.name
    }

    /// Where a span begins.
    pub(crate) fn position(&self, span: &Range<usize>) -> Position {
        position(&self.text, span.start)
    }

    pub(crate) fn location(&self, span: &Range<usize>) -> Location {
        Location::File { path: self.name.clone(), position: Some(self.position(span)) }
    }
}

/// A mistake that TOML itself forbids.
#[derive(Debug)]
pub(crate) struct SyntaxError {
    pub(crate) diagnostic: Diagnostic,
    pub(crate) line: usize,
    /// Whether the line can't be parsed. A duplicate key can be.
    pub(crate) breaks_line: bool,
    /// Whether the line is the header of a table.
    pub(crate) in_header: bool,
}

fn position(text: &str, offset: usize) -> Position {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    Position {
        line: before.matches('\n').count() + 1,
        column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
    }
}
