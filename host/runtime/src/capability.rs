//! What the host's upper layers lend to one call. Each value is already bound to an owner, a conversation and a
//! plugin, so a guest can name none of them; whether a guest may use it at all is decided by its grants, before.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::Semaphore;

use crate::contract::{Failure, Message, Prompt, Reply};
use crate::engine::Slot;
use crate::meter::Meter;

/// Whose values a state call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The conversation of the turn.
    Conversation,
    /// The user of the turn, in every conversation.
    User,
    /// Every user of the tenant.
    Shared,
}

/// A stored value and its version; versions start at 1 and rise with every write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateEntry {
    /// The bytes as written.
    pub value: Vec<u8>,
    /// For `if_version` of a later write.
    pub version: u64,
}

/// The plugin's stored values. Called from within the guest's call, at most one call at a time for a store.
///
/// An implementation fails with `conflict` where `if_version` does not hold and with `unavailable` where the store is
/// away. It has 2 s; the sandbox ends the wait after that.
#[async_trait]
pub trait State: Send + Sync {
    /// The value of `key`, or `None` where it is absent or has expired.
    async fn get(&self, scope: Scope, key: &str) -> Result<Option<StateEntry>, Failure>;
    /// Writes and returns the new version. `if_version` of 0 means only if absent.
    async fn set(
        &self,
        scope: Scope,
        key: &str,
        value: Vec<u8>,
        if_version: Option<u64>,
        ttl: Option<Duration>,
    ) -> Result<u64, Failure>;
    /// Deletes; an absent key is no failure unless `if_version` names a version.
    async fn delete(&self, scope: Scope, key: &str, if_version: Option<u64>) -> Result<(), Failure>;
    /// Adds to a decimal integer, absent counting as 0, and returns the sum.
    async fn add(&self, scope: Scope, key: &str, amount: i64) -> Result<i64, Failure>;
    /// Keys with `prefix`, in byte order, after `after`, `limit` at most.
    async fn list(
        &self,
        scope: Scope,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, Failure>;
}

/// Earlier messages of the turn's conversation.
#[async_trait]
pub trait History: Send + Sync {
    /// Messages before the one with the id `before`, or before the turn's own; oldest first, `limit` at most.
    async fn page(&self, before: Option<&str>, limit: u32) -> Result<Vec<Message>, Failure>;
}

/// The companion's models, asked on the side.
#[async_trait]
pub trait Models: Send + Sync {
    /// The places of the pool that an answer takes ([`Plugin::weight`](crate::Plugin::weight) of the model). They are set
    /// aside before the asking call begins: were they sought while it holds its own, askers could wait for one another.
    fn weight(&self) -> u32;

    /// A whole reply, from a call with `asked` in it. Called one at a time for a call, and a bounded number of times.
    async fn ask(&self, prompt: Prompt, asked: Asked) -> Result<Reply, Failure>;
}

/// What a question on the side inherits from the call that asks: its deadline, what is left of its CPU budget, and the
/// places in the pool that were set aside for the answer. A call that has one can't ask on, whatever it is lent.
#[derive(Clone)]
pub struct Asked {
    pub(crate) deadline: Instant,
    pub(crate) meter: Arc<Meter>,
    /// The asker's places and the answer's.
    pub(crate) slot: Arc<Slot>,
    /// One permit: an answer that was given up may hold its instance for a moment longer.
    pub(crate) turn: Arc<Semaphore>,
}

impl Asked {
    /// When the asking call ends.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

/// For whom a call is made: what decides which calls an instance may be used again for. Opaque to the sandbox; two users
/// never have the same `user`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whose {
    /// The user, tenant and issuer included.
    pub user: String,
    /// The conversation.
    pub conversation: String,
}

/// What one call may use, and until when.
#[derive(Clone)]
pub struct Call {
    /// The end of the turn; the plugin's own wall limit may end the call before.
    pub deadline: Instant,
    /// Answers `unavailable` where absent.
    pub state: Option<Arc<dyn State>>,
    /// Answers `unavailable` where absent.
    pub history: Option<Arc<dyn History>>,
    /// Answers `denied` where absent: an inner call can't ask on.
    pub models: Option<Arc<dyn Models>>,
    /// Without it the call has an instance of its own, unless the plugin's instances may serve anyone.
    pub whose: Option<Whose>,
    /// Present where the call is the answer to another plugin's question.
    pub asked: Option<Asked>,
}

impl Call {
    /// A call that lends nothing.
    pub fn until(deadline: Instant) -> Self {
        Self { deadline, state: None, history: None, models: None, whose: None, asked: None }
    }
}
