//! Removes what is kept by age alone: conversations in which nothing happens, and days of spending. Several hosts may do so
//! at the same time: each passes over what another one removes.

use std::time::Duration;

use masque_store::StoreError;

use crate::columns::{millis, unsigned};
use crate::statement::{Statement, get};
use crate::store::PostgresStore;

/// Conversations that are marked deleted in one transaction, which holds the locks of all of them.
const CONVERSATIONS_AT_ONCE: i64 = 64;

/// Days of accounts that are removed in one transaction.
const DAYS_AT_ONCE: i64 = 256;

/// Marks conversations deleted that are idle for this long. Returns how many.
pub(crate) async fn forget_conversations(
    store: &PostgresStore,
    idle_for: Duration,
) -> Result<u64, StoreError> {
    let statement = Statement::new("SELECT masque_forget_conversations_v1($1, $2)")
        .bind(millis(idle_for))
        .bind(CONVERSATIONS_AT_ONCE);
    let forgotten = store.write_first(statement, |row| unsigned(get(row, 0)?)).await?;
    Ok(forgotten.unwrap_or_default())
}

/// Removes days of spending that ended this long ago. Returns how many.
pub(crate) async fn forget_spending(store: &PostgresStore, older_than: Duration) -> Result<u64, StoreError> {
    let statement = Statement::new(
        "WITH gone AS (
            DELETE FROM spending WHERE ctid = ANY (ARRAY(
                SELECT ctid FROM spending WHERE day < ((SELECT masque_now_v1()) - $1) / 86400000
                 ORDER BY day LIMIT $2 FOR UPDATE SKIP LOCKED))
            RETURNING 1)
         SELECT count(*) FROM gone",
    )
    .bind(millis(older_than))
    .bind(DAYS_AT_ONCE);
    let forgotten = store.write_first(statement, |row| unsigned(get(row, 0)?)).await?;
    Ok(forgotten.unwrap_or_default())
}
