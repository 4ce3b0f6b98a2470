//! Holds the state writes of a job back until the job is complete. The job reads what it wrote, and nobody else sees it
//! before the end, so a job that is run again writes nothing twice.
//!
//! A condition on a version is checked twice: at once against what the job sees, and in the store when the job completes.
//! If somebody else wrote in between, the completion fails, and the job is run again over the new values. The same holds for
//! the quota of the plugin's state.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use masque_runtime::contract::Failure;
use masque_runtime::{PluginStateScope, State, StateEntry};
use masque_store::{STATE_ROW_BYTES, StateChange, StateWrite};
use tokio::sync::Mutex;

use crate::capabilities::{MAX_PAGE_KEYS, StoredState, quota_failure};

/// The most writes of one job. They are one operation of the store, which takes up to 100 µs for each write and delays the
/// commits of all turns.
const MAX_WRITES: usize = 128;
/// The most bytes in the writes of one job, for the same reason.
const MAX_WRITE_BYTES: usize = 4 << 20;

/// A plugin's values as one job sees them.
pub(crate) struct BufferedState {
    stored: StoredState,
    written: Mutex<BufferedWrites>,
}

#[derive(Default)]
struct BufferedWrites {
    /// What the job sees under the keys that it wrote. `None` if it deleted the key.
    visible: BTreeMap<(PluginStateScope, String), Option<StateEntry>>,
    /// In the order in which they were made.
    writes: Vec<StateWrite>,
    bytes: usize,
    /// What the plugin stores with these writes, by whether it is in the scope `shared`. Read from the store at the first
    /// write.
    held: BTreeMap<bool, u64>,
}

impl BufferedState {
    pub(crate) fn new(stored: StoredState) -> Self {
        Self { stored, written: Mutex::default() }
    }

    /// The writes to be stored with the job's completion. The buffer is empty of writes afterwards.
    pub(crate) async fn take_writes(&self) -> Vec<StateWrite> {
        let mut written = self.written.lock().await;
        // The completion reports nothing. What others write meanwhile is counted by their writes.
        written.held.values().for_each(|bytes| self.stored.count_use(*bytes));
        std::mem::take(&mut written.writes)
    }

    async fn current(
        &self,
        written: &BufferedWrites,
        scope: PluginStateScope,
        key: &str,
    ) -> Result<Option<StateEntry>, Failure> {
        match written.visible.get(&(scope, key.to_owned())) {
            Some(entry) => Ok(entry.clone()),
            None => self.stored.get(scope, key).await,
        }
    }
}

impl BufferedState {
    /// Keeps a write if the limits of the job and the quota of the plugin have room for it. `before` and `after` are what the
    /// job sees under the key.
    async fn record(
        &self,
        written: &mut BufferedWrites,
        scope: PluginStateScope,
        write: StateWrite,
        before: &Option<StateEntry>,
        after: Option<StateEntry>,
    ) -> Result<(), Failure> {
        let is_shared = scope == PluginStateScope::Shared;
        let held = match written.held.get(&is_shared) {
            Some(held) => *held,
            None => self.stored.stored_bytes(scope).await?,
        };
        let row = STATE_ROW_BYTES + write.key.key.len() as u64;
        let size = |entry: &StateEntry| row + entry.value.len() as u64;
        // A deleted key counts without its value until its row is removed.
        let size_after = after.as_ref().map_or(if before.is_some() { row } else { 0 }, size);
        let then = held.saturating_sub(before.as_ref().map_or(0, size)).saturating_add(size_after);
        if then > self.stored.quota() && then > held {
            return Err(quota_failure(then, self.stored.quota()));
        }
        written.record(write, after, scope)?;
        written.held.insert(is_shared, then);
        Ok(())
    }
}

impl BufferedWrites {
    /// Whether the job has written the key. Then the versions that the job sees are not those of the store.
    fn contains(&self, scope: PluginStateScope, key: &str) -> bool {
        self.visible.contains_key(&(scope, key.to_owned()))
    }

    fn record(
        &mut self,
        write: StateWrite,
        visible: Option<StateEntry>,
        scope: PluginStateScope,
    ) -> Result<(), Failure> {
        let value = visible.as_ref().map_or(0, |entry| entry.value.len());
        let bytes = self.bytes + write.key.key.len() + value;
        if self.writes.len() >= MAX_WRITES || bytes > MAX_WRITE_BYTES {
            return Err(Failure::new(
                "invalid",
                format!("a job writes {MAX_WRITES} values and {MAX_WRITE_BYTES} bytes at most"),
            ));
        }
        self.bytes = bytes;
        self.visible.insert((scope, write.key.key.clone()), visible);
        self.writes.push(write);
        Ok(())
    }
}

#[async_trait]
impl State for BufferedState {
    async fn get(&self, scope: PluginStateScope, key: &str) -> Result<Option<StateEntry>, Failure> {
        let written = self.written.lock().await;
        self.current(&written, scope, key).await
    }

    async fn set(
        &self,
        scope: PluginStateScope,
        key: &str,
        value: Vec<u8>,
        if_version: Option<u64>,
        ttl: Option<Duration>,
    ) -> Result<u64, Failure> {
        let mut written = self.written.lock().await;
        let current = self.current(&written, scope, key).await?;
        let version = StateEntry::check_version(current.as_ref(), if_version)?;
        let if_version = if_version.filter(|_| !written.contains(scope, key));
        let change = StateChange::Set { value: value.clone(), if_version, ttl };
        let visible = StateEntry { value, version: version + 1 };
        let write = self.stored.write_of(scope, key, change);
        self.record(&mut written, scope, write, &current, Some(visible)).await?;
        Ok(version + 1)
    }

    async fn delete(
        &self,
        scope: PluginStateScope,
        key: &str,
        if_version: Option<u64>,
    ) -> Result<(), Failure> {
        let mut written = self.written.lock().await;
        let current = self.current(&written, scope, key).await?;
        StateEntry::check_version(current.as_ref(), if_version)?;
        let if_version = if_version.filter(|_| !written.contains(scope, key));
        let write = self.stored.write_of(scope, key, StateChange::Delete { if_version });
        self.record(&mut written, scope, write, &current, None).await
    }

    async fn add(&self, scope: PluginStateScope, key: &str, amount: i64) -> Result<i64, Failure> {
        let mut written = self.written.lock().await;
        let current = self.current(&written, scope, key).await?;
        let (sum, visible) = StateEntry::add(current.as_ref(), amount)?;
        // Store the addition, not the sum, so that what others add meanwhile is kept.
        let write = self.stored.write_of(scope, key, StateChange::Add { amount });
        self.record(&mut written, scope, write, &current, Some(visible)).await?;
        Ok(sum)
    }

    async fn list(
        &self,
        scope: PluginStateScope,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, Failure> {
        let written = self.written.lock().await;
        let own = written
            .visible
            .range((scope, prefix.to_owned())..)
            .take_while(|((of, key), _)| *of == scope && key.starts_with(prefix));
        let own: Vec<_> = own.map(|((_, key), entry)| (key, entry.is_some())).collect();
        let deleted = own.iter().filter(|(_, is_present)| !is_present).count();
        let limit = limit.min(MAX_PAGE_KEYS);
        // Ask for as many more keys as the job may have deleted, so that the page is full if there are enough keys.
        let wanted = limit.saturating_add(u32::try_from(deleted).unwrap_or(u32::MAX));
        let stored = self.stored.list_unbounded(scope, prefix, after, wanted).await?;
        let mut keys: BTreeSet<String> = stored.into_iter().collect();
        for (key, is_present) in own {
            if !is_present {
                keys.remove(key);
            } else if after.is_none_or(|after| key.as_str() > after) {
                keys.insert(key.clone());
            }
        }
        Ok(keys.into_iter().take(limit as usize).collect())
    }
}
