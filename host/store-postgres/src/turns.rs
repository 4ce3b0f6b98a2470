//! [`Turns`].

use std::time::Duration;

use async_trait::async_trait;
use masque_store::{
    Admission, Admitted, CheckTexts as _, Commit, Durable, Ending, Failed, Interruption, KeyedTurn, Owner,
    StoreError, TurnId, TurnRecord, Turns,
};
use uuid::Uuid;

use crate::admission::admit;
use crate::columns::millis;
use crate::ending::End;
use crate::error::{DatabaseError, Result as DatabaseResult};
use crate::statement::{Statement, get};
use crate::store::PostgresStore;
use crate::sweep::sweep;
use crate::turn_rows::{find_keyed, find_turn};

/// How often a host may end while it runs a job. The job may be what ended it, so it does not run again by itself.
const MAX_CRASHES: i64 = 2;

#[async_trait]
impl Turns for PostgresStore {
    async fn admit(&self, admission: Admission) -> Result<Admitted, StoreError> {
        Ok(Admitted { outcome: admit(self, &admission).await?, durable: Durable::ready() })
    }

    async fn commit(&self, commit: Commit) -> Result<Ending, StoreError> {
        commit.check_texts()?;
        End::from(commit).write(self).await
    }

    async fn interrupt(&self, interruption: Interruption) -> Result<Ending, StoreError> {
        interruption.check_texts()?;
        End::from(interruption).write(self).await
    }

    async fn fail(&self, failure: Failed) -> Result<Ending, StoreError> {
        failure.check_texts()?;
        End::from(failure).write(self).await
    }

    async fn turn(&self, owner: &Owner, id: TurnId) -> Result<Option<TurnRecord>, StoreError> {
        find_turn(self, owner, id).await
    }

    async fn keyed(&self, owner: &Owner, route: &str, key: &str) -> Result<Option<KeyedTurn>, StoreError> {
        find_keyed(self, owner, route, key).await
    }

    /// Also tells other hosts that this one lives, until the leases end.
    async fn renew(&self, host: Uuid, turns: &[TurnId], lease: Duration) -> Result<Vec<TurnId>, StoreError> {
        let statement = Statement::new("SELECT * FROM masque_renew_v1($1, $2, $3)")
            .bind(host)
            .bind(turns.iter().map(TurnId::as_uuid).collect::<Vec<Uuid>>())
            .bind(millis(lease));
        let rows = self.write(statement).await?;
        rows.iter()
            .map(|row| Ok(TurnId::from(get::<Uuid, _>(row, 0)?)))
            .collect::<DatabaseResult<_>>()
            .map_err(DatabaseError::of_read)
    }

    /// Every host counts as gone that has not renewed its leases, and whose last renewal has ended.
    async fn recover(&self, host: Uuid) -> Result<u64, StoreError> {
        let statement =
            Statement::new("SELECT * FROM masque_recover_v1($1, $2)").bind(host).bind(MAX_CRASHES);
        let mut turns = 0;
        for row in &self.write(statement).await? {
            let read = || -> DatabaseResult<_> {
                Ok((
                    get::<Option<i64>, _>(row, 0)?,
                    get::<Option<Uuid>, _>(row, 1)?,
                    get::<Option<&str>, _>(row, 2)?,
                ))
            };
            let (count, job, error) = read().map_err(DatabaseError::of_read)?;
            turns += count.and_then(|count| u64::try_from(count).ok()).unwrap_or_default();
            if let Some(job) = job {
                tracing::error!(%job, error, "a job was parked");
            }
        }
        Ok(turns)
    }

    async fn sweep(&self) -> Result<u64, StoreError> {
        sweep(self).await
    }
}
