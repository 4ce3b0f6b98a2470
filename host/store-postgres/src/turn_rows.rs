//! Reading turns.

use masque_store::{
    ConversationId, KeyedTurn, Owner, StoreError, StoredResponse, TurnId, TurnRecord, TurnStatus, UsageRecord,
};
use serde_json::Value;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::columns::{attempt, json, unsigned};
use crate::error::Result;
use crate::messages::{message_columns, optional_message};
use crate::statement::{Statement, get};
use crate::store::PostgresStore;

/// One turn of a user with its reply.
pub(crate) async fn find_turn(
    store: &PostgresStore,
    owner: &Owner,
    id: TurnId,
) -> std::result::Result<Option<TurnRecord>, StoreError> {
    let statement = Statement::new(concat!(
        "SELECT ",
        message_columns!(),
        ", t.conversation, c.companion, t.attempt, t.host, t.finish, t.input_tokens, t.output_tokens, t.cached_tokens,
           t.usage_estimated, t.response, t.response_text, t.problem, t.created_at AS began_at, t.ended_at
           FROM turns t JOIN conversations c ON c.id = t.conversation JOIN users u ON u.id = c.user_id
                LEFT JOIN messages m ON m.id = t.reply
          WHERE t.id = $1 AND c.deleted_at IS NULL AND u.subject = $2 AND u.issuer = $3 AND u.tenant = $4"
    ))
    .bind(id.as_uuid())
    .bind(&*owner.subject)
    .bind(&*owner.issuer)
    .bind(&*owner.tenant);
    store.read_first(statement, |row| record(row, id)).await
}

/// A turn from the columns that [`find_turn`] reads.
pub(crate) fn record(row: &PgRow, id: TurnId) -> Result<TurnRecord> {
    let reply = optional_message(row)?;
    let text = reply.as_ref().map(|reply| reply.content.as_str()).unwrap_or_default();
    let response = match optional_json(row, "response")? {
        Some(response) => {
            Some(StoredResponse { response, text_at: get(row, "response_text")? }.with_text(text))
        }
        None => None,
    };
    Ok(TurnRecord {
        id,
        conversation: ConversationId::from(get::<Uuid, _>(row, "conversation")?),
        companion: get(row, "companion")?,
        status: get::<&str, _>(row, "turn_status")?.parse::<TurnStatus>()?,
        attempt: attempt(get(row, "attempt")?)?,
        host: get(row, "host")?,
        reply,
        finish: get(row, "finish")?,
        usage: usage(row)?,
        response,
        problem: optional_json(row, "problem")?,
        created_at: get(row, "began_at")?,
        ended_at: get(row, "ended_at")?,
    })
}

fn optional_json(row: &PgRow, column: &'static str) -> Result<Option<Value>> {
    get::<Option<&str>, _>(row, column)?.map(json).transpose()
}

fn usage(row: &PgRow) -> Result<Option<UsageRecord>> {
    let tokens = |column: &'static str| get::<Option<i64>, _>(row, column);
    Ok(match (tokens("input_tokens")?, tokens("output_tokens")?, tokens("cached_tokens")?) {
        (Some(input), Some(output), Some(cached)) => Some(UsageRecord {
            input_tokens: unsigned(input)?,
            output_tokens: unsigned(output)?,
            cached_tokens: unsigned(cached)?,
            estimated: get::<Option<bool>, _>(row, "usage_estimated")?.unwrap_or_default(),
        }),
        _ => None,
    })
}

/// The turn behind an idempotency key that has not expired.
pub(crate) async fn find_keyed(
    store: &PostgresStore,
    owner: &Owner,
    route: &str,
    key: &str,
) -> std::result::Result<Option<KeyedTurn>, StoreError> {
    let statement = Statement::new(
        "SELECT t.id, t.conversation, i.digest, t.status, c.companion
           FROM users u JOIN idempotency_keys i ON i.user_id = u.id JOIN turns t ON t.id = i.turn
                JOIN conversations c ON c.id = t.conversation
          WHERE u.subject = $1 AND u.issuer = $2 AND u.tenant = $3 AND i.route = $4 AND i.key = $5
            AND i.expires_at > masque_now_v1() AND c.deleted_at IS NULL",
    )
    .bind(&*owner.subject)
    .bind(&*owner.issuer)
    .bind(&*owner.tenant)
    .bind(route)
    .bind(key);
    let keyed = |row: &PgRow| {
        Ok(KeyedTurn {
            turn: TurnId::from(get::<Uuid, _>(row, 0)?),
            conversation: ConversationId::from(get::<Uuid, _>(row, 1)?),
            digest: get(row, 2)?,
            status: get::<&str, _>(row, 3)?.parse::<TurnStatus>()?,
            companion: get(row, 4)?,
        })
    };
    store.read_first(statement, keyed).await
}
