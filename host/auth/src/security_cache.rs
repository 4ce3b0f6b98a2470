//! Keeps the security snapshot current.
//!
//! The store counts a version up with every change of keys and revocations. The cache asks for that version every
//! second and reads the changes when it is another: what another host or the command line changes is in force within 5
//! seconds, and what this host changes at once, because it refreshes the cache before it answers. While the store can't
//! be reached the last snapshot stays in force; a request with a key that was revoked meanwhile finds no data either.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use masque_store::{KeyId, Store, StoreError};
use tokio::sync::Semaphore;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::clock::now_ms;
use crate::key::ApiKey;
use crate::security_snapshot::SecuritySnapshot;

/// How often the store is asked for its version. The documented limit is 5 s; the rest is for a store that is slow.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// How many requests with an unknown key id may look it up in the store at the same time. This bounds what a flood of
/// made-up ids costs the store. A new key that finds no permit is known after the next refresh.
const MAX_KEY_LOOKUPS: usize = 2;

/// The current snapshot, and the store that it is read from.
pub(crate) struct SecurityCache {
    store: Arc<dyn Store>,
    snapshot: RwLock<Arc<SecuritySnapshot>>,
    key_lookups: Semaphore,
}

impl SecurityCache {
    /// Reads the first snapshot.
    pub(crate) async fn open(store: Arc<dyn Store>) -> Result<Self, StoreError> {
        let snapshot = RwLock::new(Arc::new(SecuritySnapshot::from(store.security().await?)));
        Ok(Self { store, snapshot, key_lookups: Semaphore::new(MAX_KEY_LOOKUPS) })
    }

    /// The snapshot of the last refresh.
    pub(crate) fn snapshot(&self) -> Arc<SecuritySnapshot> {
        Arc::clone(&self.snapshot.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Refreshes the snapshot every second until it is stopped. The log tells once when the store can't be read, and
    /// once when it can again.
    pub(crate) async fn follow(&self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(REFRESH_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_away = false;
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            match self.refresh().await {
                Ok(()) if is_away => {
                    is_away = false;
                    tracing::info!("keys and revocations are followed again");
                }
                Ok(()) => {}
                Err(error) if !is_away => {
                    is_away = true;
                    tracing::warn!(%error, "keys and revocations can't be read: what was known last stays in force");
                }
                Err(_) => {}
            }
        }
    }

    /// Reads the keys and revocations that changed since the snapshot, if the store's version is another.
    pub(crate) async fn refresh(&self) -> Result<(), StoreError> {
        let before = self.snapshot();
        if before.version == self.store.security_version().await? {
            return Ok(());
        }
        let read = Arc::new(before.updated(self.store.security_since(before.version).await?, now_ms()));
        let mut current = self.snapshot.write().unwrap_or_else(PoisonError::into_inner);
        // Of two refreshes at the same time, the one that read the older version may finish last.
        if current.version <= read.version {
            *current = read;
        }
        Ok(())
    }

    /// Looks up a key that is not in the snapshot, because it was made since the last refresh or does not exist. At
    /// most [`MAX_KEY_LOOKUPS`] run at a time; past that, or if the store can't be read, the key counts as unknown.
    pub(crate) async fn look_up_key(&self, id: &KeyId) -> Option<Arc<ApiKey>> {
        let _permit = self.key_lookups.try_acquire().ok()?;
        self.stored_key(id).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "an API key could not be looked up");
            None
        })
    }

    /// Reads a key from the store, without a limit on how many do so at the same time.
    pub(crate) async fn stored_key(&self, id: &KeyId) -> Result<Option<Arc<ApiKey>>, StoreError> {
        Ok(self.store.key(id).await?.map(|record| Arc::new(record.into())))
    }
}
