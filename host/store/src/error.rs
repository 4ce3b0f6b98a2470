//! What can go wrong, sorted by what the caller can do about it.

use std::path::PathBuf;

use crate::StateConflict;

/// Why an operation on the store did not happen. Nothing was written, unless a variant says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The disk is full or failing, the database is locked, the store is closed. Trying later can help; whether the
    /// operation reached the disk is then to be looked up by its id.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// A row that does not parse, or a database file that is damaged. Trying again does not help.
    #[error("the store holds something it can't read: {0}")]
    Corrupt(String),
    /// The operation breaks a rule of the store: an id used twice, a value past its limit, a cursor that is none.
    #[error("the store refused: {0}")]
    Refused(String),
    /// A state write inside a larger operation did not fit the value it met; the whole operation is undone.
    #[error(transparent)]
    Conflict(#[from] StateConflict),
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another host uses the data folder.
    #[error("the data folder {folder} is in use by another host{}; stop it, or choose another folder",
        holder.as_deref().map(|pid| format!(" (process {pid}, by its own account)")).unwrap_or_default())]
    Locked {
        /// The data folder.
        folder: PathBuf,
        /// What the holder wrote about itself (its process id): for the eye only, since a process id may be stale
        /// or belong to another machine.
        holder: Option<String>,
    },
    /// The folder or a file in it can't be made, opened or written.
    #[error("the data folder {folder} can't be used")]
    Io {
        /// The data folder.
        folder: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The database was written by a later version of Masque.
    #[error(
        "the database in {folder} was written by a newer version of Masque (its schema is {found}, this one knows \
         {known}); run that version, or restore a backup"
    )]
    Newer {
        /// The data folder.
        folder: PathBuf,
        /// The newest migration the database has seen.
        found: i64,
        /// The newest migration this build has.
        known: i64,
    },
    /// The schema could not be brought up to date.
    #[error("the database in {folder} could not be migrated: {reason}")]
    Migrate {
        /// The data folder.
        folder: PathBuf,
        /// What the migration ran into.
        reason: String,
    },
    /// The database file can't be opened or recovered.
    #[error("the database in {folder} can't be opened")]
    Database {
        /// The data folder.
        folder: PathBuf,
        /// What the database said.
        source: StoreError,
    },
}
