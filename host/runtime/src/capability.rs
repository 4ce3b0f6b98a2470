//! What one call may use: state, history and models, given by the layers above the runtime.
//!
//! Each value is already bound to an owner, a conversation and a plugin, so a guest can name none of them. Whether a guest
//! may use a capability at all is decided by its grants, in [`HostState`](crate::guest::HostState).

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use masque_telemetry::trace::SpanParent;
use tokio::sync::Semaphore;

use crate::contract::{Failure, Message, Prompt, Reply};
use crate::cpu_meter::CpuMeter;
use crate::pool::PoolSlot;
use crate::report::CallReport;

/// Whose values a state call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PluginStateScope {
    /// The conversation of the turn.
    Conversation,
    /// The user of the turn, in every conversation.
    User,
    /// Every user of the tenant.
    Shared,
}

/// A stored value and its version. Versions start at 1 and rise with every write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateEntry {
    /// The bytes as written.
    pub value: Vec<u8>,
    /// For `if_version` of a later write.
    pub version: u64,
}

impl StateEntry {
    /// The version of what is under a key, 0 where it is absent.
    ///
    /// # Errors
    /// `conflict` if another version is wanted.
    pub fn check_version(entry: Option<&Self>, wanted: Option<u64>) -> Result<u64, Failure> {
        let version = entry.map_or(0, |entry| entry.version);
        match wanted {
            Some(wanted) if wanted != version => {
                Err(Failure::new("conflict", format!("the key has version {version}")))
            }
            _ => Ok(version),
        }
    }

    /// Adds to the decimal integer under a key, absent counting as 0. Returns the sum, and the entry with it.
    ///
    /// # Errors
    /// `invalid` if the value is no such integer, or the sum does not fit.
    pub fn add(entry: Option<&Self>, amount: i64) -> Result<(i64, Self), Failure> {
        let parse = |entry: &Self| std::str::from_utf8(&entry.value).ok()?.parse::<i64>().ok();
        let held = entry.map_or(Some(0), parse);
        let held =
            held.ok_or_else(|| Failure::new("invalid", "the value is no decimal integer of 64 bits"))?;
        let sum = held.checked_add(amount);
        let sum = sum.ok_or_else(|| Failure::new("invalid", "the sum does not fit 64 bits"))?;
        let version = Self::check_version(entry, None)?.saturating_add(1);
        Ok((sum, Self { value: sum.to_string().into_bytes(), version }))
    }
}

/// The plugin's stored values. The runtime calls it from within a guest's call, one call at a time for each store.
///
/// An implementation fails with `conflict` where `if_version` does not hold and with `unavailable` where the store can't be
/// reached. It has 2 s to answer; then the guest gets the failure `timeout` and the future is dropped.
#[async_trait]
pub trait State: Send + Sync {
    /// The value of `key`, or `None` where it is absent or has expired.
    async fn get(&self, scope: PluginStateScope, key: &str) -> Result<Option<StateEntry>, Failure>;
    /// Writes and returns the new version. An `if_version` of 0 means: only if the key is absent.
    async fn set(
        &self,
        scope: PluginStateScope,
        key: &str,
        value: Vec<u8>,
        if_version: Option<u64>,
        ttl: Option<Duration>,
    ) -> Result<u64, Failure>;
    /// Deletes. An absent key is no failure unless `if_version` names a version.
    async fn delete(
        &self,
        scope: PluginStateScope,
        key: &str,
        if_version: Option<u64>,
    ) -> Result<(), Failure>;
    /// Adds to a decimal integer, absent counting as 0, and returns the sum.
    async fn add(&self, scope: PluginStateScope, key: &str, amount: i64) -> Result<i64, Failure>;
    /// At most `limit` keys with `prefix`, in byte order, after `after`.
    async fn list(
        &self,
        scope: PluginStateScope,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, Failure>;
}

/// Earlier messages of the turn's conversation.
#[async_trait]
pub trait History: Send + Sync {
    /// At most `limit` messages before the one with the id `before`, or before the turn's own; oldest first.
    async fn page(&self, before: Option<&str>, limit: u32) -> Result<Vec<Message>, Failure>;
}

/// The companion's models, asked from within a call.
#[async_trait]
pub trait Models: Send + Sync {
    /// The permits of the instance pool that an answer takes ([`Plugin::weight`](crate::Plugin::weight) of the model). They are
    /// reserved before the asking call begins: if a call waited for them while it holds its own, calls could deadlock.
    fn weight(&self) -> u32;

    /// A whole reply, from a call that carries `nested`. A call asks one question at a time, and a bounded number of them.
    async fn ask(&self, prompt: Prompt, nested: NestedCall) -> Result<Reply, Failure>;
}

/// What a nested call inherits from the call that asks: its deadline, the rest of its CPU budget, and the pool permits that
/// were reserved for the answer. A nested call can't ask models itself, even if its [`Call`] contains models.
#[derive(Clone)]
pub struct NestedCall {
    pub(crate) deadline: Instant,
    pub(crate) meter: Arc<CpuMeter>,
    /// The permits of the asking call and of the answer.
    pub(crate) slot: Arc<PoolSlot>,
    /// One permit: an answer that was dropped may hold its instance for a moment longer, and the next one waits for it.
    pub(crate) one_at_a_time: Arc<Semaphore>,
    /// The span of the question.
    pub(crate) trace: SpanParent,
}

impl NestedCall {
    /// When the asking call ends.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Where the question is in the trace of the asking call, for [`Call::trace`] of the answer.
    pub fn trace(&self) -> &SpanParent {
        &self.trace
    }
}

impl fmt::Debug for NestedCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NestedCall").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

/// The user and conversation of a call. They decide which later calls may reuse the call's instance. The runtime does not
/// interpret it; two users must never have the same `user`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReuseKey {
    /// The user, tenant and issuer included.
    pub user: String,
    /// The conversation.
    pub conversation: String,
}

/// What one call may use, and until when.
#[derive(Clone)]
pub struct Call {
    /// The end of the turn. The plugin's own wall limit may end the call before.
    pub deadline: Instant,
    /// Without it, `state` answers `unavailable`.
    pub state: Option<Arc<dyn State>>,
    /// Without it, `history` answers `unavailable`.
    pub history: Option<Arc<dyn History>>,
    /// Without it, `models` answers `denied`.
    pub models: Option<Arc<dyn Models>>,
    /// Without it the call has an instance of its own, unless the plugin's instances may serve anyone.
    pub reuse_key: Option<ReuseKey>,
    /// Present where the call answers another plugin's question.
    pub nested: Option<NestedCall>,
    /// Where the call is in a trace: its span begins here, and requests to upstreams carry on the trace.
    pub trace: SpanParent,
    /// Collects what the call used and asked for, if the caller wants to know.
    pub report: Option<Arc<CallReport>>,
}

impl Call {
    /// A call without state, history and models, which begins a trace of its own.
    pub fn until(deadline: Instant) -> Self {
        Self::new(deadline, SpanParent::unrecorded())
    }

    /// A call without state, history and models, at this position in a trace.
    pub fn new(deadline: Instant, trace: SpanParent) -> Self {
        Self {
            deadline,
            state: None,
            history: None,
            models: None,
            reuse_key: None,
            nested: None,
            trace,
            report: None,
        }
    }
}
