//! One write.

use std::panic::{AssertUnwindSafe, catch_unwind};

use masque_store::StoreError;
use rusqlite::Connection;

use crate::error::Result;

/// A write that the writer runs in a savepoint of its own. It must not begin or end a transaction.
pub(crate) trait Operation: Send + 'static {
    /// The result for the caller.
    type Answer: Send + 'static;

    /// Whether nobody waits for it. A transaction takes one such operation at most, after all others that wait, so that
    /// the largest of them delays a turn by itself alone.
    const IS_BACKGROUND: bool = false;

    /// Runs once. An error undoes everything that it wrote.
    fn run(self, connection: &Connection) -> Result<Self::Answer>;
}

/// Turns a panic into an error, so that it fails only what panicked. The panic hook has reported it.
pub(crate) fn without_panic<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_panic| Err(StoreError::Internal("an operation panicked".into()).into()))
}
