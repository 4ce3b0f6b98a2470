//! Plugin state in an export.

use masque_store::{ConversationId, ExportItem, ExportedState, Owner};
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::error::Result;
use crate::export_page::{LONG_ITEMS, Page, of, place, read};
use crate::statement::get;
use crate::store::PostgresStore;

/// What plugins keep for a user, by plugin and key.
pub(crate) async fn of_user(store: &PostgresStore, owner: &Owner, after: Option<&str>) -> Page {
    let (plugin, key) = place(after, (String::new(), String::new()))?;
    let statement = of(
        "SELECT NULL::uuid, s.plugin, s.key, s.value, s.expires_at FROM state s
          WHERE s.owner = (SELECT id FROM users WHERE tenant = $1 AND issuer = $2 AND subject = $3) AND s.tenant = $1
            AND (s.plugin, s.scope, s.key) > ($4, 'user', $5) AND s.scope = 'user' AND s.value IS NOT NULL
            AND (s.expires_at IS NULL OR s.expires_at > masque_now_v1())
          ORDER BY s.plugin, s.key LIMIT $6",
        owner,
    );
    read(store, statement.bind(plugin).bind(key), LONG_ITEMS, |row| {
        Ok((state(row)?, (get::<String, _>(row, 1)?, get::<String, _>(row, 2)?)))
    })
    .await
}

/// What plugins keep for conversations of a user, by conversation, plugin and key.
pub(crate) async fn of_conversations(store: &PostgresStore, owner: &Owner, after: Option<&str>) -> Page {
    let (conversation, plugin, key) = place(after, (Uuid::nil(), String::new(), String::new()))?;
    let statement = of(
        "SELECT c.id, s.plugin, s.key, s.value, s.expires_at
           FROM conversations c CROSS JOIN LATERAL (
                SELECT * FROM state s
                 WHERE s.owner = c.id AND s.tenant = $1 AND s.scope = 'conversation' AND s.value IS NOT NULL
                   AND (s.plugin, s.scope, s.key) > (CASE WHEN c.id = $4 THEN $5 ELSE '' END, 'conversation',
                                                     CASE WHEN c.id = $4 THEN $6 ELSE '' END)
                   AND (s.expires_at IS NULL OR s.expires_at > masque_now_v1())
                 ORDER BY s.plugin, s.key LIMIT $7) s
          WHERE c.user_id = (SELECT id FROM users WHERE tenant = $1 AND issuer = $2 AND subject = $3)
            AND c.deleted_at IS NULL AND c.id >= $4
          ORDER BY c.id, s.plugin, s.key LIMIT $7",
        owner,
    );
    read(store, statement.bind(conversation).bind(plugin).bind(key), LONG_ITEMS, |row| {
        Ok((state(row)?, (get::<Uuid, _>(row, 0)?, get::<String, _>(row, 1)?, get::<String, _>(row, 2)?)))
    })
    .await
}

/// From the columns conversation, plugin, key, value, expires_at.
fn state(row: &PgRow) -> Result<ExportItem> {
    Ok(ExportItem::State(ExportedState {
        conversation: get::<Option<Uuid>, _>(row, 0)?.map(ConversationId::from),
        plugin: get(row, 1)?,
        key: get(row, 2)?,
        value: get(row, 3)?,
        expires_at: get(row, 4)?,
    }))
}
