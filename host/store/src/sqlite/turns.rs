//! [`Turns`] over the writer, and reading a turn.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{Row, SqliteConnection};
use uuid::Uuid;

use super::SqliteStore;
use super::fault::Fault;
use super::leases::{Recover, Renew, Sweep};
use super::rows::{MESSAGE_COLUMNS, attempt, ids_text, message, message_columns, now, parse, unsigned};
use crate::{
    Admission, Admitted, Commit, ConversationId, Ending, Failed, Interruption, KeyedTurn, Owner, StoreError,
    TurnId, TurnRecord, Turns, UsageRecord,
};

#[async_trait]
impl Turns for SqliteStore {
    async fn admit(&self, admission: Admission) -> Result<Admitted, StoreError> {
        let (outcome, durable) = self.writer.submit(admission).await?;
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
        let mut connection = self.reader().await?;
        Ok(load_turn(&mut connection, owner, id).await?)
    }

    async fn keyed(&self, owner: &Owner, route: &str, key: &str) -> Result<Option<KeyedTurn>, StoreError> {
        let mut connection = self.reader().await?;
        Ok(keyed(&mut connection, owner, route, key).await?)
    }

    async fn renew(&self, host: Uuid, turns: &[TurnId], lease: Duration) -> Result<Vec<TurnId>, StoreError> {
        self.write(Renew { host, turns: ids_text(turns.iter().map(TurnId::as_uuid)), lease }).await
    }

    async fn recover(&self, host: Uuid) -> Result<u64, StoreError> {
        self.write(Recover { host }).await
    }

    async fn sweep(&self) -> Result<u64, StoreError> {
        self.write(Sweep).await
    }
}

async fn keyed(
    connection: &mut SqliteConnection,
    owner: &Owner,
    route: &str,
    key: &str,
) -> Result<Option<KeyedTurn>, Fault> {
    let row = sqlx::query(concat!(
        "SELECT t.id, t.conversation, i.digest, t.status
           FROM idempotency i JOIN turns t ON t.id = i.turn
          WHERE i.tenant = ?1 AND i.issuer = ?2 AND i.subject = ?3 AND i.route = ?4 AND i.key = ?5
            AND i.expires_at > ",
        now!()
    ))
    .bind(&owner.tenant)
    .bind(&owner.issuer)
    .bind(&owner.subject)
    .bind(route)
    .bind(key)
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(KeyedTurn {
        turn: TurnId::from(row.try_get::<Uuid, _>(0)?),
        conversation: ConversationId::from(row.try_get::<Uuid, _>(1)?),
        digest: row.try_get(2)?,
        status: row.try_get::<&str, _>(3)?.parse()?,
    }))
}

/// One turn with its reply, in one statement: a snapshot.
pub(super) async fn load_turn(
    connection: &mut SqliteConnection,
    owner: &Owner,
    id: TurnId,
) -> Result<Option<TurnRecord>, Fault> {
    const TURN: usize = MESSAGE_COLUMNS;
    let row = sqlx::query(concat!(
        "SELECT ", message_columns!("m"), ", t.conversation, c.companion, t.status, t.attempt, t.host, t.finish,
                t.input_tokens, t.output_tokens, t.cached_tokens, t.response, t.problem, t.created_at, t.ended_at
           FROM turns t JOIN conversations c ON c.id = t.conversation LEFT JOIN messages m ON m.id = t.reply
          WHERE t.id = ?1 AND t.tenant = ?2 AND t.issuer = ?3 AND t.subject = ?4"
    ))
    .bind(id.as_uuid())
    .bind(&owner.tenant)
    .bind(&owner.issuer)
    .bind(&owner.subject)
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let reply = match row.try_get::<Option<Uuid>, _>(0)? {
        Some(_) => Some(message(&row)?),
        None => None,
    };
    let tokens = |column: usize| row.try_get::<Option<i64>, _>(TURN + column);
    let usage = match (tokens(6)?, tokens(7)?, tokens(8)?) {
        (Some(input), Some(output), Some(cached)) => Some(UsageRecord {
            input_tokens: unsigned(input)?,
            output_tokens: unsigned(output)?,
            cached_tokens: unsigned(cached)?,
        }),
        _ => None,
    };
    let json = |column: usize| row.try_get::<Option<&str>, _>(TURN + column);
    Ok(Some(TurnRecord {
        id,
        conversation: ConversationId::from(row.try_get::<Uuid, _>(TURN)?),
        companion: row.try_get(TURN + 1)?,
        status: row.try_get::<&str, _>(TURN + 2)?.parse()?,
        attempt: attempt(row.try_get(TURN + 3)?)?,
        host: row.try_get(TURN + 4)?,
        reply,
        finish: row.try_get(TURN + 5)?,
        usage,
        response: json(9)?.map(parse).transpose()?,
        problem: json(10)?.map(parse).transpose()?,
        created_at: row.try_get(TURN + 11)?,
        ended_at: row.try_get(TURN + 12)?,
    }))
}
