//! What plugins keep between calls: bytes under a key, in a space that belongs to one plugin's name and one scope.
//! Which plugin may use which scope is the caller's to decide.

use std::time::Duration;

use async_trait::async_trait;

use crate::{ConversationId, Owner, StoreError};

/// Values of plugins. A value past its time is absent at once, whenever it is removed.
#[async_trait]
pub trait PluginState: Send + Sync {
    /// The value of a key.
    async fn state_get(&self, key: &StateKey) -> Result<Option<StateValue>, StoreError>;

    /// Applies all writes in their order, or none: a later one sees what an earlier one did. The results come in the
    /// order of the writes.
    ///
    /// # Errors
    /// The inner [`StateConflict`] names the first write that did not fit. [`StoreError::Refused`] if a key is longer
    /// than 512 bytes or a value than 1 MiB.
    async fn state_write(
        &self,
        writes: Vec<StateWrite>,
    ) -> Result<Result<Vec<StateResult>, StateConflict>, StoreError>;

    /// Keys of a space that start with `prefix`, in byte order, after `after`; at most `limit`.
    async fn state_list(
        &self,
        space: &StateSpace,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, StoreError>;
}

/// Where a plugin's keys live.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StateSpace {
    /// The tenant.
    pub tenant: String,
    /// The plugin's name, the same for all its versions.
    pub plugin: String,
    /// Who shares the keys.
    pub scope: StateScope,
}

/// Who shares a plugin's keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StateScope {
    /// One conversation; gone with it.
    Conversation(ConversationId),
    /// One user, in every conversation. The owner's tenant is that of the space.
    User(Owner),
    /// Every user of the tenant.
    Shared,
}

/// One key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StateKey {
    /// Where it lives.
    pub space: StateSpace,
    /// Its name there.
    pub key: String,
}

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateValue {
    /// The bytes.
    pub value: Vec<u8>,
    /// Raised by every write of the key. It goes on rising when the key was deleted or has expired and is written
    /// again; only a key that was absent for a day or more may start anew.
    pub version: u64,
}

/// One write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateWrite {
    /// What it is about.
    pub key: StateKey,
    /// What becomes of it.
    pub change: StateChange,
}

/// What becomes of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateChange {
    /// It holds these bytes.
    Set {
        /// The bytes.
        value: Vec<u8>,
        /// Only if the key has this version; 0 means only if it is absent.
        if_version: Option<u64>,
        /// After this time the key is absent again; without it never, whatever was set before.
        ttl: Option<Duration>,
    },
    /// It is absent, also if it was before.
    Delete {
        /// Only if the key has this version; 0 means only if it is absent.
        if_version: Option<u64>,
    },
    /// The decimal integer it holds grows by `amount`, absent counting as 0; a time to live stays as it is.
    Add {
        /// How much.
        amount: i64,
    },
}

/// What one write did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateResult {
    /// A [`StateChange::Set`] gave the key this version.
    Version(u64),
    /// A [`StateChange::Delete`] left the key absent.
    Deleted,
    /// A [`StateChange::Add`] made this sum.
    Sum(i64),
}

/// Why no write of several was done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the state key `{key}` can't be written: {reason}")]
pub struct StateConflict {
    /// The place of the write that did not fit, from 0.
    pub index: usize,
    /// Its key.
    pub key: String,
    /// What stood in its way.
    pub reason: ConflictReason,
}

/// What stood in the way of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConflictReason {
    /// The key has another version than the write asked for; 0 if it is absent.
    #[error("its version is {found}")]
    Version {
        /// The version it has.
        found: u64,
    },
    /// It can't be added to, since it holds something else than a decimal integer of 64 bits.
    #[error("it does not hold a decimal integer")]
    NotAnInteger,
    /// The sum would not fit 64 bits.
    #[error("the sum does not fit 64 bits")]
    Overflow,
    /// Its conversation does not exist in that tenant, or no longer does.
    #[error("its conversation does not exist")]
    NoConversation,
}
