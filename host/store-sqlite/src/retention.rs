//! Removes what is kept by age alone: conversations in which nothing happens, and days of spending.

use std::time::Duration;

use masque_store::ConversationId;
use rusqlite::Connection;
use uuid::Uuid;

use crate::columns::{millis, now};
use crate::deletion::mark_deleted;
use crate::error::Result;
use crate::operation::Operation;
use crate::query::{all_rows, execute};
use crate::spending_rows::MILLIS_OF_DAY;

/// Conversations that are marked deleted in one transaction. Each takes some 100 µs, and turns wait.
const CONVERSATIONS_AT_ONCE: i64 = 32;

/// Days of accounts that are removed in one transaction.
const DAYS_AT_ONCE: i64 = 256;

/// Marks conversations deleted in which nothing has happened for this long, those that are idle for the longest. One in
/// which a turn runs is left.
pub(crate) struct ForgetConversations {
    pub(crate) idle_for: Duration,
}

impl Operation for ForgetConversations {
    type Answer = Vec<ConversationId>;

    const IS_BACKGROUND: bool = true;

    fn run(self, connection: &Connection) -> Result<Vec<ConversationId>> {
        let now = now();
        let idle = all_rows(
            connection,
            "SELECT l.conversation, c.user FROM leases l INDEXED BY leases_idle JOIN conversations c ON c.id = l.conversation
              WHERE l.turn IS NULL AND l.updated_at <= ?1 ORDER BY l.updated_at LIMIT ?2",
            (now.saturating_sub(millis(self.idle_for)), CONVERSATIONS_AT_ONCE),
            |row| Ok((row.get::<_, Uuid>(0)?, row.get::<_, Uuid>(1)?)),
        )?;
        for (conversation, user) in &idle {
            mark_deleted(connection, *conversation, *user, now)?;
        }
        Ok(idle.into_iter().map(|(conversation, _)| ConversationId::from(conversation)).collect())
    }
}

/// Removes days of spending that ended this long ago. Returns how many.
pub(crate) struct ForgetSpending {
    pub(crate) older_than: Duration,
}

impl Operation for ForgetSpending {
    type Answer = u64;

    const IS_BACKGROUND: bool = true;

    fn run(self, connection: &Connection) -> Result<u64> {
        let before = now().saturating_sub(millis(self.older_than)).div_euclid(MILLIS_OF_DAY);
        let removed = execute(
            connection,
            "DELETE FROM spending WHERE (account, day) IN
                (SELECT account, day FROM spending WHERE day < ?1 LIMIT ?2)",
            (before, DAYS_AT_ONCE),
        )?;
        Ok(removed as u64)
    }
}
