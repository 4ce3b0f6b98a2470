//! Rows of conversations.

use masque_store::{ConversationId, StoreError};
use rusqlite::{Connection, params};
use uuid::Uuid;

use crate::error::Result;
use crate::query::execute;

/// Stores a new conversation without its lease. False if the id is taken.
pub(crate) fn insert_conversation(
    connection: &Connection,
    user: Uuid,
    id: ConversationId,
    companion: &str,
    title: Option<&str>,
    now: i64,
) -> Result<bool> {
    let inserted = execute(
        connection,
        "INSERT INTO conversations (id, user, companion, title, created_at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (id) DO NOTHING",
        params![id.as_uuid(), user, companion, title, now],
    )?;
    Ok(inserted == 1)
}

/// The error for an id that is taken.
pub(crate) fn is_taken(id: ConversationId) -> StoreError {
    StoreError::Refused(format!("the conversation {id} exists already, or is still being removed"))
}
