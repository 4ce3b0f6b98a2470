//! [`ApiKeys`]. Lists are JSON texts: they are read as a whole and never searched.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::SqliteStore;
use super::audit::write_entry;
use super::conversations::{limit, no_cursor, numbered};
use super::fault::Fault;
use super::rows::{millis, now, signed, unsigned};
use super::version::raise;
use super::writer::{Operation, Session, Verdict};
use crate::{ApiKeyRecord, ApiKeys, AuditEntry, KeyHash, KeyId, NewApiKey, Page, Paged, StoreError};

/// The columns that [`record`] reads.
macro_rules! columns {
    () => {
        "id, tenant, name, hash, previous, previous_ends, scopes, companions, requests_per_minute, tokens_per_day,
         created_at, created_by, expires_at, revoked_at, number"
    };
}

#[async_trait]
impl ApiKeys for SqliteStore {
    async fn create_key(&self, key: NewApiKey, entry: AuditEntry) -> Result<ApiKeyRecord, StoreError> {
        self.write(Create { key, entry }).await
    }

    async fn rotate_key(
        &self,
        id: &KeyId,
        hash: KeyHash,
        overlap: Duration,
        entry: AuditEntry,
    ) -> Result<Option<ApiKeyRecord>, StoreError> {
        self.write(Rotate { id: id.clone(), hash, overlap, entry }).await
    }

    async fn revoke_key(&self, id: &KeyId, entry: AuditEntry) -> Result<Option<ApiKeyRecord>, StoreError> {
        self.write(Revoke { id: id.clone(), entry }).await
    }

    async fn key(&self, id: &KeyId) -> Result<Option<ApiKeyRecord>, StoreError> {
        let mut connection = self.reader().await?;
        Ok(load(&mut connection, id).await?)
    }

    async fn keys(&self, page: Page) -> Result<Paged<ApiKeyRecord>, StoreError> {
        let mut connection = self.reader().await?;
        Ok(list(&mut connection, &page).await?)
    }
}

pub(super) struct Create {
    pub(super) key: NewApiKey,
    pub(super) entry: AuditEntry,
}

impl Operation for Create {
    type Answer = ApiKeyRecord;

    async fn run(self, session: Session<'_>) -> Result<Verdict<ApiKeyRecord>, Fault> {
        let connection = session.open().await?;
        let Self { key, entry } = self;
        sqlx::query(concat!(
            "INSERT INTO api_keys (id, tenant, name, hash, scopes, companions, requests_per_minute, tokens_per_day,
                                   created_at, created_by, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, ",
            now!(),
            ", $9, $10)"
        ))
        .bind(key.id.as_str())
        .bind(&key.tenant)
        .bind(&key.name)
        .bind(key.hash.0.as_slice())
        .bind(words_text(&key.scopes))
        .bind(key.companions.as_deref().map(words_text))
        .bind(key.requests_per_minute)
        .bind(key.tokens_per_day.map(signed))
        .bind(&key.created_by)
        .bind(key.expires_at)
        .execute(&mut *connection)
        .await?;
        write_entry(connection, &entry).await?;
        raise(connection).await?;
        let record = load(connection, &key.id).await?;
        let record =
            record.ok_or_else(|| StoreError::Corrupt("a key that was just stored is gone".into()))?;
        Ok(Verdict::Keep(record))
    }
}

pub(super) struct Rotate {
    pub(super) id: KeyId,
    pub(super) hash: KeyHash,
    pub(super) overlap: Duration,
    pub(super) entry: AuditEntry,
}

impl Operation for Rotate {
    type Answer = Option<ApiKeyRecord>;

    async fn run(self, session: Session<'_>) -> Result<Verdict<Self::Answer>, Fault> {
        let connection = session.open().await?;
        let overlap = millis(self.overlap);
        let done = sqlx::query(concat!(
            "UPDATE api_keys
                SET hash = $2, previous = iif($3 > 0, hash, NULL), previous_ends = iif($3 > 0, ",
            now!(),
            " + $3, NULL)
              WHERE id = $1 AND revoked_at IS NULL"
        ))
        .bind(self.id.as_str())
        .bind(self.hash.0.as_slice())
        .bind(overlap)
        .execute(&mut *connection)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(Verdict::Keep(None));
        }
        write_entry(connection, &self.entry).await?;
        raise(connection).await?;
        Ok(Verdict::Keep(load(connection, &self.id).await?))
    }
}

pub(super) struct Revoke {
    pub(super) id: KeyId,
    pub(super) entry: AuditEntry,
}

impl Operation for Revoke {
    type Answer = Option<ApiKeyRecord>;

    async fn run(self, session: Session<'_>) -> Result<Verdict<Self::Answer>, Fault> {
        let connection = session.open().await?;
        let done = sqlx::query(concat!(
            "UPDATE api_keys SET revoked_at = coalesce(revoked_at, ",
            now!(),
            "), previous = NULL, previous_ends = NULL WHERE id = $1"
        ))
        .bind(self.id.as_str())
        .execute(&mut *connection)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(Verdict::Keep(None));
        }
        write_entry(connection, &self.entry).await?;
        raise(connection).await?;
        Ok(Verdict::Keep(load(connection, &self.id).await?))
    }
}

async fn load(connection: &mut SqliteConnection, id: &KeyId) -> Result<Option<ApiKeyRecord>, Fault> {
    let row = sqlx::query(concat!("SELECT ", columns!(), " FROM api_keys WHERE id = $1"))
        .bind(id.as_str())
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(record).transpose()
}

pub(super) async fn list(
    connection: &mut SqliteConnection,
    page: &Page,
) -> Result<Paged<ApiKeyRecord>, Fault> {
    let after = match &page.after {
        Some(cursor) => cursor.parse::<i64>().map_err(|_| no_cursor(cursor))?,
        None => i64::MAX,
    };
    let limit = limit(page);
    let rows = sqlx::query(concat!(
        "SELECT ",
        columns!(),
        " FROM api_keys WHERE number < $1 ORDER BY number DESC LIMIT $2 + 0"
    ))
    .bind(after)
    .bind(limit as i64 + 1)
    .fetch_all(connection)
    .await?;
    let items = rows.iter().map(|row| Ok((record(row)?, row.try_get::<i64, _>("number")?)));
    Ok(numbered(items.collect::<Result<_, Fault>>()?, limit))
}

/// Those that count: of the revoked and expired ones, those whose tokens may not have expired.
pub(super) async fn that_count(
    connection: &mut SqliteConnection,
    gone_for: Duration,
) -> Result<Vec<ApiKeyRecord>, Fault> {
    let rows = sqlx::query(concat!(
        "SELECT ",
        columns!(),
        " FROM api_keys WHERE min(coalesce(revoked_at, 9e18), coalesce(expires_at, 9e18)) > ",
        now!(),
        " - $1"
    ))
    .bind(millis(gone_for))
    .fetch_all(connection)
    .await?;
    rows.iter().map(record).collect()
}

fn record(row: &SqliteRow) -> Result<ApiKeyRecord, Fault> {
    let corrupt = |what: &str| StoreError::Corrupt(format!("a key's {what} can't be read"));
    let hash = |bytes: Vec<u8>| bytes.try_into().map(KeyHash).map_err(|_| corrupt("hash"));
    let previous = match (row.try_get::<Option<Vec<u8>>, _>(4)?, row.try_get::<Option<i64>, _>(5)?) {
        (Some(bytes), Some(until)) => Some((hash(bytes)?, until)),
        _ => None,
    };
    Ok(ApiKeyRecord {
        id: row.try_get::<&str, _>(0)?.parse().map_err(|_| corrupt("id"))?,
        tenant: row.try_get(1)?,
        name: row.try_get(2)?,
        hash: hash(row.try_get(3)?)?,
        previous,
        scopes: words(row.try_get(6)?)?,
        companions: row.try_get::<Option<&str>, _>(7)?.map(words).transpose()?,
        requests_per_minute: row.try_get(8)?,
        tokens_per_day: row.try_get::<Option<i64>, _>(9)?.map(unsigned).transpose()?,
        created_at: row.try_get(10)?,
        created_by: row.try_get(11)?,
        expires_at: row.try_get(12)?,
        revoked_at: row.try_get(13)?,
    })
}

fn words_text(words: &[String]) -> String {
    serde_json::Value::from(words).to_string()
}

fn words(text: &str) -> Result<Vec<String>, Fault> {
    serde_json::from_str(text).map_err(|error| StoreError::Corrupt(format!("a key's list: {error}")).into())
}
