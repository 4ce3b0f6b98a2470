//! Keys and values of plugins, and changes of them.

use std::time::Duration;

use crate::ids::{ConversationId, JobId, TurnId};
use crate::owner::Owner;

/// The space that a plugin's keys belong to.
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
    /// One conversation. Deleted with it.
    Conversation(ConversationId),
    /// One user, in every conversation. The owner's tenant is that of the space.
    User(Owner),
    /// Every user of the tenant.
    Shared,
}

/// The bytes that each stored key counts for in addition to its name and its value: about what its row and its index
/// entry take. Without it a plugin could store any number of empty values.
pub const STATE_ROW_BYTES: u64 = 64;

/// One key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StateKey {
    /// The space that it belongs to.
    pub space: StateSpace,
    /// Its name in the space.
    pub key: String,
}

/// The turn or job on whose behalf plugins write.
///
/// It holds from the admission of the turn, or from the moment the job is taken, until the turn or job ends or another
/// host takes it over. The epoch differs between attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StateFence {
    /// A running turn.
    Turn {
        /// The turn.
        turn: TurnId,
        /// [`crate::Started::epoch`].
        epoch: i64,
    },
    /// A job that was taken.
    Job {
        /// The job.
        job: JobId,
        /// [`crate::JobRecord::epoch`].
        epoch: i64,
    },
}

/// The value of a key.
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
    /// The key that is written.
    pub key: StateKey,
    /// The change.
    pub change: StateChange,
    /// The most bytes that the plugin may hold after the write, see
    /// [`PluginState::state_bytes`](crate::PluginState::state_bytes). A write that takes no more room than the one before
    /// succeeds in any case, so that a plugin over a lowered quota can shrink. `None` is no limit.
    pub quota: Option<u64>,
}

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateChange {
    /// The key holds these bytes.
    Set {
        /// The bytes.
        value: Vec<u8>,
        /// Only if the key has this version; 0 means only if it is absent.
        if_version: Option<u64>,
        /// After this time the key is absent again; without it never, whatever was set before.
        ttl: Option<Duration>,
    },
    /// The key becomes absent; it may have been absent before.
    Delete {
        /// Only if the key has this version; 0 means only if it is absent.
        if_version: Option<u64>,
    },
    /// The decimal integer it holds grows by `amount`, absent counting as 0; a time to live stays as it is.
    Add {
        /// The number to add, which may be negative.
        amount: i64,
    },
}

/// The result of one write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateResult {
    /// A [`StateChange::Set`] gave the key this version.
    Version(u64),
    /// A [`StateChange::Delete`] left the key absent.
    Deleted,
    /// A [`StateChange::Add`] made this sum.
    Sum(i64),
}

/// What one write did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateWritten {
    /// Its result.
    pub result: StateResult,
    /// What the plugin stores after the write under the quota that the write was held to, in bytes, see
    /// [`PluginState::state_bytes`](crate::PluginState::state_bytes). `None` if the write had no quota.
    pub stored_bytes: Option<u64>,
}

/// Why none of several writes was applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the state key `{key}` can't be written: {reason}")]
pub struct StateConflict {
    /// The index of the write whose condition was not met, from 0.
    pub index: usize,
    /// Its key.
    pub key: String,
    /// Which condition was not met.
    pub reason: ConflictReason,
}

/// The condition of a write that was not met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConflictReason {
    /// The key has another version than the write asked for; 0 if it is absent.
    #[error("its version is {found}")]
    Version {
        /// The version it has.
        found: u64,
    },
    /// The key holds something other than a decimal integer of 64 bits, so nothing can be added to it.
    #[error("it does not hold a decimal integer")]
    NotAnInteger,
    /// The sum would not fit 64 bits.
    #[error("the sum does not fit 64 bits")]
    Overflow,
    /// The plugin would hold more than the write's quota.
    #[error("the plugin's stored values would take {bytes} bytes, of {quota}")]
    QuotaExceeded {
        /// The bytes that it would hold.
        bytes: u64,
        /// The quota of the write.
        quota: u64,
    },
    /// Its conversation does not exist in that tenant, or no longer does.
    #[error("its conversation does not exist")]
    NoConversation,
}
