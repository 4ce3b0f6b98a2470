//! [`AuditLog`]. Entries are listed in the order of their writing, which the database numbers: the command line writes
//! beside a host, by a clock of its own.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use uuid::Uuid;

use super::SqliteStore;
use super::conversations::{limit, no_cursor, numbered};
use super::fault::Fault;
use super::rows::{millis, now, parse};
use super::writer::{Operation, Session, Verdict};
use crate::{AuditEntry, AuditLog, AuditOutcome, AuditRecord, Page, Paged, StoreError};

#[async_trait]
impl AuditLog for SqliteStore {
    async fn record(&self, entry: AuditEntry) -> Result<(), StoreError> {
        self.write(Record(entry)).await
    }

    async fn audit(&self, page: Page) -> Result<Paged<AuditRecord>, StoreError> {
        let mut connection = self.reader().await?;
        Ok(list(&mut connection, &page).await?)
    }

    async fn forget_audit(&self, older_than: Duration) -> Result<u64, StoreError> {
        self.write(Forget(older_than)).await
    }
}

struct Record(AuditEntry);

impl Operation for Record {
    type Answer = ();

    async fn run(self, session: Session<'_>) -> Result<Verdict<()>, Fault> {
        let connection = session.open().await?;
        write_entry(connection, &self.0).await?;
        Ok(Verdict::Keep(()))
    }
}

struct Forget(Duration);

impl Operation for Forget {
    type Answer = u64;

    async fn run(self, session: Session<'_>) -> Result<Verdict<u64>, Fault> {
        let connection = session.open().await?;
        let done = sqlx::query(concat!(
            "DELETE FROM audit WHERE number IN (SELECT number FROM audit WHERE at <= ",
            now!(),
            " - $1 ORDER BY at LIMIT 1000)"
        ))
        .bind(millis(self.0))
        .execute(connection)
        .await?;
        Ok(Verdict::Keep(done.rows_affected()))
    }
}

/// Adds an entry to the transaction of what it is about.
pub(super) async fn write_entry(connection: &mut SqliteConnection, entry: &AuditEntry) -> Result<(), Fault> {
    sqlx::query(concat!(
        "INSERT INTO audit (id, at, tenant, actor, action, target, outcome, request_id, address, detail)
         VALUES ($1, ",
        now!(),
        ", $2, $3, $4, $5, $6, $7, $8, $9)"
    ))
    .bind(Uuid::now_v7())
    .bind(&entry.tenant)
    .bind(&entry.actor)
    .bind(&entry.action)
    .bind(&entry.target)
    .bind(match entry.outcome {
        AuditOutcome::Ok => "ok",
        AuditOutcome::Refused => "refused",
    })
    .bind(&entry.request_id)
    .bind(&entry.address)
    .bind(entry.detail.to_string())
    .execute(connection)
    .await?;
    Ok(())
}

async fn list(connection: &mut SqliteConnection, page: &Page) -> Result<Paged<AuditRecord>, Fault> {
    let after = match &page.after {
        Some(cursor) => cursor.parse::<i64>().map_err(|_| no_cursor(cursor))?,
        None => i64::MAX,
    };
    let limit = limit(page);
    let rows = sqlx::query(
        "SELECT id, at, tenant, actor, action, target, outcome, request_id, address, detail, number FROM audit
          WHERE number < $1 ORDER BY number DESC LIMIT $2 + 0",
    )
    .bind(after)
    .bind(limit as i64 + 1)
    .fetch_all(connection)
    .await?;
    let items = rows.iter().map(|row| Ok((record(row)?, row.try_get::<i64, _>(10)?)));
    Ok(numbered(items.collect::<Result<_, Fault>>()?, limit))
}

fn record(row: &SqliteRow) -> Result<AuditRecord, Fault> {
    let entry = AuditEntry {
        tenant: row.try_get(2)?,
        actor: row.try_get(3)?,
        action: row.try_get(4)?,
        target: row.try_get(5)?,
        outcome: if row.try_get::<&str, _>(6)? == "ok" { AuditOutcome::Ok } else { AuditOutcome::Refused },
        request_id: row.try_get(7)?,
        address: row.try_get(8)?,
        detail: parse(row.try_get(9)?)?,
    };
    Ok(AuditRecord { id: row.try_get(0)?, at: row.try_get(1)?, entry })
}
