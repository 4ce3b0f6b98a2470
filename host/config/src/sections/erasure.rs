//! `[erasure]`: where erased users are listed, outside of the database.

use std::path::{Path, PathBuf};

use crate::section::Section;
use crate::value::{self, Expected};

/// The name of the list in the data folder.
const DEFAULT_LIST: &str = "erasures.jsonl";

/// Where erased users are listed.
#[derive(Clone, Debug)]
pub struct Erasure {
    /// The file of the erasure list.
    pub list: PathBuf,
}

/// Reads `list`; a relative path starts at `base`.
pub(crate) fn read(mut section: Section<'_, '_>, base: &Path) -> Option<PathBuf> {
    let expected = Expected { what: "a path", example: "\"/var/lib/masque-erasures.jsonl\"" };
    let list = section.read("list", expected, |value| value::path(value, base)).map(|path| path.value);
    section.defaults("list", || DEFAULT_LIST.to_owned());
    section.finish();
    list
}

impl Erasure {
    /// The list that is named, or the one in the data folder.
    pub(crate) fn new(list: Option<PathBuf>, data: &Path) -> Self {
        Self { list: list.unwrap_or_else(|| data.join(DEFAULT_LIST)) }
    }
}
