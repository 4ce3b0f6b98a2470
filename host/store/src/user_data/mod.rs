//! The data of one user as a whole: its export and its erasure.
//!
//! An erasure is durable work with a receipt. [`UserData::begin_erasure`] fences the user's surrogate id in one
//! transaction: the id loses its name, its running turns lose their leases and its jobs are not run, so nothing is written
//! under it any more, and the same person gets a new id with the next request. [`UserData::erase_some`] removes the rows in
//! batches, [`UserData::clear_traces`] removes what the database keeps of removed rows, and
//! [`UserData::finish_erasure`] completes the receipt. A backup from before is erased again when it is restored: see
//! [`ErasureList`].

mod erasure;
mod erasure_key;
mod erasure_list;
mod export;
mod replay;

use async_trait::async_trait;
use uuid::Uuid;

use crate::audit::AuditEntry;
use crate::error::StoreError;
use crate::owner::Owner;
use crate::page::Paged;

pub use erasure::{ErasedRows, Erasure, ErasureRequest};
pub use erasure_key::{ErasedName, Installation};
pub use erasure_list::{ErasureEntry, ErasureList, ErasureListError};
pub use export::{
    ExportItem, ExportSection, ExportedJob, ExportedKey, ExportedSpending, ExportedState,
    UnreadableTurnRecord, decode_cursor, encode_cursor,
};
pub use replay::ErasureReplay;

/// Exports and erases the data of users.
#[async_trait]
pub trait UserData: Send + Sync {
    /// The identity of this installation.
    async fn installation(&self) -> Result<Installation, StoreError>;

    /// The surrogate id of a user; `None` if nothing was ever stored for them, or since they were erased.
    async fn user_id(&self, owner: &Owner) -> Result<Option<Uuid>, StoreError>;

    /// The user with this surrogate id; `None` if it is unknown or was erased.
    async fn user(&self, id: Uuid) -> Result<Option<Owner>, StoreError>;

    /// Users by their surrogate ids, after `after`, without those that are being erased.
    async fn users(&self, after: Option<Uuid>, limit: u32) -> Result<Vec<(Uuid, Owner)>, StoreError>;

    /// A page of one section of a user's data. Its size is bounded, and a page may be empty although others follow. Pages are
    /// read one after the other: what changes meanwhile may be in the export or not.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if `after` is not [`Paged::next`] of the same section.
    async fn export(
        &self,
        owner: &Owner,
        section: ExportSection,
        after: Option<&str>,
    ) -> Result<Paged<ExportItem>, StoreError>;

    /// Begins to erase a user, and fences their surrogate id from then on. A user without any data gets an id that is
    /// erased, so that there is a receipt in every case. The audit entry is stored with it. Not repeatable: a repetition
    /// would erase what the person has stored since.
    async fn begin_erasure(&self, request: ErasureRequest) -> Result<Erasure, StoreError>;

    /// Removes a bounded number of rows of an erasure in one transaction. Returns whether there may be more. Several hosts
    /// may do so at the same time.
    async fn erase_some(&self, receipt: Uuid) -> Result<bool, StoreError>;

    /// Makes the bytes of removed rows unreadable where the database keeps them. False if that was not possible at the
    /// moment; the caller tries again later.
    async fn clear_traces(&self) -> Result<bool, StoreError>;

    /// Completes an erasure whose rows are removed, with the audit entry. Returns the receipt; `None` if there is no such
    /// erasure, or it is complete already.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if there are rows left.
    async fn finish_erasure(&self, receipt: Uuid, entry: AuditEntry) -> Result<Option<Erasure>, StoreError>;

    /// An erasure by its receipt.
    async fn erasure(&self, receipt: Uuid) -> Result<Option<Erasure>, StoreError>;

    /// The erasure of a surrogate id.
    async fn erasure_of_user(&self, user: Uuid) -> Result<Option<Erasure>, StoreError>;

    /// Erasures that are not complete, those that began first before others.
    async fn running_erasures(&self) -> Result<Vec<Erasure>, StoreError>;
}
