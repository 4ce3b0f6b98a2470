//! Pages of a user's export. What belongs to conversations is found through them, so a page costs what its rows cost.

use masque_store::{
    ConversationId, ExportItem, ExportSection, ExportedJob, ExportedKey, ExportedSpending, JobId, Owner,
    Paged, TurnId, encode_cursor, user_account,
};
use rusqlite::Connection;
use uuid::Uuid;

use crate::audit_rows;
use crate::columns::{now, unsigned};
use crate::conversation_reads;
use crate::error::Result;
use crate::export_page::{bounded, place};
use crate::export_state::{of_conversations, of_user};
use crate::messages::{MESSAGE_COLUMNS, message, message_columns};
use crate::query::one_row;
use crate::turn_rows;
use crate::users;

/// Entries of the audit log that a page looks through, since there is no index by actor.
const AUDIT_WINDOW: i64 = 20_000;

/// A page of one section.
pub(crate) fn page(
    connection: &Connection,
    owner: &Owner,
    section: ExportSection,
    after: Option<&str>,
) -> Result<Paged<ExportItem>> {
    match section {
        ExportSection::Spending => return spending(connection, owner, after),
        ExportSection::Audit => return audit(connection, owner, after),
        _ => {}
    }
    // Nobody has the nil id: the cursor is checked for anyone, and there are no rows.
    let user = users::find(connection, owner)?.unwrap_or_default();
    match section {
        ExportSection::Conversations => conversations(connection, user, after),
        ExportSection::Messages => messages(connection, user, after),
        ExportSection::Turns => turns(connection, user, after),
        ExportSection::UserState => of_user(connection, user, after),
        ExportSection::ConversationState => of_conversations(connection, user, after),
        ExportSection::Jobs => jobs(connection, user, after),
        ExportSection::IdempotencyKeys => keys(connection, user, after),
        // Records are in another file.
        ExportSection::Spending | ExportSection::Audit | ExportSection::TurnRecords => {
            Ok(Paged { items: Vec::new(), next: None })
        }
    }
}

fn conversations(connection: &Connection, user: Uuid, after: Option<&str>) -> Result<Paged<ExportItem>> {
    bounded(
        connection,
        "SELECT c.id, c.companion, c.title, c.created_at, l.updated_at, l.last_sequence
           FROM conversations c JOIN leases l ON l.conversation = c.id
          WHERE c.user = ?1 AND c.id > ?2 AND c.deleted_at IS NULL ORDER BY c.id",
        (user, place(after, Uuid::nil())?),
        |row| {
            let record = conversation_reads::record(row)?;
            let id = record.id.as_uuid();
            Ok((ExportItem::Conversation(record), id, 0))
        },
    )
}

fn messages(connection: &Connection, user: Uuid, after: Option<&str>) -> Result<Paged<ExportItem>> {
    let (conversation, sequence) = place(after, (Uuid::nil(), 0_i64))?;
    bounded(
        connection,
        concat!(
            "SELECT ",
            message_columns!(),
            ", c.id FROM conversations c CROSS JOIN messages m ON m.conversation = c.id LEFT JOIN turns t ON t.id = m.turn
              WHERE c.user = ?1 AND c.deleted_at IS NULL AND c.id >= ?2 AND m.sequence > iif(c.id = ?2, ?3, 0)
              ORDER BY c.id, m.sequence"
        ),
        (user, conversation, sequence),
        |row| {
            let message = message(row)?;
            let id: Uuid = row.get(MESSAGE_COLUMNS)?;
            let (place, size) = ((id, message.sequence), message.content.len());
            Ok((ExportItem::Message { conversation: ConversationId::from(id), message }, place, size))
        },
    )
}

/// Turns are found through the user's messages, which name them.
fn turns(connection: &Connection, user: Uuid, after: Option<&str>) -> Result<Paged<ExportItem>> {
    let (conversation, sequence) = place(after, (Uuid::nil(), 0_i64))?;
    bounded(
        connection,
        "SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
                t.conversation, c.companion, t.status, t.attempt, t.host, t.finish, t.input_tokens, t.output_tokens,
                t.cached_tokens, NULL, NULL, t.problem, t.created_at, t.ended_at, t.usage_estimated, t.id, m.sequence
           FROM conversations c CROSS JOIN messages m ON m.conversation = c.id JOIN turns t ON t.id = m.turn
          WHERE c.user = ?1 AND c.deleted_at IS NULL AND c.id >= ?2 AND m.sequence > iif(c.id = ?2, ?3, 0)
            AND m.role = 'user'
          ORDER BY c.id, m.sequence",
        (user, conversation, sequence),
        |row| {
            let turn = turn_rows::record(row, TurnId::from(row.get::<_, Uuid>(25)?))?;
            let place = (turn.conversation.as_uuid(), row.get::<_, i64>(26)?);
            Ok((ExportItem::Turn(turn), place, 0))
        },
    )
}

/// Jobs that are done are removed, so the whole table is short.
fn jobs(connection: &Connection, user: Uuid, after: Option<&str>) -> Result<Paged<ExportItem>> {
    bounded(
        connection,
        "SELECT j.number, j.id, j.conversation, j.turn, j.plugin, j.kind, j.payload, j.status, j.error, j.created_at
           FROM jobs j LEFT JOIN conversations c ON c.id = j.conversation
          WHERE j.user = ?1 AND j.number > ?2 AND c.deleted_at IS NULL ORDER BY j.number",
        (user, place(after, 0_i64)?),
        |row| {
            let job = ExportedJob {
                id: JobId::from(row.get::<_, Uuid>(1)?),
                conversation: row.get::<_, Option<Uuid>>(2)?.map(ConversationId::from),
                turn: row.get::<_, Option<Uuid>>(3)?.map(TurnId::from),
                plugin: row.get(4)?,
                kind: row.get(5)?,
                payload: row.get(6)?,
                status: row.get(7)?,
                error: row.get(8)?,
                created_at: row.get(9)?,
            };
            let size = job.payload.len();
            Ok((ExportItem::Job(job), row.get::<_, i64>(0)?, size))
        },
    )
}

fn keys(connection: &Connection, user: Uuid, after: Option<&str>) -> Result<Paged<ExportItem>> {
    let (route, key) = place(after, (String::new(), String::new()))?;
    bounded(
        connection,
        "SELECT i.route, i.key, i.turn, i.expires_at
           FROM idempotency_keys i JOIN turns t ON t.id = i.turn JOIN conversations c ON c.id = t.conversation
          WHERE i.user = ?1 AND (i.route, i.key) > (?2, ?3) AND i.expires_at > ?4 AND c.deleted_at IS NULL
          ORDER BY i.route, i.key",
        (user, route, key, now()),
        |row| {
            let key = ExportedKey {
                route: row.get(0)?,
                key: row.get(1)?,
                turn: TurnId::from(row.get::<_, Uuid>(2)?),
                expires_at: row.get(3)?,
            };
            let place = (key.route.clone(), key.key.clone());
            Ok((ExportItem::IdempotencyKey(key), place, 0))
        },
    )
}

fn spending(connection: &Connection, owner: &Owner, after: Option<&str>) -> Result<Paged<ExportItem>> {
    bounded(
        connection,
        "SELECT day, input_tokens, output_tokens FROM spending
          WHERE account = ?1 AND day > ?2 AND (input_tokens > 0 OR output_tokens > 0) ORDER BY day",
        (user_account(owner), place(after, -1_i64)?),
        |row| {
            let day = row.get(0)?;
            let (input_tokens, output_tokens) = (unsigned(row.get(1)?)?, unsigned(row.get(2)?)?);
            Ok((ExportItem::Spending(ExportedSpending { day, input_tokens, output_tokens }), day, 0))
        },
    )
}

/// A page looks through a window of the log and may be empty. The cursor is the end of the window.
fn audit(connection: &Connection, owner: &Owner, after: Option<&str>) -> Result<Paged<ExportItem>> {
    let after = place(after, 0_i64)?;
    let end = after.saturating_add(AUDIT_WINDOW);
    let page = bounded(
        connection,
        "SELECT id, at, tenant, actor, action, target, outcome, request_id, address, detail, number FROM audit
          WHERE number > ?1 AND number <= ?2 AND tenant = ?3 AND actor = ?4 ORDER BY number",
        (after, end, &owner.tenant, format!("user:{}|{}", owner.issuer, owner.subject)),
        |row| Ok((ExportItem::Audit(audit_rows::record(row)?), row.get::<_, i64>(10)?, 0)),
    )?;
    if page.next.is_some() {
        return Ok(page);
    }
    let last = one_row(connection, "SELECT coalesce(max(number), 0) FROM audit", [], |row| {
        Ok(row.get::<_, i64>(0)?)
    })?;
    Ok(Paged { next: (end < last).then(|| encode_cursor(&end)), ..page })
}
