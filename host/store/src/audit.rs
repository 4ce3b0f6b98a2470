//! The audit log: who did what in administration and authentication.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use uuid::Uuid;

use crate::error::StoreError;
use crate::page::{Page, Paged};

/// The audit log.
#[async_trait]
pub trait AuditLog: Send + Sync {
    /// Adds an entry; returns when it is on disk.
    async fn record(&self, entry: AuditEntry) -> Result<(), StoreError>;

    /// The entries, the newest first.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if `after` is no cursor of this list.
    async fn audit(&self, page: Page) -> Result<Paged<AuditRecord>, StoreError>;

    /// Removes entries older than this, a bounded number in one transaction. Returns how many; call again while it is
    /// not zero.
    async fn forget_audit(&self, older_than: Duration) -> Result<u64, StoreError>;
}

/// Something that was done.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditEntry {
    /// The tenant that it concerns.
    pub tenant: String,
    /// Who did it.
    pub actor: String,
    /// The action, such as `key.create`.
    pub action: String,
    /// What it was done to, such as `key:8f14e45fceea167a`.
    pub target: Option<String>,
    /// Whether it was done.
    pub outcome: AuditOutcome,
    /// The id of the request.
    pub request_id: Option<String>,
    /// The address of the client.
    pub address: Option<String>,
    /// Further details, without secrets.
    pub detail: Value,
}

/// Whether something was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditOutcome {
    /// It was done.
    Ok,
    /// It was refused.
    Refused,
}

/// An entry as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditRecord {
    /// Its id.
    pub id: Uuid,
    /// When it was written, in milliseconds.
    pub at: i64,
    /// The entry.
    pub entry: AuditEntry,
}
