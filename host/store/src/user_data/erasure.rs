//! An erasure: its request and its receipt.

use uuid::Uuid;

use super::erasure_key::ErasedName;
use crate::audit::AuditEntry;
use crate::owner::Owner;

/// A request to erase a user.
#[derive(Clone, Debug)]
pub struct ErasureRequest {
    /// The id of the receipt.
    pub receipt: Uuid,
    /// The user.
    pub owner: Owner,
    /// The name that the tombstone keeps of the user.
    pub name: ErasedName,
    /// Stored with the beginning.
    pub entry: AuditEntry,
}

/// The receipt of an erasure. It stays as a tombstone and names the user by a keyed hash only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// Its id.
    pub receipt: Uuid,
    /// The surrogate id that was erased. The person never gets it again.
    pub user: Uuid,
    /// The keyed hash of the user's identity.
    pub name: ErasedName,
    /// When it began, in milliseconds: from then on nothing was written under the surrogate id.
    pub begun_at: i64,
    /// When everything was removed, in milliseconds; `None` while it goes on.
    pub done_at: Option<i64>,
    /// What was removed so far.
    pub rows: ErasedRows,
}

/// Rows that an erasure has removed. Rows of a conversation that the user had deleted before may be removed by the sweep
/// instead, and are then not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ErasedRows {
    /// Conversations.
    pub conversations: u64,
    /// Messages.
    pub messages: u64,
    /// Turns.
    pub turns: u64,
    /// Idempotency keys.
    pub idempotency_keys: u64,
    /// Background jobs.
    pub jobs: u64,
    /// Values that plugins kept for the user or for their conversations, memories among them.
    pub state_values: u64,
    /// Days of spending, without those of no tokens.
    pub spending_days: u64,
}

impl ErasedRows {
    /// From the columns of a receipt, which are named as the fields.
    ///
    /// # Errors
    /// Those of `count`.
    pub fn from_columns<E>(count: impl Fn(&'static str) -> Result<u64, E>) -> Result<Self, E> {
        Ok(Self {
            conversations: count("conversations")?,
            messages: count("messages")?,
            turns: count("turns")?,
            idempotency_keys: count("idempotency_keys")?,
            jobs: count("jobs")?,
            state_values: count("state_values")?,
            spending_days: count("spending_days")?,
        })
    }
}
