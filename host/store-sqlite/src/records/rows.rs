//! Storing records and finding them. Whose they are says the database: a record names ids that must still be there.

use masque_store::{ConversationId, EncodedTurnRecord, OwnedTurnRecord, Owner, RecordedTurn, TurnId};
use rusqlite::Connection;
use uuid::Uuid;

use crate::columns::now;
use crate::error::Result;
use crate::query::{execute, first_row};

/// Stores records within the transaction of `records`. Returns how many; the others belong to nobody in `database`.
pub(crate) fn insert(
    records: &Connection,
    database: &Connection,
    batch: &[EncodedTurnRecord],
) -> Result<u64> {
    let mut stored = 0;
    for record in batch {
        let Some(user) = user_of(database, record)? else { continue };
        execute(
            records,
            "INSERT INTO turn_records (turn, attempt, user, conversation, stored_at, body)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (turn, attempt) DO UPDATE
                SET user = excluded.user, conversation = excluded.conversation, stored_at = excluded.stored_at,
                    body = excluded.body",
            (
                record.turn.as_uuid(),
                i64::from(record.attempt),
                user,
                record.conversation.as_uuid(),
                now(),
                &record.body,
            ),
        )?;
        stored += 1;
    }
    Ok(stored)
}

/// The user whose turn a record is of, if the user, the conversation and the turn are there.
fn user_of(database: &Connection, record: &EncodedTurnRecord) -> Result<Option<Uuid>> {
    let EncodedTurnRecord { owner, turn, conversation, .. } = record;
    first_row(
        database,
        "SELECT u.id FROM turns t JOIN conversations c ON c.id = t.conversation JOIN users u ON u.id = c.user
          WHERE t.id = ?1 AND c.id = ?2 AND c.deleted_at IS NULL AND u.subject = ?3 AND u.issuer = ?4 AND u.tenant = ?5",
        (
            turn.as_uuid(),
            conversation.as_uuid(),
            &owner.subject,
            &owner.issuer,
            &owner.tenant,
        ),
        |row| Ok(row.get(0)?),
    )
}

/// The record of a turn's last attempt, if its turn, conversation and user are there.
pub(crate) fn find(
    records: &Connection,
    database: &Connection,
    turn: TurnId,
) -> Result<Option<OwnedTurnRecord>> {
    let found = first_row(
        records,
        "SELECT user, conversation, body FROM turn_records WHERE turn = ?1 ORDER BY attempt DESC LIMIT 1",
        [turn.as_uuid()],
        |row| {
            Ok((
                row.get::<_, Uuid>(0)?,
                ConversationId::from(row.get::<_, Uuid>(1)?),
                row.get::<_, Vec<u8>>(2)?,
            ))
        },
    )?;
    let Some((user, conversation, body)) = found else { return Ok(None) };
    let Some(owner) = owner_of(database, turn, conversation, user)? else { return Ok(None) };
    Ok(Some(OwnedTurnRecord { owner, record: RecordedTurn::from_json(&body)? }))
}

fn owner_of(
    database: &Connection,
    turn: TurnId,
    conversation: ConversationId,
    user: Uuid,
) -> Result<Option<Owner>> {
    first_row(
        database,
        "SELECT u.tenant, u.issuer, u.subject
           FROM turns t JOIN conversations c ON c.id = t.conversation JOIN users u ON u.id = c.user
          WHERE t.id = ?1 AND c.id = ?2 AND u.id = ?3 AND c.deleted_at IS NULL AND u.subject IS NOT NULL",
        (turn.as_uuid(), conversation.as_uuid(), user),
        |row| Ok(Owner { tenant: row.get(0)?, issuer: row.get(1)?, subject: row.get(2)? }),
    )
}
