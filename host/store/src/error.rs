//! Why an operation failed, sorted by what the caller can do about it.

use crate::state_values::StateConflict;

/// Why an operation on the store failed. Nothing was written, unless a variant says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The disk is full, the database is locked or overloaded, or the store is closed. Nothing was written; trying
    /// later can help.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// The connection or the disk failed while the operation was being written: it may be stored or not. Before the
    /// caller reports that an admission or a commit failed, it looks the turn up by its id ([`crate::Turns::turn`]) and
    /// ends a turn that was stored. Operations that carry ids can be repeated.
    #[error("the store does not know whether the operation was written: {0}")]
    OutcomeUnknown(String),
    /// A row can't be parsed, or the database file is damaged. Trying again does not help.
    #[error("the store holds something it can't read: {0}")]
    Corrupt(String),
    /// A later version of the program wrote it, in a format that this one does not know.
    #[error("the store holds a record of format {0}, which a later version wrote")]
    NewerFormat(u32),
    /// The operation breaks a rule of the store: an id that is taken, a value over its limit, an invalid cursor.
    #[error("the store refused: {0}")]
    Refused(String),
    /// The turn or job on whose behalf state was to be written has ended, or another host has taken it over.
    #[error("the turn or job that writes has ended or was taken over")]
    FenceEnded,
    /// A condition of a state write was not met (version, type or range); the whole operation is undone.
    #[error(transparent)]
    Conflict(#[from] StateConflict),
    /// A bug in the store, such as a panic. The operation is undone.
    #[error("a fault in the store: {0}")]
    Internal(String),
}
