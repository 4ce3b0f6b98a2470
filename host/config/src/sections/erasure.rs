//! `[erasure]`: where erased users are listed, outside of the database.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::section::Section;
use crate::value::{self, Expected};

/// The name of the list in the data folder.
const DEFAULT_LIST: &str = "erasures.jsonl";

/// Where erased users are listed.
#[derive(Clone, Debug, Serialize)]
pub struct Erasure {
    /// The file that the operator named.
    list: Option<PathBuf>,
}

impl Erasure {
    /// The file of the erasure list: the one that the operator named, or `erasures.jsonl` in the data folder.
    pub fn list(&self, data: &Path) -> PathBuf {
        self.list.clone().unwrap_or_else(|| data.join(DEFAULT_LIST))
    }
}

/// Reads `list`; a relative path starts at `base`.
pub(crate) fn read(mut section: Section<'_, '_>, base: &Path) -> Erasure {
    let expected = Expected { what: "a path", example: "\"/var/lib/masque-erasures.jsonl\"" };
    let list = section.read("list", expected, |value| value::path(value, base)).map(|path| path.value);
    section.defaults("list", || DEFAULT_LIST.to_owned());
    section.finish();
    Erasure { list }
}
