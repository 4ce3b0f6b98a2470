//! [`Revocations`], and the snapshot of keys and revocations that a host checks requests against.

use async_trait::async_trait;
use masque_store::{
    AuditEntry, CheckTexts as _, ENDED_KEY_RETENTION, NewRevocation, Revocation, Revocations, Revoked,
    Security, StoreError,
};
use rusqlite::{Connection, Row};

use crate::audit_rows::insert_entry;
use crate::columns::now;
use crate::error::Result as DatabaseResult;
use crate::key_rows::changed_since;
use crate::operation::Operation;
use crate::query::{all_rows, one_row, snapshot};
use crate::security_version::{current, raise};
use crate::store::SqliteStore;

/// Before every version.
const BEFORE_ALL: i64 = 0;

#[async_trait]
impl Revocations for SqliteStore {
    async fn revoke(&self, revocation: NewRevocation, entry: AuditEntry) -> Result<Revocation, StoreError> {
        self.write(Revoke { revocation, entry }).await
    }

    async fn security_version(&self) -> Result<i64, StoreError> {
        self.read(current).await
    }

    async fn security(&self) -> Result<Security, StoreError> {
        self.read(|connection| security(connection, BEFORE_ALL)).await
    }

    async fn security_since(&self, since: i64) -> Result<Security, StoreError> {
        self.read(move |connection| security(connection, since)).await
    }
}

struct Revoke {
    revocation: NewRevocation,
    entry: AuditEntry,
}

impl Operation for Revoke {
    type Answer = Revocation;

    fn run(self, connection: &Connection) -> DatabaseResult<Revocation> {
        self.revocation.check_texts()?;
        let NewRevocation { issuer, what } = self.revocation;
        let (kind, name, tenant) = match &what {
            Revoked::Token { jti } => ("token", jti.as_str(), ""),
            Revoked::User { subject, tenant } => ("user", subject.as_str(), tenant.as_deref().unwrap_or("")),
        };
        let version = raise(connection)?;
        let revoked_at = one_row(
            connection,
            "INSERT INTO revocations (issuer, kind, name, tenant, revoked_at, version) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT DO UPDATE SET revoked_at = max(revoked_at, excluded.revoked_at), version = excluded.version
             RETURNING revoked_at",
            (&issuer, kind, name, tenant, now(), version),
            |row| Ok(row.get(0)?),
        )?;
        insert_entry(connection, &self.entry)?;
        Ok(Revocation { issuer, what, revoked_at })
    }
}

/// In one snapshot: the version must not be newer than the rows that are read with it.
fn security(connection: &Connection, since: i64) -> DatabaseResult<Security> {
    snapshot(connection, |reads| {
        let version = current(reads)?;
        let keys = changed_since(reads, since, ENDED_KEY_RETENTION)?;
        let revocations = all_rows(
            reads,
            "SELECT issuer, kind, name, tenant, revoked_at FROM revocations WHERE version > ?1",
            [since],
            revocation,
        )?;
        Ok(Security { version, keys, revocations })
    })
}

fn revocation(row: &Row<'_>) -> DatabaseResult<Revocation> {
    let name: String = row.get(2)?;
    let what = if row.get_ref(1)?.as_str()? == "token" {
        Revoked::Token { jti: name }
    } else {
        let tenant: String = row.get(3)?;
        Revoked::User { subject: name, tenant: Some(tenant).filter(|tenant| !tenant.is_empty()) }
    };
    Ok(Revocation { issuer: row.get(0)?, what, revoked_at: row.get(4)? })
}
