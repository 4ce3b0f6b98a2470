//! Checks whether a store works, and closes it.

use async_trait::async_trait;
use uuid::Uuid;

use crate::error::StoreError;

/// The connection to the database.
#[async_trait]
pub trait StoreConnection: Send + Sync {
    /// Whether the store can read and takes writes. It takes none if the last write that changed something failed, for
    /// example on a full disk, until one succeeds. Writes nothing itself.
    ///
    /// # Errors
    /// [`StoreError`] says what is wrong, and for how long.
    async fn check(&self) -> Result<(), StoreError>;

    /// Resolves with the reason when the store stopped working for good although nobody closed it, for example because
    /// a thread of it ended or the database was deleted. Nothing can be stored or read from then on, so the process has to end.
    async fn failed(&self) -> StoreError;

    /// The id of the installation: all hosts of one database have the same, and no two databases have, unless one is a copy
    /// of the other. It tells installations apart that share a Redis.
    ///
    /// # Errors
    /// [`StoreError`] says what is wrong.
    async fn installation(&self) -> Result<Uuid, StoreError>;

    /// The space that the store takes.
    ///
    /// # Errors
    /// [`StoreError`] says what is wrong.
    async fn size(&self) -> Result<StoreSize, StoreError>;

    /// Refuses new operations, finishes those that were accepted and releases the database. Can be called twice.
    async fn close(&self);
}

/// The space that a store takes on its disk, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreSize {
    /// The database.
    pub database: u64,
    /// Changes that are stored durably but not yet in the database: SQLite's write-ahead log.
    pub log: u64,
}
