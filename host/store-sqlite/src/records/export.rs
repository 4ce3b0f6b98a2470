//! A page of the records in a user's export.

use std::collections::HashMap;

use masque_store::{ExportItem, Owner, Paged};
use rusqlite::Connection;
use uuid::Uuid;

use crate::error::Result;
use crate::export_page::{bounded, place};
use crate::query::first_row;
use crate::users;

/// A page of a user's records, by turn and attempt. Those of conversations that the user deleted are not in it.
pub(crate) fn page(
    records: &Connection,
    database: &Connection,
    owner: &Owner,
    after: Option<&str>,
) -> Result<Paged<ExportItem>> {
    let (turn, attempt) = place(after, (Uuid::nil(), 0_i64))?;
    let Some(user) = users::find(database, owner)? else {
        return Ok(Paged { items: Vec::new(), next: None });
    };
    let mut page = bounded(
        records,
        "SELECT body, turn, attempt, conversation FROM turn_records
          WHERE user = ?1 AND (turn, attempt) > (?2, ?3) ORDER BY turn, attempt",
        (user, turn, attempt),
        |row| {
            let body = row.get_ref(0)?.as_blob()?;
            let place = (row.get::<_, Uuid>(1)?, row.get::<_, i64>(2)?);
            let conversation = row.get::<_, Uuid>(3)?.into();
            Ok((ExportItem::turn_record(body, place.0.into(), place.1, conversation), place, body.len()))
        },
    )?;
    let mut are_there = HashMap::new();
    let mut failure = None;
    page.items.retain(|item| {
        let conversation = match item {
            ExportItem::TurnRecord(record) => record.conversation_id.as_uuid(),
            ExportItem::UnreadableTurnRecord(record) => record.conversation.as_uuid(),
            _ => return true,
        };
        let is_there = match are_there.get(&conversation) {
            Some(is_there) => Ok(*is_there),
            None => is_conversation(database, conversation, user),
        };
        is_there
            .inspect(|is_there| {
                are_there.insert(conversation, *is_there);
            })
            .unwrap_or_else(|error| {
                failure.get_or_insert(error);
                false
            })
    });
    failure.map_or(Ok(page), Err)
}

/// Whether a user has a conversation.
fn is_conversation(database: &Connection, conversation: Uuid, user: Uuid) -> Result<bool> {
    let found = first_row(
        database,
        "SELECT 1 FROM conversations WHERE id = ?1 AND user = ?2 AND deleted_at IS NULL",
        (conversation, user),
        |_row| Ok(()),
    )?;
    Ok(found.is_some())
}
