//! Reading conversations and their messages, each in one statement and so in one snapshot.

use std::collections::BTreeSet;

use masque_store::paging::{invalid_cursor, limit, number_after, paged, rows};
use masque_store::{
    ConversationId, ConversationRecord, MAX_PAGE_BYTES, MessageId, MessageRecord, Owner, Page, Paged,
    StoreError, TailLimit,
};
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::error::{DatabaseError, Result};
use crate::messages::{message, message_columns};
use crate::statement::{Statement, get};
use crate::store::PostgresStore;

/// A conversation `c` with its lease `l` and its user `u`, and what [`record`] reads of them.
macro_rules! conversation_columns {
    () => {
        "c.id, c.companion, c.title, c.created_at, l.updated_at, l.last_sequence"
    };
}

/// From the columns id, companion, title, created_at, updated_at, last_sequence.
pub(crate) fn record(row: &PgRow) -> Result<ConversationRecord> {
    Ok(ConversationRecord {
        id: ConversationId::from(get::<Uuid, _>(row, 0)?),
        companion: get(row, 1)?,
        title: get(row, 2)?,
        created_at: get(row, 3)?,
        updated_at: get(row, 4)?,
        messages: get(row, 5)?,
    })
}

/// A statement whose first three arguments name a user.
fn of_user(sql: &'static str, owner: &Owner) -> Statement {
    Statement::new(sql).bind(&*owner.tenant).bind(&*owner.issuer).bind(&*owner.subject)
}

/// One conversation of a user.
pub(crate) async fn load(
    store: &PostgresStore,
    owner: &Owner,
    id: ConversationId,
) -> std::result::Result<Option<ConversationRecord>, StoreError> {
    let statement = of_user(
        concat!(
            "SELECT ",
            conversation_columns!(),
            "  FROM conversations c JOIN leases l ON l.conversation = c.id JOIN users u ON u.id = c.user_id
              WHERE u.tenant = $1 AND u.issuer = $2 AND u.subject = $3 AND c.id = $4 AND c.deleted_at IS NULL"
        ),
        owner,
    );
    store.read_first(statement.bind(id.as_uuid()), record).await
}

/// The conversations of a user by id, which is by the time of creation. In a list by last use, items would move between
/// pages.
pub(crate) async fn list(
    store: &PostgresStore,
    owner: &Owner,
    page: &Page,
) -> std::result::Result<Paged<ConversationRecord>, StoreError> {
    let statement = of_user(
        concat!(
            "SELECT ",
            conversation_columns!(),
            "  FROM conversations c JOIN leases l ON l.conversation = c.id
              WHERE c.user_id = (SELECT id FROM users WHERE tenant = $1 AND issuer = $2 AND subject = $3)
                AND c.id < $4 AND c.deleted_at IS NULL ORDER BY c.id DESC LIMIT $5"
        ),
        owner,
    );
    let items = store.read_all(statement.bind(id_before(page)?).bind(rows(page)), record).await?;
    Ok(paged(items, limit(page), |last| last.id.to_string()))
}

/// The same with one of these companions alone. Each companion has a range of its own in the index, of which a page is read;
/// the pages are merged. So conversations with other companions are not even passed over.
pub(crate) async fn list_with(
    store: &PostgresStore,
    owner: &Owner,
    companions: &BTreeSet<String>,
    page: &Page,
) -> std::result::Result<Paged<ConversationRecord>, StoreError> {
    let statement = of_user(
        "SELECT found.* FROM unnest($6::text[]) AS wanted (companion) CROSS JOIN LATERAL (
            SELECT c.id, c.companion, c.title, c.created_at, l.updated_at, l.last_sequence
              FROM conversations c JOIN leases l ON l.conversation = c.id
             WHERE c.user_id = (SELECT id FROM users WHERE tenant = $1 AND issuer = $2 AND subject = $3)
               AND c.companion = wanted.companion AND c.id < $4 AND c.deleted_at IS NULL
             ORDER BY c.id DESC LIMIT $5) found
          ORDER BY found.id DESC LIMIT $5",
        owner,
    );
    let companions: Vec<&str> = companions.iter().map(String::as_str).collect();
    let statement = statement.bind(id_before(page)?).bind(rows(page)).bind(companions);
    let items = store.read_all(statement, record).await?;
    Ok(paged(items, limit(page), |last| last.id.to_string()))
}

/// The id before which a page of conversations begins, newest first.
fn id_before(page: &Page) -> std::result::Result<Uuid, StoreError> {
    match &page.after {
        Some(cursor) => Ok(cursor.parse::<ConversationId>().map_err(|_| invalid_cursor(cursor))?.as_uuid()),
        None => Ok(Uuid::max()),
    }
}

/// The messages of a conversation, oldest first. A page that reaches [`MAX_PAGE_BYTES`] ends there; texts that do not fit
/// are not read. A conversation without messages is one row of NULLs.
pub(crate) async fn list_messages(
    store: &PostgresStore,
    owner: &Owner,
    id: ConversationId,
    page: &Page,
) -> std::result::Result<Option<Paged<MessageRecord>>, StoreError> {
    let statement = of_user(
        concat!(
            "SELECT ",
            message_columns!("CASE WHEN m.total <= $7 OR m.place = 1 THEN m.text END"),
            "  FROM conversations c JOIN users u ON u.id = c.user_id
                    LEFT JOIN LATERAL (
                        SELECT s.*, row_number() OVER (ORDER BY s.sequence) AS place,
                               sum(octet_length(s.text) + octet_length(s.metadata)) OVER (ORDER BY s.sequence) AS total
                          FROM (SELECT * FROM messages WHERE conversation = c.id AND sequence > $5
                                 ORDER BY sequence LIMIT $6) s) m ON true
                    LEFT JOIN turns t ON t.id = m.turn
              WHERE u.tenant = $1 AND u.issuer = $2 AND u.subject = $3 AND c.id = $4 AND c.deleted_at IS NULL
              ORDER BY m.sequence"
        ),
        owner,
    );
    let most = i64::try_from(MAX_PAGE_BYTES).unwrap_or(i64::MAX);
    let statement = statement.bind(id.as_uuid()).bind(number_after(page, 0)?).bind(rows(page)).bind(most);
    let found = store.read(statement).await?;
    let Some(first) = found.first() else { return Ok(None) };
    let read = || -> Result<Paged<MessageRecord>> {
        let (mut items, mut has_more) = (Vec::new(), false);
        if get::<Option<Uuid>, _>(first, "id")?.is_some() {
            for row in &found {
                has_more = items.len() == limit(page) || get::<Option<&str>, _>(row, "text")?.is_none();
                if has_more {
                    break;
                }
                items.push(message(row)?);
            }
        }
        let next = items.last().filter(|_| has_more).map(|last: &MessageRecord| last.sequence.to_string());
        Ok(Paged { items, next })
    };
    read().map(Some).map_err(DatabaseError::of_read)
}

/// The messages with these ids in the conversations of a user, by conversation and oldest first.
pub(crate) async fn by_id(
    store: &PostgresStore,
    owner: &Owner,
    messages: &[MessageId],
) -> std::result::Result<Vec<MessageRecord>, StoreError> {
    let statement = of_user(
        concat!(
            "SELECT ",
            message_columns!(),
            "  FROM messages m JOIN conversations c ON c.id = m.conversation JOIN users u ON u.id = c.user_id
                    LEFT JOIN turns t ON t.id = m.turn
              WHERE u.tenant = $1 AND u.issuer = $2 AND u.subject = $3 AND c.deleted_at IS NULL AND m.id = ANY ($4)
              ORDER BY m.conversation, m.sequence"
        ),
        owner,
    );
    let messages: Vec<Uuid> = messages.iter().map(|message| message.as_uuid()).collect();
    store.read_all(statement.bind(messages), message).await
}

/// The newest messages before another within a limit, oldest first. The newest of them is always returned, however
/// long.
pub(crate) async fn history(
    store: &PostgresStore,
    owner: &Owner,
    id: ConversationId,
    before: Option<MessageId>,
    limit: TailLimit,
) -> std::result::Result<Vec<MessageRecord>, StoreError> {
    let statement = of_user(
        concat!(
            "SELECT ",
            message_columns!(),
            "  FROM conversations c JOIN users u ON u.id = c.user_id
                    CROSS JOIN LATERAL (
                        SELECT sized.*, sum(CASE place WHEN 1 THEN least(size, $6) ELSE size END)
                                            OVER (ORDER BY sequence DESC) AS total
                          FROM (SELECT s.*, octet_length(s.text)::int8 AS size,
                                       row_number() OVER (ORDER BY s.sequence DESC) AS place
                                  FROM (SELECT * FROM messages
                                         WHERE conversation = c.id AND in_tail
                                           AND ($5::uuid IS NULL OR sequence < (
                                                SELECT sequence FROM messages WHERE id = $5 AND conversation = c.id))
                                         ORDER BY sequence DESC LIMIT $7) s) sized) m
                    LEFT JOIN turns t ON t.id = m.turn
              WHERE u.tenant = $1 AND u.issuer = $2 AND u.subject = $3 AND c.id = $4 AND c.deleted_at IS NULL
                AND m.total <= $6
              ORDER BY m.sequence"
        ),
        owner,
    );
    let statement = statement
        .bind(id.as_uuid())
        .bind(before.map(Uuid::from))
        .bind(i64::try_from(limit.bytes).unwrap_or(i64::MAX))
        .bind(i64::from(limit.messages));
    store.read_all(statement, message).await
}
