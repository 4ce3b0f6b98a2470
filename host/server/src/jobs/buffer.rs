//! State writes that are held back until their job is complete. The job reads what it wrote; everyone else sees nothing
//! of it until it is done, so a job that is run again doubles nothing.
//!
//! A condition on a version is checked at once against what the job sees, and again in the store when the job
//! completes: what others wrote in between then fails the job, and it is run again over their values.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use masque_runtime::contract::Failure;
use masque_runtime::{Scope, State, StateEntry};
use masque_store::{StateChange, StateKey, StateWrite, Store};
use tokio::sync::Mutex;

use crate::turn::lend::{Values, store_failure};

/// Writes of one job. They are one transaction, at some 100 µs each, and every turn's commit waits for it.
const MOST: usize = 500;
/// Bytes in them: what one transaction may hold up the others with.
const BYTES: usize = 16 << 20;
/// What the contract allows a page to hold.
const PAGE: u32 = 1000;

/// One job's view of its plugin's values.
pub(crate) struct Buffer {
    beneath: Values,
    store: Arc<dyn Store>,
    written: Mutex<Written>,
}

#[derive(Default)]
struct Written {
    /// What the job sees where it wrote; an absent value was deleted.
    seen: BTreeMap<(u8, String), Option<StateEntry>>,
    /// In the order they were made.
    writes: Vec<StateWrite>,
    bytes: usize,
}

impl Buffer {
    pub(crate) fn new(beneath: Values, store: Arc<dyn Store>) -> Self {
        Self { beneath, store, written: Mutex::default() }
    }

    /// What is to be written with the job's completion.
    pub(crate) async fn take_writes(&self) -> Vec<StateWrite> {
        std::mem::take(&mut self.written.lock().await.writes)
    }

    async fn current(
        &self,
        written: &Written,
        scope: Scope,
        key: &str,
    ) -> Result<Option<StateEntry>, Failure> {
        match written.seen.get(&place(scope, key)) {
            Some(seen) => Ok(seen.clone()),
            None => self.beneath.get(scope, key).await,
        }
    }

    fn key(&self, scope: Scope, key: &str) -> StateKey {
        self.beneath.key(scope, key)
    }
}

impl Written {
    /// Whether the job has written the key: the store's version then no longer stands for what the job sees.
    fn touched(&self, scope: Scope, key: &str) -> bool {
        self.seen.contains_key(&place(scope, key))
    }

    fn record(&mut self, write: StateWrite, seen: Option<StateEntry>, scope: Scope) -> Result<(), Failure> {
        let value = seen.as_ref().map_or(0, |entry| entry.value.len());
        let bytes = self.bytes + write.key.key.len() + value;
        if self.writes.len() >= MOST || bytes > BYTES {
            return Err(Failure::new(
                "invalid",
                format!("a job writes {MOST} values and {BYTES} bytes at most"),
            ));
        }
        self.bytes = bytes;
        self.seen.insert(place(scope, &write.key.key), seen);
        self.writes.push(write);
        Ok(())
    }
}

#[async_trait]
impl State for Buffer {
    async fn get(&self, scope: Scope, key: &str) -> Result<Option<StateEntry>, Failure> {
        let written = self.written.lock().await;
        self.current(&written, scope, key).await
    }

    async fn set(
        &self,
        scope: Scope,
        key: &str,
        value: Vec<u8>,
        if_version: Option<u64>,
        ttl: Option<Duration>,
    ) -> Result<u64, Failure> {
        let mut written = self.written.lock().await;
        let version = version(&self.current(&written, scope, key).await?);
        expect(if_version, version)?;
        let if_version = if_version.filter(|_| !written.touched(scope, key));
        let change = StateChange::Set { value: value.clone(), if_version, ttl };
        let seen = StateEntry { value, version: version + 1 };
        written.record(StateWrite { key: self.key(scope, key), change }, Some(seen), scope)?;
        Ok(version + 1)
    }

    async fn delete(&self, scope: Scope, key: &str, if_version: Option<u64>) -> Result<(), Failure> {
        let mut written = self.written.lock().await;
        expect(if_version, version(&self.current(&written, scope, key).await?))?;
        let if_version = if_version.filter(|_| !written.touched(scope, key));
        let change = StateChange::Delete { if_version };
        written.record(StateWrite { key: self.key(scope, key), change }, None, scope)
    }

    async fn add(&self, scope: Scope, key: &str, amount: i64) -> Result<i64, Failure> {
        let mut written = self.written.lock().await;
        let current = self.current(&written, scope, key).await?;
        let sum = integer(&current)?.checked_add(amount);
        let sum = sum.ok_or_else(|| Failure::new("invalid", "the sum does not fit 64 bits"))?;
        let seen = StateEntry { value: sum.to_string().into_bytes(), version: version(&current) + 1 };
        // As an addition, not as the sum: what others add meanwhile is kept.
        let change = StateChange::Add { amount };
        written.record(StateWrite { key: self.key(scope, key), change }, Some(seen), scope)?;
        Ok(sum)
    }

    async fn list(
        &self,
        scope: Scope,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, Failure> {
        let written = self.written.lock().await;
        let mine = written
            .seen
            .range(place(scope, prefix)..)
            .take_while(|((of, key), _)| *of == ordinal(scope) && key.starts_with(prefix));
        let mine: Vec<_> = mine.map(|((_, key), seen)| (key, seen.is_some())).collect();
        let gone = mine.iter().filter(|(_, present)| !present).count();
        let limit = limit.min(PAGE);
        // As many more as may be gone: the page is full if there are keys to fill it.
        let wanted = limit.saturating_add(u32::try_from(gone).unwrap_or(u32::MAX));
        let found = self.store.state_list(&self.beneath.space(scope), prefix, after, wanted).await;
        let mut keys: std::collections::BTreeSet<String> =
            found.map_err(|error| store_failure(&error))?.into_iter().collect();
        for (key, present) in mine {
            if !present {
                keys.remove(key);
            } else if after.is_none_or(|after| key.as_str() > after) {
                keys.insert(key.clone());
            }
        }
        Ok(keys.into_iter().take(limit as usize).collect())
    }
}

fn place(scope: Scope, key: &str) -> (u8, String) {
    (ordinal(scope), key.to_owned())
}

fn ordinal(scope: Scope) -> u8 {
    match scope {
        Scope::Conversation => 0,
        Scope::User => 1,
        Scope::Shared => 2,
    }
}

/// 0 stands for a key that is absent.
fn version(entry: &Option<StateEntry>) -> u64 {
    entry.as_ref().map_or(0, |entry| entry.version)
}

fn expect(wanted: Option<u64>, found: u64) -> Result<(), Failure> {
    match wanted {
        Some(wanted) if wanted != found => {
            Err(Failure::new("conflict", format!("the key has version {found}")))
        }
        _ => Ok(()),
    }
}

fn integer(entry: &Option<StateEntry>) -> Result<i64, Failure> {
    let Some(entry) = entry else { return Ok(0) };
    let parsed = std::str::from_utf8(&entry.value).ok().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| Failure::new("invalid", "the value is no decimal integer of 64 bits"))
}
