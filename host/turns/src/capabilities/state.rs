//! A plugin's stored values, written to the store at once.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use masque_runtime::contract::Failure;
use masque_runtime::{PluginStateScope, State, StateEntry};
use masque_store::{
    ConflictReason, StateChange, StateConflict, StateKey, StateResult, StateScope, StateSpace, StateWrite,
    StoreError,
};
use masque_telemetry::metrics::plugins::STATE_QUOTA_USED;

use super::context::ConversationContext;

/// The most keys in one page, as the contract says.
pub(crate) const MAX_PAGE_KEYS: u32 = 1000;

/// The values of one plugin, seen from one conversation.
pub(crate) struct StoredState {
    context: Arc<ConversationContext>,
    plugin: String,
    /// The plugin's version, for metrics.
    version: String,
    /// The most bytes that the plugin may store for the user, or in the scope `shared` for all users.
    quota: u64,
}

impl StoredState {
    pub(crate) fn new(context: Arc<ConversationContext>, plugin: &str, version: &str, quota: u64) -> Self {
        Self { context, plugin: plugin.to_owned(), version: version.to_owned(), quota }
    }

    /// A write that is held to the plugin's quota.
    pub(crate) fn write_of(&self, scope: PluginStateScope, key: &str, change: StateChange) -> StateWrite {
        StateWrite { key: self.key(scope, key), change, quota: Some(self.quota) }
    }

    pub(crate) fn quota(&self) -> u64 {
        self.quota
    }

    /// Counts which share of the quota is used by `bytes`, which are stored after a write.
    #[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
    pub(crate) fn count_use(&self, bytes: u64) {
        let used = bytes as f64 / self.quota.max(1) as f64;
        STATE_QUOTA_USED.observe(&[&self.plugin, &self.version], used);
    }

    /// What the plugin has stored under the quota that holds for `scope`, in bytes.
    pub(crate) async fn stored_bytes(&self, scope: PluginStateScope) -> Result<u64, Failure> {
        let bytes = self.context.store.state_bytes(&self.space(scope)).await;
        bytes.map_err(|error| store_failure(&error))
    }

    fn key(&self, scope: PluginStateScope, key: &str) -> StateKey {
        StateKey { space: self.space(scope), key: key.to_owned() }
    }

    /// Keys as the store has them, with no bound on `limit`. See [`State::list`].
    pub(crate) async fn list_unbounded(
        &self,
        scope: PluginStateScope,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, Failure> {
        let keys = self.context.store.state_list(&self.space(scope), prefix, after, limit).await;
        keys.map_err(|error| store_failure(&error))
    }

    fn space(&self, scope: PluginStateScope) -> StateSpace {
        let scope = match scope {
            PluginStateScope::Conversation => StateScope::Conversation(self.context.conversation),
            PluginStateScope::User => StateScope::User(self.context.owner.clone()),
            PluginStateScope::Shared => StateScope::Shared,
        };
        StateSpace { tenant: self.context.owner.tenant.clone(), plugin: self.plugin.clone(), scope }
    }

    async fn write(
        &self,
        scope: PluginStateScope,
        key: &str,
        change: StateChange,
    ) -> Result<StateResult, Failure> {
        let write = self.write_of(scope, key, change);
        let written = self.context.store.state_write(self.context.fence, vec![write]).await;
        match written.map_err(|error| store_failure(&error))? {
            Ok(written) => {
                let written = written.into_iter().next();
                let written = written.ok_or_else(|| unexpected_answer("no result for a write"))?;
                written.stored_bytes.inspect(|bytes| self.count_use(*bytes));
                Ok(written.result)
            }
            Err(conflict) => Err(conflict_failure(&conflict)),
        }
    }
}

#[async_trait]
impl State for StoredState {
    async fn get(&self, scope: PluginStateScope, key: &str) -> Result<Option<StateEntry>, Failure> {
        let found = self.context.store.state_get(&self.key(scope, key)).await;
        let found = found.map_err(|error| store_failure(&error))?;
        Ok(found.map(|found| StateEntry { value: found.value, version: found.version }))
    }

    async fn set(
        &self,
        scope: PluginStateScope,
        key: &str,
        value: Vec<u8>,
        if_version: Option<u64>,
        ttl: Option<Duration>,
    ) -> Result<u64, Failure> {
        match self.write(scope, key, StateChange::Set { value, if_version, ttl }).await? {
            StateResult::Version(version) => Ok(version),
            other => Err(unexpected_answer(&format!("{other:?}"))),
        }
    }

    async fn delete(
        &self,
        scope: PluginStateScope,
        key: &str,
        if_version: Option<u64>,
    ) -> Result<(), Failure> {
        self.write(scope, key, StateChange::Delete { if_version }).await.map(|_deleted| ())
    }

    async fn add(&self, scope: PluginStateScope, key: &str, amount: i64) -> Result<i64, Failure> {
        match self.write(scope, key, StateChange::Add { amount }).await? {
            StateResult::Sum(sum) => Ok(sum),
            other => Err(unexpected_answer(&format!("{other:?}"))),
        }
    }

    async fn list(
        &self,
        scope: PluginStateScope,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, Failure> {
        self.list_unbounded(scope, prefix, after, limit.min(MAX_PAGE_KEYS)).await
    }
}

/// An error of the store as the failure that a plugin gets.
pub(super) fn store_failure(error: &StoreError) -> Failure {
    match error {
        StoreError::Unavailable(_) | StoreError::OutcomeUnknown(_) => {
            Failure::new("unavailable", "the host's store is not available")
        }
        StoreError::FenceEnded => Failure::new("unavailable", "the call's turn or job has ended"),
        StoreError::Refused(reason) => Failure::new("invalid", reason.clone()),
        StoreError::Conflict(conflict) => conflict_failure(conflict),
        StoreError::Corrupt(_) | StoreError::NewerFormat(_) | StoreError::Internal(_) => {
            tracing::error!(%error, "a plugin's state can't be read");
            Failure::new("internal", "the host could not read the value")
        }
    }
}

/// The code is `conflict` only where reading and writing again can succeed, since plugins repeat that in a loop.
fn conflict_failure(conflict: &StateConflict) -> Failure {
    let code = match conflict.reason {
        ConflictReason::Version { .. } => "conflict",
        ConflictReason::NotAnInteger | ConflictReason::Overflow => "invalid",
        ConflictReason::NoConversation => "not-found",
        ConflictReason::QuotaExceeded { bytes, quota } => return quota_failure(bytes, quota),
    };
    Failure::new(code, conflict.to_string())
}

/// The failure of a write that would take the plugin past its quota. The code is the one of a call's other limits.
pub(crate) fn quota_failure(bytes: u64, quota: u64) -> Failure {
    Failure::new("denied", format!("the stored values would take {bytes} bytes, of {quota} (limit `state`)"))
}

fn unexpected_answer(what: &str) -> Failure {
    tracing::error!(what, "the store answered a state write with something else");
    Failure::new("internal", "the host's store gave an unexpected answer")
}
