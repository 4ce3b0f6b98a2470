//! Why a store could not be opened.

use std::path::PathBuf;

use crate::error::StoreError;

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another host uses the data folder.
    #[error("the data folder {folder} is in use by another host{}; stop it, or choose another folder",
        holder.as_deref().map(|pid| format!(" (process {pid}, by its own account)")).unwrap_or_default())]
    Locked {
        /// The data folder.
        folder: PathBuf,
        /// What the holder wrote about itself (its process id). It is shown and decides nothing: a process id may be
        /// stale or belong to another machine.
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
    /// A thread of the store can't be started. The folder was not used.
    #[error(
        "the system refuses another thread: {source}; raise the limits on memory (`ulimit -v`) and on processes and threads \
         (`ulimit -u`, `TasksMax=` of systemd, `pids` of a container)"
    )]
    NoThread {
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The database has another schema than this build: it was written by an older or a newer version of Masque.
    /// Nothing was changed.
    #[error(
        "the database in {folder} was written by an older or a newer version of Masque, and this version can't read it \
         ({reason}); run the version that wrote it, or begin anew: name another data folder, or move this one away"
    )]
    OtherSchema {
        /// The data folder.
        folder: PathBuf,
        /// How the schema differs.
        reason: String,
    },
    /// The database has the schema of an older version, and the caller may not migrate it. Nothing was changed.
    #[error(
        "the database in {folder} has the schema of an older version; start the host, which makes a backup and migrates it"
    )]
    OlderSchema {
        /// The data folder.
        folder: PathBuf,
    },
    /// The database has the schema of an older version and could not be migrated. It is as it was.
    #[error(
        "the database in {folder} could not be migrated and is as it was: {reason}; the version before can still use it"
    )]
    Migration {
        /// The data folder.
        folder: PathBuf,
        /// What went wrong.
        reason: String,
    },
    /// The database has tables, but none of them is of Masque. Nothing was changed.
    #[error(
        "the database in {folder} was not written by Masque and is left as it is; name another data folder, or move \
         the database away"
    )]
    ForeignDatabase {
        /// The data folder.
        folder: PathBuf,
    },
    /// A host of another version of Masque uses the database. Nothing was changed.
    #[error(
        "the database in {folder} is in use by a host of another version of Masque ({reason}); run this command with \
         that version"
    )]
    UsedByOtherVersion {
        /// The data folder.
        folder: PathBuf,
        /// How the schema differs.
        reason: String,
    },
    /// The database is empty, and the caller may not make its schema.
    #[error(
        "the database in {folder} has no schema yet: its host is just starting, or none has started; try again once the \
         host runs"
    )]
    NoSchema {
        /// The data folder.
        folder: PathBuf,
    },
    /// The schema of an empty database could not be made.
    #[error("the schema of the database in {folder} could not be made: {reason}")]
    Schema {
        /// The data folder.
        folder: PathBuf,
        /// What went wrong.
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
