//! Rows of the audit log.

use masque_store::{AuditEntry, AuditOutcome, AuditRecord, CheckTexts as _};
use rusqlite::{Connection, Row, params};
use uuid::Uuid;

use crate::columns::{json, now};
use crate::error::Result;
use crate::query::execute;

/// Adds an entry, in the transaction of the change that it describes.
pub(crate) fn insert_entry(connection: &Connection, entry: &AuditEntry) -> Result<()> {
    entry.check_texts()?;
    execute(
        connection,
        "INSERT INTO audit (id, at, tenant, actor, action, target, outcome, request_id, address, detail)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        params![
            Uuid::now_v7(),
            now(),
            entry.tenant,
            entry.actor,
            entry.action,
            entry.target,
            match entry.outcome {
                AuditOutcome::Ok => "ok",
                AuditOutcome::Refused => "refused",
            },
            entry.request_id,
            entry.address,
            entry.detail.to_string(),
        ],
    )?;
    Ok(())
}

/// From the columns id, at, tenant, actor, action, target, outcome, request_id, address, detail.
pub(crate) fn record(row: &Row<'_>) -> Result<AuditRecord> {
    let is_ok = row.get_ref(6)?.as_str()? == "ok";
    let entry = AuditEntry {
        tenant: row.get(2)?,
        actor: row.get(3)?,
        action: row.get(4)?,
        target: row.get(5)?,
        outcome: if is_ok { AuditOutcome::Ok } else { AuditOutcome::Refused },
        request_id: row.get(7)?,
        address: row.get(8)?,
        detail: json(row, 9)?,
    };
    Ok(AuditRecord { id: row.get(0)?, at: row.get(1)?, entry })
}
