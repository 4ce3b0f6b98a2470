//! Checks whether a store works, and closes it.

use async_trait::async_trait;

use crate::error::StoreError;

/// The connection to the database.
#[async_trait]
pub trait StoreConnection: Send + Sync {
    /// Whether the store can read and still takes writes.
    ///
    /// # Errors
    /// [`StoreError`] says what is wrong.
    async fn check(&self) -> Result<(), StoreError>;

    /// Refuses new operations, finishes those that were accepted and releases the database. Can be called twice.
    async fn close(&self);
}
