//! Reading turns.

use masque_store::{
    ConversationId, KeyedTurn, Owner, StoredResponse, TurnId, TurnRecord, TurnStatus, UsageRecord,
};
use rusqlite::{Connection, Row};
use uuid::Uuid;

use crate::columns::{attempt, optional_json, unsigned};
use crate::error::Result;
use crate::messages::{MESSAGE_COLUMNS, message_columns, optional_message};
use crate::query::first_row;

/// One turn with its reply, in one statement: a snapshot.
pub(crate) fn load_turn(connection: &Connection, owner: &Owner, id: TurnId) -> Result<Option<TurnRecord>> {
    first_row(
        connection,
        concat!(
            "SELECT ",
            message_columns!(),
            ", t.conversation, c.companion, t.status, t.attempt, t.host, t.finish, t.input_tokens, t.output_tokens,
               t.cached_tokens, t.response, t.response_text, t.problem, t.created_at, t.ended_at,
               t.usage_estimated
               FROM turns t JOIN conversations c ON c.id = t.conversation JOIN users u ON u.id = c.user
                    LEFT JOIN messages m ON m.id = t.reply
              WHERE t.id = ?1 AND c.deleted_at IS NULL AND u.subject = ?2 AND u.issuer = ?3 AND u.tenant = ?4"
        ),
        (id.as_uuid(), &owner.subject, &owner.issuer, &owner.tenant),
        |row| record(row, id),
    )
}

/// A turn from the columns that [`load_turn`] reads.
pub(crate) fn record(row: &Row<'_>, id: TurnId) -> Result<TurnRecord> {
    const TURN: usize = MESSAGE_COLUMNS;
    let reply = optional_message(row)?;
    let text = reply.as_ref().map(|reply| reply.content.as_str()).unwrap_or_default();
    let response = match optional_json(row, TURN + 9)? {
        Some(response) => Some(StoredResponse { response, text_at: row.get(TURN + 10)? }.with_text(text)),
        None => None,
    };
    Ok(TurnRecord {
        id,
        conversation: ConversationId::from(row.get::<_, Uuid>(TURN)?),
        companion: row.get(TURN + 1)?,
        status: status(row, TURN + 2)?,
        attempt: attempt(row.get(TURN + 3)?)?,
        host: row.get(TURN + 4)?,
        reply,
        finish: row.get(TURN + 5)?,
        usage: usage(row, TURN + 6, TURN + 14)?,
        response,
        problem: optional_json(row, TURN + 11)?,
        created_at: row.get(TURN + 12)?,
        ended_at: row.get(TURN + 13)?,
    })
}

/// The status of a turn as stored.
fn status(row: &Row<'_>, column: usize) -> Result<TurnStatus> {
    Ok(row.get_ref(column)?.as_str()?.parse::<TurnStatus>()?)
}

fn usage(row: &Row<'_>, column: usize, estimated: usize) -> Result<Option<UsageRecord>> {
    let tokens = |offset: usize| row.get::<_, Option<i64>>(column + offset);
    Ok(match (tokens(0)?, tokens(1)?, tokens(2)?) {
        (Some(input), Some(output), Some(cached)) => Some(UsageRecord {
            input_tokens: unsigned(input)?,
            output_tokens: unsigned(output)?,
            cached_tokens: unsigned(cached)?,
            estimated: row.get::<_, Option<bool>>(estimated)?.unwrap_or_default(),
        }),
        _ => None,
    })
}

/// The turn behind an idempotency key that has not expired.
pub(crate) fn find_keyed(
    connection: &Connection,
    owner: &Owner,
    route: &str,
    key: &str,
    now: i64,
) -> Result<Option<KeyedTurn>> {
    first_row(
        connection,
        "SELECT t.id, t.conversation, i.digest, t.status, c.companion
           FROM users u JOIN idempotency_keys i ON i.user = u.id JOIN turns t ON t.id = i.turn
                JOIN conversations c ON c.id = t.conversation
          WHERE u.subject = ?1 AND u.issuer = ?2 AND u.tenant = ?3 AND i.route = ?4 AND i.key = ?5
            AND i.expires_at > ?6 AND c.deleted_at IS NULL",
        (&owner.subject, &owner.issuer, &owner.tenant, route, key, now),
        |row| {
            Ok(KeyedTurn {
                turn: TurnId::from(row.get::<_, Uuid>(0)?),
                conversation: ConversationId::from(row.get::<_, Uuid>(1)?),
                digest: row.get(2)?,
                status: status(row, 3)?,
                companion: row.get(4)?,
            })
        },
    )
}
