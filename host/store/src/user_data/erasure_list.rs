//! The erasure list: a file outside of the database that says who was erased, so that a backup from before can be erased
//! again when it is restored.
//!
//! Each line is a JSON object. A line is appended under a lock and is on disk before the receipt of its erasure says that it
//! is done. A crash can leave a part of a line at the end; such an erasure is not done and appends its entry again, so the
//! part is cut off by the next append and ignored by readers. An entry can be in the list more than once.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::erasure::Erasure;
use super::erasure_key::ErasedName;

/// Only the owner of the file can read and change it.
const MODE: u32 = 0o600;

/// One erasure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErasureEntry {
    /// The receipt.
    pub receipt: Uuid,
    /// The keyed hash of the user's identity.
    pub name: ErasedName,
    /// The surrogate id that was erased.
    pub user: Uuid,
    /// When the erasure began, in milliseconds.
    pub erased_at: i64,
    /// The installation whose key the name was made with.
    pub installation: Uuid,
}

impl ErasureEntry {
    /// The entry of an erasure.
    pub fn new(erasure: &Erasure, installation: Uuid) -> Self {
        Self {
            receipt: erasure.receipt,
            name: erasure.name.clone(),
            user: erasure.user,
            erased_at: erasure.begun_at,
            installation,
        }
    }
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
struct Line {
    receipt: Uuid,
    name: String,
    user: Uuid,
    erased_at: i64,
    installation: Uuid,
}

/// Why the list can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ErasureListError {
    /// The file can't be read or written.
    #[error("the erasure list {path} can't be {action}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// A line is not an entry.
    #[error("line {line} of the erasure list {path} is damaged: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
}

/// The file with the erasure list.
#[derive(Clone, Debug)]
pub struct ErasureList {
    path: PathBuf,
}

impl ErasureList {
    /// The list in this file, which need not exist.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends an entry and returns when it is on disk. Blocks.
    ///
    /// # Errors
    /// [`ErasureListError::Io`].
    pub fn append(&self, entry: &ErasureEntry) -> Result<(), ErasureListError> {
        self.try_append(entry).map_err(|source| self.io("written", source))
    }

    /// The entries, each once, the oldest first. Blocks.
    ///
    /// # Errors
    /// [`ErasureListError::Io`], also if there is no such file; [`ErasureListError::Damaged`] if a line can't be read: a list
    /// that names fewer than it should must not be applied.
    pub fn read(&self) -> Result<Vec<ErasureEntry>, ErasureListError> {
        let text = std::fs::read(&self.path).map_err(|source| self.io("read", source))?;
        let complete = text.get(..end_of_lines(&text)).unwrap_or_default();
        let mut entries: Vec<ErasureEntry> = Vec::new();
        for (index, line) in complete.split(|byte| *byte == b'\n').enumerate() {
            if line.trim_ascii().is_empty() {
                continue;
            }
            let entry = parse(line).map_err(|reason| ErasureListError::Damaged {
                path: self.path.clone(),
                line: index + 1,
                reason,
            })?;
            if entries.iter().all(|earlier| earlier.receipt != entry.receipt) {
                entries.push(entry);
            }
        }
        Ok(entries)
    }

    fn try_append(&self, entry: &ErasureEntry) -> io::Result<()> {
        let is_new = !self.path.exists();
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(MODE)
            .open(&self.path)?;
        // Released when the file is closed. Hosts can share a list, and the command line works beside a host.
        file.lock()?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let end = end_of_lines(&text) as u64;
        file.set_len(end)?;
        file.seek(SeekFrom::Start(end))?;
        let line = Line {
            receipt: entry.receipt,
            name: entry.name.as_str().to_owned(),
            user: entry.user,
            erased_at: entry.erased_at,
            installation: entry.installation,
        };
        let mut line = serde_json::to_vec(&line)?;
        line.push(b'\n');
        file.write_all(&line)?;
        file.sync_all()?;
        if is_new {
            // The name of the file is a part of its folder.
            let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        }
        Ok(())
    }

    fn io(&self, action: &'static str, source: io::Error) -> ErasureListError {
        ErasureListError::Io { path: self.path.clone(), action, source }
    }
}

/// Where the last complete line ends.
fn end_of_lines(text: &[u8]) -> usize {
    text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1)
}

fn parse(line: &[u8]) -> Result<ErasureEntry, String> {
    let Line { receipt, name, user, erased_at, installation } =
        serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let name = name.parse().map_err(|error: crate::error::StoreError| error.to_string())?;
    Ok(ErasureEntry { receipt, name, user, erased_at, installation })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u128) -> ErasureEntry {
        ErasureEntry {
            receipt: Uuid::from_u128(number),
            name: "ab".repeat(32).parse().unwrap(),
            user: Uuid::from_u128(number + 100),
            erased_at: 1_764_000_000_000,
            installation: Uuid::from_u128(7),
        }
    }

    #[test]
    fn entries_come_back_in_order_and_once() {
        let folder = tempfile::tempdir().unwrap();
        let list = ErasureList::at(folder.path().join("erasures.jsonl"));
        assert!(
            matches!(list.read(), Err(ErasureListError::Io { .. })),
            "a list that is missing is not empty"
        );
        for number in [1, 2, 1] {
            list.append(&entry(number)).unwrap();
        }
        assert_eq!(list.read().unwrap(), [entry(1), entry(2)]);
    }

    #[test]
    fn a_part_of_a_line_at_the_end_is_ignored_and_cut_off_and_damage_elsewhere_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let list = ErasureList::at(folder.path().join("erasures.jsonl"));
        list.append(&entry(1)).unwrap();
        let cut =
            |text: &[u8]| OpenOptions::new().append(true).open(list.path()).unwrap().write_all(text).unwrap();
        cut(b"{\"receipt\":\"0000");
        assert_eq!(list.read().unwrap(), [entry(1)]);
        list.append(&entry(2)).unwrap();
        assert_eq!(list.read().unwrap(), [entry(1), entry(2)]);
        cut(b"{}\n");
        assert!(matches!(list.read(), Err(ErasureListError::Damaged { line: 3, .. })));
    }

    #[test]
    fn only_its_owner_can_read_the_list() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let list = ErasureList::at(folder.path().join("erasures.jsonl"));
        list.append(&entry(1)).unwrap();
        assert_eq!(list.path().metadata().unwrap().permissions().mode() & 0o077, 0);
    }
}
