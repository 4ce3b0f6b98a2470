//! [`Revocations`], and what a host has to know of them and of keys at one moment.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection, Row, SqliteConnection};

use super::SqliteStore;
use super::audit::write_entry;
use super::fault::Fault;
use super::keys;
use super::rows::now;
use super::version::{current, raise};
use super::writer::{Operation, Session, Verdict};
use crate::{AuditEntry, NewRevocation, Revocation, Revocations, Revoked, Security, StoreError};

/// How long a key counts after its end: no token that a host mints lives longer than 30 days.
const KEPT: Duration = Duration::from_secs(31 * 24 * 3600);
/// The end of the year 9999, in milliseconds: a token that others signed may be good for as long as that, so a revocation is
/// for good. There are as many as operators make.
const FOR_GOOD: i64 = 253_402_300_799_000;

#[async_trait]
impl Revocations for SqliteStore {
    async fn revoke(&self, revocation: NewRevocation, entry: AuditEntry) -> Result<Revocation, StoreError> {
        self.write(Revoke { revocation, entry }).await
    }

    async fn security_version(&self) -> Result<i64, StoreError> {
        let mut connection = self.reader().await?;
        Ok(current(&mut connection).await?)
    }

    async fn security(&self) -> Result<Security, StoreError> {
        let mut connection = self.reader().await?;
        Ok(security(&mut connection).await?)
    }
}

pub(super) struct Revoke {
    pub(super) revocation: NewRevocation,
    pub(super) entry: AuditEntry,
}

impl Operation for Revoke {
    type Answer = Revocation;

    async fn run(self, session: Session<'_>) -> Result<Verdict<Revocation>, Fault> {
        let connection = session.open().await?;
        let NewRevocation { issuer, what } = self.revocation;
        let (kind, name, tenant) = match &what {
            Revoked::Token { jti } => ("token", jti.as_str(), ""),
            Revoked::User { subject, tenant } => ("user", subject.as_str(), tenant.as_deref().unwrap_or("")),
        };
        let row = sqlx::query(concat!(
            "INSERT INTO revocations (issuer, kind, name, tenant, revoked_at, expires_at)
             VALUES ($1, $2, $3, $4, ",
            now!(),
            ", $5)
             ON CONFLICT DO UPDATE SET revoked_at = max(revoked_at, excluded.revoked_at),
                                      expires_at = max(expires_at, excluded.expires_at)
             RETURNING revoked_at"
        ))
        .bind(&issuer)
        .bind(kind)
        .bind(name)
        .bind(tenant)
        .bind(FOR_GOOD)
        .fetch_one(&mut *connection)
        .await?;
        let revoked_at = row.try_get(0)?;
        write_entry(connection, &self.entry).await?;
        raise(connection).await?;
        Ok(Verdict::Keep(Revocation { issuer, what, revoked_at }))
    }
}

/// In one transaction: a version must not be newer than what is read under it.
async fn security(connection: &mut SqliteConnection) -> Result<Security, Fault> {
    let mut transaction = connection.begin().await?;
    let version = current(&mut transaction).await?;
    let keys = keys::that_count(&mut transaction, KEPT).await?;
    let rows = sqlx::query(concat!(
        "SELECT issuer, kind, name, tenant, revoked_at FROM revocations WHERE expires_at > ",
        now!()
    ))
    .fetch_all(&mut *transaction)
    .await?;
    let revocations = rows.iter().map(revocation).collect::<Result<_, Fault>>()?;
    transaction.commit().await?;
    Ok(Security { version, keys, revocations })
}

fn revocation(row: &SqliteRow) -> Result<Revocation, Fault> {
    let name: String = row.try_get(2)?;
    let what = match row.try_get::<&str, _>(1)? {
        "token" => Revoked::Token { jti: name },
        _ => {
            let tenant: String = row.try_get(3)?;
            Revoked::User { subject: name, tenant: Some(tenant).filter(|tenant| !tenant.is_empty()) }
        }
    };
    Ok(Revocation { issuer: row.try_get(0)?, what, revoked_at: row.try_get(4)? })
}
