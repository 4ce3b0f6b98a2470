//! [`ApiKeys`]. A change, its entry in the audit log and the raised version are one statement. The version's row is locked
//! first, so changes of several hosts are made one after the other.

use std::time::Duration;

use async_trait::async_trait;
use masque_store::paging::{limit, number_after, numbered, rows};
use masque_store::{
    ApiKeyRecord, ApiKeys, AuditEntry, CheckTexts as _, KeyHash, KeyId, NewApiKey, Page, Paged, StoreError,
};

use crate::audit_rows::{insert_entry, with_entry};
use crate::columns::{millis, signed};
use crate::key_rows::{key_columns, record};
use crate::statement::{Statement, get};
use crate::store::PostgresStore;

#[async_trait]
impl ApiKeys for PostgresStore {
    async fn create_key(&self, key: NewApiKey, entry: AuditEntry) -> Result<ApiKeyRecord, StoreError> {
        key.check_texts()?;
        entry.check_texts()?;
        let statement = with_entry(
            concat!(
                "WITH raised AS (UPDATE security SET version = version + 1 RETURNING version),
                 changed AS (
                    INSERT INTO api_keys (version, id, tenant, name, hash, scopes, companions, requests_per_minute,
                                          tokens_per_day, created_at, created_by, expires_at)
                    SELECT version, $10, $11, $12, $13, $14, $15, $16, $17, masque_now_v1(), $18, $19 FROM raised
                    RETURNING *),
                 entry AS (",
                insert_entry!(),
                "FROM changed) SELECT ",
                key_columns!(),
                " FROM changed"
            ),
            &entry,
        )
        .bind(key.id.as_str())
        .bind(key.tenant)
        .bind(key.name)
        .bind(key.hash.0.as_slice())
        .bind(key.scopes)
        .bind(key.companions)
        .bind(key.requests_per_minute.map(i64::from))
        .bind(key.tokens_per_day.map(signed))
        .bind(key.created_by)
        .bind(key.expires_at);
        let made = self.write_first(statement, record).await?;
        made.ok_or_else(|| StoreError::Corrupt("a statement gave no row".into()))
    }

    async fn rotate_key(
        &self,
        id: &KeyId,
        hash: KeyHash,
        overlap: Duration,
        entry: AuditEntry,
    ) -> Result<Option<ApiKeyRecord>, StoreError> {
        entry.check_texts()?;
        let overlap = millis(overlap);
        let statement = with_entry(
            concat!(
                "WITH raised AS (
                    UPDATE security SET version = version + 1
                     WHERE EXISTS (SELECT 1 FROM api_keys WHERE id = $10 AND revoked_at IS NULL) RETURNING version),
                 changed AS (
                    UPDATE api_keys k
                       SET version = raised.version, hash = $11,
                           previous = CASE WHEN $12 THEN k.hash END,
                           previous_ends = CASE WHEN $12 THEN masque_now_v1() + $13 END
                      FROM raised WHERE k.id = $10 AND k.revoked_at IS NULL
                    RETURNING k.*),
                 entry AS (",
                insert_entry!(),
                "FROM changed) SELECT ",
                key_columns!(),
                " FROM changed"
            ),
            &entry,
        )
        .bind(id.as_str())
        .bind(hash.0.as_slice())
        .bind(overlap > 0)
        .bind(overlap);
        self.write_first(statement, record).await
    }

    async fn revoke_key(&self, id: &KeyId, entry: AuditEntry) -> Result<Option<ApiKeyRecord>, StoreError> {
        entry.check_texts()?;
        let statement = with_entry(
            concat!(
                "WITH raised AS (
                    UPDATE security SET version = version + 1
                     WHERE EXISTS (SELECT 1 FROM api_keys WHERE id = $10) RETURNING version),
                 changed AS (
                    UPDATE api_keys k
                       SET version = raised.version, revoked_at = coalesce(k.revoked_at, masque_now_v1()),
                           previous = NULL, previous_ends = NULL
                      FROM raised WHERE k.id = $10
                    RETURNING k.*),
                 entry AS (",
                insert_entry!(),
                "FROM changed) SELECT ",
                key_columns!(),
                " FROM changed"
            ),
            &entry,
        )
        .bind(id.as_str());
        self.write_first(statement, record).await
    }

    async fn key(&self, id: &KeyId) -> Result<Option<ApiKeyRecord>, StoreError> {
        let statement = Statement::new(concat!("SELECT ", key_columns!(), " FROM api_keys WHERE id = $1"))
            .bind(id.as_str());
        self.read_first(statement, record).await
    }

    async fn keys(&self, page: Page) -> Result<Paged<ApiKeyRecord>, StoreError> {
        let statement = Statement::new(concat!(
            "SELECT ",
            key_columns!(),
            " FROM api_keys WHERE number < $1 ORDER BY number DESC LIMIT $2"
        ))
        .bind(number_after(&page, i64::MAX)?)
        .bind(rows(&page));
        let items = self.read_all(statement, |row| Ok((record(row)?, get(row, "number")?))).await?;
        Ok(numbered(items, limit(&page)))
    }
}
