//! [`Turns`].

use std::time::Duration;

use async_trait::async_trait;
use masque_store::{
    Admission, Admitted, CheckTexts as _, Commit, ConversationId, Durable, Ending, Failed, Heartbeat,
    Interruption, KeyedTurn, Owner, StoreError, TurnId, TurnRecord, Turns,
};
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::admission::admit;
use crate::columns::millis;
use crate::ending::End;
use crate::error::{DatabaseError, Result as DatabaseResult};
use crate::job_rows::MAX_CRASHES;
use crate::statement::{Statement, get};
use crate::store::PostgresStore;
use crate::sweep::sweep;
use crate::turn_rows::{find_keyed, find_turn};

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

    async fn stop_waiting(&self, _conversation: ConversationId, turn: TurnId) -> Result<(), StoreError> {
        let statement = Statement::new("DELETE FROM tickets WHERE turn = $1").bind(turn.as_uuid());
        self.write(statement).await.map(drop)
    }

    async fn heartbeat(
        &self,
        host: Uuid,
        turns: &[TurnId],
        lease: Duration,
    ) -> Result<Heartbeat, StoreError> {
        let statement = Statement::new("SELECT * FROM masque_heartbeat_v1($1, $2, $3)")
            .bind(host)
            .bind(turns.iter().map(TurnId::as_uuid).collect::<Vec<Uuid>>())
            .bind(millis(lease));
        let rows = self.write(statement).await?;
        read_heartbeat(&rows).map_err(DatabaseError::of_read)
    }

    async fn request_cancel(&self, owner: &Owner, turn: TurnId) -> Result<Option<Uuid>, StoreError> {
        let statement = Statement::new(
            "UPDATE leases l SET is_cancelled = true
               FROM conversations c JOIN users u ON u.id = c.user_id
              WHERE l.turn = $1 AND l.ends_at > masque_now_v1() AND c.id = l.conversation AND c.deleted_at IS NULL
                AND u.subject = $2 AND u.issuer = $3 AND u.tenant = $4
             RETURNING l.host",
        )
        .bind(turn.as_uuid())
        .bind(&*owner.subject)
        .bind(&*owner.issuer)
        .bind(&*owner.tenant);
        self.write_first(statement, |row| get(row, 0)).await
    }

    /// A host is gone if it said so. The leases of one that was only not heard of last until their end.
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

fn read_heartbeat(rows: &[PgRow]) -> DatabaseResult<Heartbeat> {
    let mut heard = Heartbeat::default();
    for row in rows {
        if let Some(hosts) = get::<Option<i64>, _>(row, "live_hosts")? {
            heard.live_hosts = u32::try_from(hosts).unwrap_or(u32::MAX);
        } else {
            let turn = TurnId::from(get::<Uuid, _>(row, "turn")?);
            heard.held.push(turn);
            if get(row, "is_cancelled")? {
                heard.cancel.push(turn);
            }
        }
    }
    Ok(heard)
}
