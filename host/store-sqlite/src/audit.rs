//! [`AuditLog`]. Entries are listed by the number that the database gives them, not by time: the command line writes to
//! the same log with a clock of its own.

use std::time::Duration;

use async_trait::async_trait;
use masque_store::paging::{limit, number_after, numbered};
use masque_store::{AuditEntry, AuditLog, AuditRecord, Page, Paged, StoreError};
use rusqlite::Connection;

use crate::audit_rows::{insert_entry, record};
use crate::columns::{millis, now};
use crate::error::Result as DatabaseResult;
use crate::operation::Operation;
use crate::query::{all_rows, execute};
use crate::store::SqliteStore;

/// Entries that are removed in one transaction.
const FORGOTTEN_AT_ONCE: i64 = 256;

#[async_trait]
impl AuditLog for SqliteStore {
    async fn record(&self, entry: AuditEntry) -> Result<(), StoreError> {
        self.write(RecordEntry(entry)).await
    }

    async fn audit(&self, page: Page) -> Result<Paged<AuditRecord>, StoreError> {
        self.read(move |connection| list(connection, &page)).await
    }

    async fn forget_audit(&self, older_than: Duration) -> Result<u64, StoreError> {
        self.write(ForgetEntries { older_than }).await
    }
}

struct RecordEntry(AuditEntry);

impl Operation for RecordEntry {
    type Answer = ();

    fn run(self, connection: &Connection) -> DatabaseResult<()> {
        insert_entry(connection, &self.0)
    }
}

struct ForgetEntries {
    older_than: Duration,
}

impl Operation for ForgetEntries {
    type Answer = u64;

    const IS_BACKGROUND: bool = true;

    fn run(self, connection: &Connection) -> DatabaseResult<u64> {
        let forgotten = execute(
            connection,
            "DELETE FROM audit WHERE number IN (SELECT number FROM audit WHERE at <= ?1 ORDER BY at LIMIT ?2)",
            (now().saturating_sub(millis(self.older_than)), FORGOTTEN_AT_ONCE),
        )?;
        Ok(forgotten as u64)
    }
}

fn list(connection: &Connection, page: &Page) -> DatabaseResult<Paged<AuditRecord>> {
    let (after, limit) = (number_after(page, i64::MAX)?, limit(page));
    let items = all_rows(
        connection,
        "SELECT id, at, tenant, actor, action, target, outcome, request_id, address, detail, number FROM audit
          WHERE number < ?1 ORDER BY number DESC LIMIT ?2",
        (after, limit as i64 + 1),
        |row| Ok((record(row)?, row.get::<_, i64>(10)?)),
    )?;
    Ok(numbered(items, limit))
}
