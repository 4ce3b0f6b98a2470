//! [`Revocations`], and the snapshot of keys and revocations that a host checks requests against.

use async_trait::async_trait;
use masque_store::{
    AuditEntry, CheckTexts as _, ENDED_KEY_RETENTION, NewRevocation, Revocation, Revocations, Revoked,
    Security, StoreError,
};
use sqlx::postgres::PgRow;

use crate::audit_rows::{insert_entry, with_entry};
use crate::columns::millis;
use crate::error::{DatabaseError, Result as DatabaseResult};
use crate::key_rows;
use crate::statement::{Statement, get};
use crate::store::PostgresStore;

/// Before every version.
const BEFORE_ALL: i64 = 0;

#[async_trait]
impl Revocations for PostgresStore {
    async fn revoke(&self, revocation: NewRevocation, entry: AuditEntry) -> Result<Revocation, StoreError> {
        revocation.check_texts()?;
        entry.check_texts()?;
        let NewRevocation { issuer, what } = revocation;
        let (kind, name, tenant) = match &what {
            Revoked::Token { jti } => ("token", jti.as_str(), ""),
            Revoked::User { subject, tenant } => ("user", subject.as_str(), tenant.as_deref().unwrap_or("")),
        };
        let statement = with_entry(
            concat!(
                "WITH raised AS (UPDATE security SET version = version + 1 RETURNING version),
                 changed AS (
                    INSERT INTO revocations AS r (issuer, kind, name, tenant, revoked_at, version)
                    SELECT $10, $11, $12, $13, masque_now_v1(), version FROM raised
                        ON CONFLICT (issuer, kind, name, tenant) DO UPDATE
                       SET revoked_at = greatest(r.revoked_at, excluded.revoked_at), version = excluded.version
                    RETURNING revoked_at),
                 entry AS (",
                insert_entry!(),
                "FROM changed) SELECT revoked_at FROM changed"
            ),
            &entry,
        )
        .bind(&*issuer)
        .bind(kind)
        .bind(name)
        .bind(tenant);
        let revoked_at = self.write_value(statement).await?;
        Ok(Revocation { issuer, what, revoked_at })
    }

    async fn security_version(&self) -> Result<i64, StoreError> {
        let version =
            self.read_first(Statement::new("SELECT version FROM security"), |row| get(row, 0)).await?;
        version.ok_or_else(|| StoreError::Corrupt("the security version is gone".into()))
    }

    async fn security(&self) -> Result<Security, StoreError> {
        security(self, BEFORE_ALL).await
    }

    async fn security_since(&self, since: i64) -> Result<Security, StoreError> {
        security(self, since).await
    }
}

/// In one statement, and so in one snapshot: the version must not be newer than the rows that are read with it. A row has a
/// key, or a revocation, or neither.
async fn security(store: &PostgresStore, since: i64) -> Result<Security, StoreError> {
    let statement = Statement::new(
        "SELECT s.version AS security_version, k.id, k.tenant, k.name, k.hash, k.previous, k.previous_ends, k.scopes,
                k.companions, k.requests_per_minute, k.tokens_per_day, k.created_at, k.created_by, k.expires_at,
                k.revoked_at, k.number,
                r.issuer, r.kind, r.name AS revoked_name, r.tenant AS revoked_tenant, r.revoked_at AS revocation_at
           FROM security s LEFT JOIN (
                    (SELECT version, number, NULL::text AS issuer, NULL::text AS kind, NULL::text AS name,
                            NULL::text AS tenant FROM api_keys
                      WHERE version > $1 AND (revoked_at IS NULL OR revoked_at > (SELECT masque_now_v1()) - $2)
                        AND (expires_at IS NULL OR expires_at > (SELECT masque_now_v1()) - $2))
                    UNION ALL
                    (SELECT version, NULL, issuer, kind, name, tenant FROM revocations WHERE version > $1)) changed ON true
                LEFT JOIN api_keys k ON k.number = changed.number
                LEFT JOIN revocations r ON r.issuer = changed.issuer AND r.kind = changed.kind AND r.name = changed.name
                                       AND r.tenant = changed.tenant",
    )
    .bind(since)
    .bind(millis(ENDED_KEY_RETENTION));
    let rows = store.read(statement).await?;
    read(&rows).map_err(DatabaseError::of_read)
}

fn read(rows: &[PgRow]) -> DatabaseResult<Security> {
    let first = rows.first().ok_or_else(|| StoreError::Corrupt("the security version is gone".into()))?;
    let mut security =
        Security { version: get(first, "security_version")?, keys: Vec::new(), revocations: Vec::new() };
    for row in rows {
        if get::<Option<&str>, _>(row, "id")?.is_some() {
            security.keys.push(key_rows::record(row)?);
        } else if let Some(kind) = get::<Option<&str>, _>(row, "kind")? {
            security.revocations.push(revocation(row, kind)?);
        }
    }
    Ok(security)
}

fn revocation(row: &PgRow, kind: &str) -> DatabaseResult<Revocation> {
    let name: String = get(row, "revoked_name")?;
    let what = if kind == "token" {
        Revoked::Token { jti: name }
    } else {
        let tenant: String = get(row, "revoked_tenant")?;
        Revoked::User { subject: name, tenant: Some(tenant).filter(|tenant| !tenant.is_empty()) }
    };
    Ok(Revocation { issuer: get(row, "issuer")?, what, revoked_at: get(row, "revocation_at")? })
}
