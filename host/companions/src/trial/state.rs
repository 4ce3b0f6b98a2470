//! The state and the history of a trial: those of a new user.
//!
//! A plugin reads in a trial what it wrote in it, so that one that relies on its own writes gets as far as in a turn. Nothing
//! is stored: the values are dropped with the trial. The limits of a call bound how much it may write.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use masque_runtime::contract::{Failure, Message};
use masque_runtime::{History, PluginStateScope, State, StateEntry};

/// The values that one trial wrote, by scope and key.
#[derive(Debug, Default)]
pub(super) struct TrialState(Mutex<BTreeMap<(PluginStateScope, String), StateEntry>>);

impl TrialState {
    fn values(&self) -> MutexGuard<'_, BTreeMap<(PluginStateScope, String), StateEntry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl State for TrialState {
    async fn get(&self, scope: PluginStateScope, key: &str) -> Result<Option<StateEntry>, Failure> {
        Ok(self.values().get(&(scope, key.to_owned())).cloned())
    }

    async fn set(
        &self,
        scope: PluginStateScope,
        key: &str,
        value: Vec<u8>,
        if_version: Option<u64>,
        _ttl: Option<Duration>,
    ) -> Result<u64, Failure> {
        let mut values = self.values();
        let key = (scope, key.to_owned());
        let version = StateEntry::check_version(values.get(&key), if_version)?.saturating_add(1);
        values.insert(key, StateEntry { value, version });
        Ok(version)
    }

    async fn delete(
        &self,
        scope: PluginStateScope,
        key: &str,
        if_version: Option<u64>,
    ) -> Result<(), Failure> {
        let mut values = self.values();
        let key = (scope, key.to_owned());
        StateEntry::check_version(values.get(&key), if_version)?;
        values.remove(&key);
        Ok(())
    }

    async fn add(&self, scope: PluginStateScope, key: &str, amount: i64) -> Result<i64, Failure> {
        let mut values = self.values();
        let key = (scope, key.to_owned());
        let (sum, entry) = StateEntry::add(values.get(&key), amount)?;
        values.insert(key, entry);
        Ok(sum)
    }

    async fn list(
        &self,
        scope: PluginStateScope,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, Failure> {
        let values = self.values();
        let keys = values.keys().filter(|(of, _)| *of == scope).map(|(_, key)| key);
        let wanted =
            keys.filter(|key| key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after));
        Ok(wanted.take(usize::try_from(limit).unwrap_or(usize::MAX)).cloned().collect())
    }
}

/// The history of a conversation that begins: no messages.
#[derive(Debug)]
pub(super) struct EmptyHistory;

#[async_trait]
impl History for EmptyHistory {
    async fn page(&self, _before: Option<&str>, _limit: u32) -> Result<Vec<Message>, Failure> {
        Ok(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_plugin_reads_what_it_wrote_in_the_trial() {
        let (state, user) = (TrialState::default(), PluginStateScope::User);
        assert_eq!(state.get(user, "a").await.unwrap(), None);
        assert_eq!(state.set(user, "a", vec![1], Some(0), None).await.unwrap(), 1);
        assert_eq!(state.set(user, "a", vec![2], Some(0), None).await.unwrap_err().code, "conflict");
        assert_eq!(state.get(user, "a").await.unwrap().unwrap().value, [1]);
        assert_eq!(state.get(PluginStateScope::Shared, "a").await.unwrap(), None);
        assert_eq!(state.add(user, "b", 5).await.unwrap(), 5);
        assert_eq!(state.add(user, "b", -2).await.unwrap(), 3);
        assert_eq!(state.list(user, "", Some("a"), 10).await.unwrap(), ["b"]);
        state.delete(user, "a", None).await.unwrap();
        assert_eq!(state.list(user, "", None, 10).await.unwrap(), ["b"]);
    }
}
