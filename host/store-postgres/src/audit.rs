//! [`AuditLog`]. Entries are listed by the number that the database gives them.

use std::time::Duration;

use async_trait::async_trait;
use masque_store::paging::{limit, number_after, numbered, rows};
use masque_store::{AuditEntry, AuditLog, AuditRecord, CheckTexts as _, Page, Paged, StoreError};

use crate::audit_rows::{insert_entry, record, with_entry};
use crate::columns::{millis, unsigned};
use crate::statement::{Statement, get};
use crate::store::PostgresStore;

/// Entries that are removed in one transaction.
const FORGOTTEN_AT_ONCE: i64 = 256;

#[async_trait]
impl AuditLog for PostgresStore {
    async fn record(&self, entry: AuditEntry) -> Result<(), StoreError> {
        entry.check_texts()?;
        self.write(with_entry(insert_entry!(), &entry)).await.map(drop)
    }

    async fn audit(&self, page: Page) -> Result<Paged<AuditRecord>, StoreError> {
        let statement = Statement::new(
            "SELECT id, at, tenant, actor, action, target, outcome, request_id, address, detail, number FROM audit
              WHERE number < $1 ORDER BY number DESC LIMIT $2",
        )
        .bind(number_after(&page, i64::MAX)?)
        .bind(rows(&page));
        let items = self.read_all(statement, |row| Ok((record(row)?, get(row, 10)?))).await?;
        Ok(numbered(items, limit(&page)))
    }

    async fn forget_audit(&self, older_than: Duration) -> Result<u64, StoreError> {
        let statement = Statement::new(
            "WITH gone AS (
                DELETE FROM audit WHERE number = ANY (ARRAY(
                    SELECT number FROM audit WHERE at <= (SELECT masque_now_v1()) - $1
                     ORDER BY at LIMIT $2 FOR UPDATE SKIP LOCKED))
                RETURNING 1)
             SELECT count(*) FROM gone",
        )
        .bind(millis(older_than))
        .bind(FORGOTTEN_AT_ONCE);
        let forgotten = self.write_first(statement, |row| unsigned(get(row, 0)?)).await?;
        Ok(forgotten.unwrap_or_default())
    }
}
