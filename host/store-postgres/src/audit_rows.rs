//! Rows of the audit log.

use masque_store::{AuditEntry, AuditOutcome, AuditRecord};
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::columns::json;
use crate::error::Result;
use crate::statement::{Statement, get};

/// The values of an entry as the first nine arguments of a statement that changes something: the entry is written by the
/// same statement, with [`insert_entry!`].
pub(crate) fn with_entry(sql: &'static str, entry: &AuditEntry) -> Statement {
    Statement::new(sql)
        .bind(Uuid::now_v7())
        .bind(&*entry.tenant)
        .bind(&*entry.actor)
        .bind(&*entry.action)
        .bind(entry.target.as_deref())
        .bind(match entry.outcome {
            AuditOutcome::Ok => "ok",
            AuditOutcome::Refused => "refused",
        })
        .bind(entry.request_id.as_deref())
        .bind(entry.address.as_deref())
        .bind(entry.detail.to_string())
}

/// Inserts the entry of the first nine arguments, once for each row of what follows.
macro_rules! insert_entry {
    () => {
        "INSERT INTO audit (id, at, tenant, actor, action, target, outcome, request_id, address, detail)
         SELECT $1, masque_now_v1(), $2, $3, $4, $5, $6, $7, $8, $9 "
    };
}
pub(crate) use insert_entry;

/// From the columns id, at, tenant, actor, action, target, outcome, request_id, address, detail.
pub(crate) fn record(row: &PgRow) -> Result<AuditRecord> {
    let is_ok = get::<&str, _>(row, 6)? == "ok";
    let entry = AuditEntry {
        tenant: get(row, 2)?,
        actor: get(row, 3)?,
        action: get(row, 4)?,
        target: get(row, 5)?,
        outcome: if is_ok { AuditOutcome::Ok } else { AuditOutcome::Refused },
        request_id: get(row, 7)?,
        address: get(row, 8)?,
        detail: json(get(row, 9)?)?,
    };
    Ok(AuditRecord { id: get(row, 0)?, at: get(row, 1)?, entry })
}
