//! Plugin state in an export.

use masque_store::{ConversationId, ExportItem, ExportedState, Paged};
use rusqlite::{Connection, Row};
use uuid::Uuid;

use crate::columns::now;
use crate::error::Result;
use crate::export_page::{bounded, place};

/// What plugins keep for a user, by plugin and key.
pub(crate) fn of_user(connection: &Connection, user: Uuid, after: Option<&str>) -> Result<Paged<ExportItem>> {
    let (plugin, key) = place(after, (String::new(), String::new()))?;
    bounded(
        connection,
        "SELECT NULL, s.plugin, s.key, s.value, s.expires_at
           FROM users u CROSS JOIN state s ON s.owner = u.id AND s.tenant = u.tenant
          WHERE u.id = ?1 AND (s.plugin, s.scope, s.key) > (?2, 'user', ?3) AND s.scope = 'user' AND s.value IS NOT NULL
            AND (s.expires_at IS NULL OR s.expires_at > ?4)
          ORDER BY s.plugin, s.key",
        (user, plugin, key, now()),
        |row| {
            let (item, size) = state(row)?;
            Ok((item, (row.get::<_, String>(1)?, row.get::<_, String>(2)?), size))
        },
    )
}

/// What plugins keep for conversations of a user, by conversation, plugin and key.
pub(crate) fn of_conversations(
    connection: &Connection,
    user: Uuid,
    after: Option<&str>,
) -> Result<Paged<ExportItem>> {
    let (conversation, plugin, key) = place(after, (Uuid::nil(), String::new(), String::new()))?;
    bounded(
        connection,
        "SELECT c.id, s.plugin, s.key, s.value, s.expires_at
           FROM users u CROSS JOIN conversations c ON c.user = u.id
                CROSS JOIN state s ON s.owner = c.id AND s.tenant = u.tenant
          WHERE u.id = ?1 AND c.deleted_at IS NULL AND c.id >= ?2
            AND (s.plugin, s.scope, s.key) > (iif(c.id = ?2, ?3, ''), 'conversation', iif(c.id = ?2, ?4, ''))
            AND s.scope = 'conversation' AND s.value IS NOT NULL AND (s.expires_at IS NULL OR s.expires_at > ?5)
          ORDER BY c.id, s.plugin, s.key",
        (user, conversation, plugin, key, now()),
        |row| {
            let (item, size) = state(row)?;
            Ok((item, (row.get::<_, Uuid>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?), size))
        },
    )
}

/// From the columns conversation, plugin, key, value, expires_at; with the bytes of the value.
fn state(row: &Row<'_>) -> Result<(ExportItem, usize)> {
    let state = ExportedState {
        conversation: row.get::<_, Option<Uuid>>(0)?.map(ConversationId::from),
        plugin: row.get(1)?,
        key: row.get(2)?,
        value: row.get(3)?,
        expires_at: row.get(4)?,
    };
    let size = state.value.len();
    Ok((ExportItem::State(state), size))
}
