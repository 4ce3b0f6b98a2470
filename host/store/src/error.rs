//! What can go wrong with an operation, sorted by what the caller can do about it.

use crate::state_values::StateConflict;

/// Why an operation on the store did not happen. Nothing was written, unless a variant says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The disk is full, the database is locked, the store is closed. Nothing was written; trying later can help.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// The connection or the disk failed while the operation was being written: it may have happened or not. The caller
    /// has to look it up by its id before it tells anyone. Operations that carry ids can be repeated.
    #[error("the store does not know whether the operation was written: {0}")]
    OutcomeUnknown(String),
    /// A row that does not parse, or a database file that is damaged. Trying again does not help.
    #[error("the store holds something it can't read: {0}")]
    Corrupt(String),
    /// The operation breaks a rule of the store: an id used twice, a value past its limit, a cursor that is none.
    #[error("the store refused: {0}")]
    Refused(String),
    /// The turn or job on whose behalf state was to be written has ended, or another host has taken it over.
    #[error("the turn or job that writes has ended or was taken over")]
    FenceEnded,
    /// A state write inside a larger operation did not fit the value it met; the whole operation is undone.
    #[error(transparent)]
    Conflict(#[from] StateConflict),
    /// A fault in the store itself, such as a panic. The operation is undone.
    #[error("a fault in the store: {0}")]
    Internal(String),
}
