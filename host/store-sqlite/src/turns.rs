//! [`Turns`].

use std::time::Duration;

use async_trait::async_trait;
use masque_store::{
    Admission, Admitted, Commit, Ending, Failed, Interruption, KeyedTurn, Owner, StoreError, TurnId,
    TurnRecord, Turns,
};
use uuid::Uuid;

use crate::columns::now;
use crate::leases::{Recover, RenewTurns};
use crate::store::SqliteStore;
use crate::sweep::Sweep;
use crate::turn_rows::{find_keyed, load_turn};

#[async_trait]
impl Turns for SqliteStore {
    async fn admit(&self, admission: Admission) -> Result<Admitted, StoreError> {
        let (outcome, durable) = self.submit(admission).await?;
        Ok(Admitted { outcome, durable })
    }

    async fn commit(&self, commit: Commit) -> Result<Ending, StoreError> {
        self.write(commit).await
    }

    async fn interrupt(&self, interruption: Interruption) -> Result<Ending, StoreError> {
        self.write(interruption).await
    }

    async fn fail(&self, failure: Failed) -> Result<Ending, StoreError> {
        self.write(failure).await
    }

    async fn turn(&self, owner: &Owner, id: TurnId) -> Result<Option<TurnRecord>, StoreError> {
        let owner = owner.clone();
        self.read(move |connection| load_turn(connection, &owner, id)).await
    }

    async fn keyed(&self, owner: &Owner, route: &str, key: &str) -> Result<Option<KeyedTurn>, StoreError> {
        let (owner, route, key) = (owner.clone(), route.to_owned(), key.to_owned());
        self.read(move |connection| find_keyed(connection, &owner, &route, &key, now())).await
    }

    async fn renew(&self, host: Uuid, turns: &[TurnId], lease: Duration) -> Result<Vec<TurnId>, StoreError> {
        if turns.is_empty() {
            // No other host asks whether this one lives.
            return Ok(Vec::new());
        }
        self.write(RenewTurns { host, turns: turns.to_vec(), lease }).await
    }

    async fn recover(&self, host: Uuid) -> Result<u64, StoreError> {
        self.write(Recover { host }).await
    }

    async fn sweep(&self) -> Result<u64, StoreError> {
        let (mut removed, mut failure) = (0, None);
        for kind in Sweep::ALL {
            match self.write(kind).await {
                Ok(rows) => removed += rows,
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            Some(error) if removed == 0 => Err(error),
            // The failure shows again when nothing else is left to remove.
            _ => Ok(removed),
        }
    }
}
