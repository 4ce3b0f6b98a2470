//! Reading conversations and their messages.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use masque_store::paging::{invalid_cursor, limit, number_after, paged};
use masque_store::{
    ConversationId, ConversationRecord, MAX_PAGE_BYTES, MessageId, MessageRecord, Owner, Page, Paged,
    StoreError, TailLimit,
};
use rusqlite::{Connection, Row, params};
use uuid::Uuid;

use crate::error::Result;
use crate::messages::{MESSAGE_COLUMNS, message, message_columns};
use crate::query::{all_rows, first_row};
use crate::users;

/// From the columns id, companion, title, created_at, updated_at, last_sequence.
pub(crate) fn record(row: &Row<'_>) -> Result<ConversationRecord> {
    Ok(ConversationRecord {
        id: ConversationId::from(row.get::<_, Uuid>(0)?),
        companion: row.get(1)?,
        title: row.get(2)?,
        created_at: row.get(3)?,
        updated_at: row.get(4)?,
        messages: row.get(5)?,
    })
}

/// One conversation of a user.
pub(crate) fn load(
    connection: &Connection,
    owner: &Owner,
    id: ConversationId,
) -> Result<Option<ConversationRecord>> {
    let Some(user) = users::find(connection, owner)? else { return Ok(None) };
    first_row(
        connection,
        "SELECT c.id, c.companion, c.title, c.created_at, l.updated_at, l.last_sequence
           FROM conversations c JOIN leases l ON l.conversation = c.id
          WHERE c.id = ?1 AND c.user = ?2 AND c.deleted_at IS NULL",
        (id.as_uuid(), user),
        record,
    )
}

/// The conversations of a user by id, which is by the time of creation. In a list by last use, items would move between
/// pages.
pub(crate) fn list(connection: &Connection, owner: &Owner, page: &Page) -> Result<Paged<ConversationRecord>> {
    let after = id_before(page)?;
    let limit = limit(page);
    let Some(user) = users::find(connection, owner)? else {
        return Ok(Paged { items: Vec::new(), next: None });
    };
    let items = all_rows(
        connection,
        "SELECT c.id, c.companion, c.title, c.created_at, l.updated_at, l.last_sequence
           FROM conversations c JOIN leases l ON l.conversation = c.id
          WHERE c.user = ?1 AND c.id < ?2 AND c.deleted_at IS NULL ORDER BY c.id DESC LIMIT ?3",
        (user, after, limit as i64 + 1),
        record,
    )?;
    Ok(paged(items, limit, |last: &ConversationRecord| last.id.to_string()))
}

/// The same with one of these companions alone. Each companion has a range of its own in the index, of which a page is read;
/// the pages are merged. So conversations with other companions are not even passed over.
pub(crate) fn list_with(
    connection: &Connection,
    owner: &Owner,
    companions: &BTreeSet<String>,
    page: &Page,
) -> Result<Paged<ConversationRecord>> {
    let after = id_before(page)?;
    let limit = limit(page);
    let mut items = Vec::new();
    if let Some(user) = users::find(connection, owner)? {
        for companion in companions {
            items.extend(all_rows(
                connection,
                "SELECT c.id, c.companion, c.title, c.created_at, l.updated_at, l.last_sequence
                   FROM conversations c INDEXED BY conversations_of_companion
                        JOIN leases l ON l.conversation = c.id
                  WHERE c.user = ?1 AND c.companion = ?2 AND c.id < ?3 AND c.deleted_at IS NULL
                  ORDER BY c.id DESC LIMIT ?4",
                (user, companion, after, limit as i64 + 1),
                record,
            )?);
        }
    }
    items.sort_unstable_by_key(|record| Reverse(record.id));
    Ok(paged(items, limit, |last: &ConversationRecord| last.id.to_string()))
}

/// The id before which a page of conversations begins, newest first.
fn id_before(page: &Page) -> Result<Uuid> {
    match &page.after {
        Some(cursor) => Ok(cursor.parse::<ConversationId>().map_err(|_| invalid_cursor(cursor))?.as_uuid()),
        None => Ok(Uuid::max()),
    }
}

/// The messages of a conversation, oldest first. A page that reaches [`MAX_PAGE_BYTES`] ends there; messages that do not
/// fit are not read.
pub(crate) fn list_messages(
    connection: &Connection,
    owner: &Owner,
    id: ConversationId,
    page: &Page,
) -> Result<Option<Paged<MessageRecord>>> {
    let after = number_after(page, 0)?;
    if load(connection, owner, id)?.is_none() {
        return Ok(None);
    }
    let limit = limit(page);
    let mut statement = connection.prepare_cached(concat!(
        "SELECT ",
        message_columns!(),
        ", octet_length(m.text) + octet_length(m.metadata)
           FROM messages m LEFT JOIN turns t ON t.id = m.turn
          WHERE m.conversation = ?1 AND m.sequence > ?2 ORDER BY m.sequence LIMIT ?3"
    ))?;
    let mut rows = statement.query((id.as_uuid(), after, limit as i64 + 1))?;
    let (mut items, mut left, mut has_more) = (Vec::new(), MAX_PAGE_BYTES, false);
    while let Some(row) = rows.next()? {
        let bytes = usize::try_from(row.get::<_, i64>(MESSAGE_COLUMNS)?).unwrap_or(usize::MAX);
        let rest = left.checked_sub(bytes);
        has_more = items.len() == limit || rest.is_none() && !items.is_empty();
        if has_more {
            break;
        }
        left = rest.unwrap_or(0);
        items.push(message(row)?);
    }
    let next = items.last().filter(|_| has_more).map(|last: &MessageRecord| last.sequence.to_string());
    Ok(Some(Paged { items, next }))
}

/// The messages with these ids in the conversations of a user, by conversation and oldest first.
pub(crate) fn by_id(
    connection: &Connection,
    owner: &Owner,
    messages: &[MessageId],
) -> Result<Vec<MessageRecord>> {
    let Some(user) = users::find(connection, owner)? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for wanted in messages.iter().collect::<BTreeSet<_>>() {
        found.extend(first_row(
            connection,
            concat!(
                "SELECT ",
                message_columns!(),
                ", m.conversation
                   FROM messages m JOIN conversations c ON c.id = m.conversation LEFT JOIN turns t ON t.id = m.turn
                  WHERE m.id = ?1 AND c.user = ?2 AND c.deleted_at IS NULL"
            ),
            (wanted.as_uuid(), user),
            |row| Ok((row.get::<_, Uuid>(MESSAGE_COLUMNS)?, message(row)?)),
        )?);
    }
    found.sort_unstable_by_key(|(conversation, message)| (*conversation, message.sequence));
    Ok(found.into_iter().map(|(_, message)| message).collect())
}

/// The newest messages before another within a limit, oldest first. The newest of them is always returned, however
/// long.
pub(crate) fn history(
    connection: &Connection,
    owner: &Owner,
    id: ConversationId,
    before: Option<MessageId>,
    limit: TailLimit,
) -> Result<Vec<MessageRecord>> {
    if load(connection, owner, id)?.is_none() {
        return Ok(Vec::new());
    }
    let before = match before {
        None => Some(i64::MAX),
        Some(before) => first_row(
            connection,
            "SELECT sequence FROM messages WHERE id = ?1 AND conversation = ?2",
            (before.as_uuid(), id.as_uuid()),
            |row| Ok(row.get::<_, i64>(0)?),
        )?,
    };
    let Some(before) = before else { return Ok(Vec::new()) };
    // Sizes are read from the headers of the rows, without reading the texts, which may be long.
    let sizes = all_rows(
        connection,
        "SELECT m.sequence, octet_length(m.text) FROM messages m INDEXED BY messages_in_tail
          WHERE m.conversation = ?1 AND m.sequence < ?2 AND m.in_tail = 1 ORDER BY m.sequence DESC LIMIT ?3",
        (id.as_uuid(), before, limit.messages),
        |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)),
    )?;
    let Some(oldest) = oldest_within(&sizes, limit.bytes)? else { return Ok(Vec::new()) };
    all_rows(
        connection,
        concat!(
            "SELECT ",
            message_columns!(),
            "  FROM messages m INDEXED BY messages_in_tail LEFT JOIN turns t ON t.id = m.turn
              WHERE m.conversation = ?1 AND m.sequence < ?2 AND m.sequence >= ?3 AND m.in_tail = 1
              ORDER BY m.sequence"
        ),
        params![id.as_uuid(), before, oldest],
        message,
    )
}

/// The sequence of the oldest message that fits, from sequences and sizes, newest first. The newest always fits.
fn oldest_within(sizes: &[(i64, i64)], bytes: usize) -> Result<Option<i64>> {
    let mut left = bytes;
    let mut oldest = None;
    for (sequence, size) in sizes {
        let size =
            usize::try_from(*size).map_err(|_| StoreError::Corrupt(format!("a text of {size} bytes")))?;
        match (left.checked_sub(size), oldest) {
            (None, Some(_)) => break,
            (rest, _) => left = rest.unwrap_or(0),
        }
        oldest = Some(*sequence);
    }
    Ok(oldest)
}

#[cfg(test)]
mod tests {
    use super::oldest_within;

    #[test]
    fn messages_fit_whole_and_without_gaps_and_the_newest_always_does() {
        let sizes = [(6, 17), (5, 2), (4, 2), (3, 4), (2, 1)];
        let cases =
            [(100, Some(2)), (21, Some(4)), (24, Some(4)), (25, Some(3)), (17, Some(6)), (1, Some(6))];
        for (bytes, expected) in cases {
            assert_eq!(oldest_within(&sizes, bytes).unwrap(), expected, "{bytes} bytes");
        }
        assert_eq!(oldest_within(&[], 5).unwrap(), None);
    }
}
