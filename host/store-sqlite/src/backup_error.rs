//! Why a backup could not be made or restored.

use std::io;
use std::path::PathBuf;

use masque_store::{OpenError, StoreError};

/// Why a backup could not be made or restored. The database of the data folder is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The data folder can't be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A file of this name is there already.
    #[error("{file} exists already and is left as it is; name another file")]
    Exists {
        /// The file.
        file: PathBuf,
    },
    /// Another backup is being written to the same file.
    #[error("another backup is being written to {file}; wait for it, or name another file")]
    Busy {
        /// The file.
        file: PathBuf,
    },
    /// The disk has too little space.
    #[error(
        "{folder} has {available} bytes left and needs {needed}; make room, or name a file on another disk"
    )]
    NoSpace {
        /// The folder.
        folder: PathBuf,
        /// Bytes.
        needed: u64,
        /// Bytes.
        available: u64,
    },
    /// A file can't be read, written or renamed.
    #[error("{file} can't be used: {source}")]
    File {
        /// The file.
        file: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// What is to be restored is not what `masque backup` wrote.
    #[error("{file} can't be restored: {reason}")]
    NoBackup {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The database can't be read, or what was written differs from it.
    #[error("the database can't be copied to {file}: {source}")]
    Copy {
        /// The file.
        file: PathBuf,
        /// What the database said.
        source: StoreError,
    },
}
