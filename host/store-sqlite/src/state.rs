//! [`PluginState`].

use async_trait::async_trait;
use masque_store::{
    PluginState, StateConflict, StateFence, StateKey, StateSpace, StateValue, StateWrite, StateWritten,
    StoreError,
};
use rusqlite::Connection;

use crate::error::Result as DatabaseResult;
use crate::fences::ensure_holds;
use crate::operation::Operation;
use crate::query::snapshot;
use crate::state_rows::{apply, check, find, list};
use crate::state_spaces::{find_space, total};
use crate::store::SqliteStore;

#[async_trait]
impl PluginState for SqliteStore {
    async fn state_get(&self, key: &StateKey) -> Result<Option<StateValue>, StoreError> {
        let key = key.clone();
        self.read(move |connection| {
            snapshot(connection, |reads| {
                let Some(space) = find_space(reads, &key.space)? else { return Ok(None) };
                let found = find(reads, &space, &key.key)?;
                Ok(found.value.map(|value| StateValue { value, version: found.version }))
            })
        })
        .await
    }

    async fn state_write(
        &self,
        fence: Option<StateFence>,
        writes: Vec<StateWrite>,
    ) -> Result<Result<Vec<StateWritten>, StateConflict>, StoreError> {
        match self.write(WriteState { fence, writes }).await {
            Ok(results) => Ok(Ok(results)),
            Err(StoreError::Conflict(conflict)) => Ok(Err(conflict)),
            Err(error) => Err(error),
        }
    }

    async fn state_bytes(&self, space: &StateSpace) -> Result<u64, StoreError> {
        let space = space.clone();
        self.read(move |connection| {
            snapshot(connection, |reads| match find_space(reads, &space)? {
                Some(space) => total(reads, &space),
                None => Ok(0),
            })
        })
        .await
    }

    async fn state_list(
        &self,
        space: &StateSpace,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, StoreError> {
        let (space, prefix, after) = (space.clone(), prefix.to_owned(), after.map(str::to_owned));
        self.read(move |connection| list(connection, &space, &prefix, after.as_deref(), limit)).await
    }
}

/// Applies the writes of one plugin. A conflict is an error, so that all of them are undone.
struct WriteState {
    fence: Option<StateFence>,
    writes: Vec<StateWrite>,
}

impl Operation for WriteState {
    type Answer = Vec<StateWritten>;

    fn run(self, connection: &Connection) -> DatabaseResult<Vec<StateWritten>> {
        check(&self.writes)?;
        if let Some(fence) = self.fence {
            ensure_holds(connection, fence)?;
        }
        apply(connection, &self.writes)
    }
}
