//! [`ApiKeys`].

use std::time::Duration;

use async_trait::async_trait;
use masque_store::{
    ApiKeyRecord, ApiKeys, AuditEntry, CheckTexts as _, KeyHash, KeyId, NewApiKey, Page, Paged, StoreError,
};
use rusqlite::{Connection, params};

use crate::audit_rows::insert_entry;
use crate::columns::{millis, now, signed};
use crate::error::Result as DatabaseResult;
use crate::key_rows::{list, load, words_text};
use crate::operation::Operation;
use crate::query::execute;
use crate::security_version::raise;
use crate::store::SqliteStore;

#[async_trait]
impl ApiKeys for SqliteStore {
    async fn create_key(&self, key: NewApiKey, entry: AuditEntry) -> Result<ApiKeyRecord, StoreError> {
        self.write(CreateKey { key, entry }).await
    }

    async fn rotate_key(
        &self,
        id: &KeyId,
        hash: KeyHash,
        overlap: Duration,
        entry: AuditEntry,
    ) -> Result<Option<ApiKeyRecord>, StoreError> {
        self.write(RotateKey { id: id.clone(), hash, overlap, entry }).await
    }

    async fn revoke_key(&self, id: &KeyId, entry: AuditEntry) -> Result<Option<ApiKeyRecord>, StoreError> {
        self.write(RevokeKey { id: id.clone(), entry }).await
    }

    async fn key(&self, id: &KeyId) -> Result<Option<ApiKeyRecord>, StoreError> {
        let id = id.clone();
        self.read(move |connection| load(connection, &id)).await
    }

    async fn keys(&self, page: Page) -> Result<Paged<ApiKeyRecord>, StoreError> {
        self.read(move |connection| list(connection, &page)).await
    }
}

struct CreateKey {
    key: NewApiKey,
    entry: AuditEntry,
}

impl Operation for CreateKey {
    type Answer = ApiKeyRecord;

    fn run(self, connection: &Connection) -> DatabaseResult<ApiKeyRecord> {
        let Self { key, entry } = self;
        key.check_texts()?;
        let version = raise(connection)?;
        let created_at = now();
        execute(
            connection,
            "INSERT INTO api_keys (id, version, tenant, name, hash, scopes, companions, requests_per_minute,
                                   tokens_per_day, created_at, created_by, expires_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            params![
                key.id.as_str(),
                version,
                key.tenant,
                key.name,
                key.hash.0.as_slice(),
                words_text(&key.scopes),
                key.companions.as_deref().map(words_text),
                key.requests_per_minute,
                key.tokens_per_day.map(signed),
                created_at,
                key.created_by,
                key.expires_at,
            ],
        )?;
        insert_entry(connection, &entry)?;
        Ok(ApiKeyRecord {
            id: key.id,
            tenant: key.tenant,
            name: key.name,
            hash: key.hash,
            previous: None,
            scopes: key.scopes,
            companions: key.companions,
            requests_per_minute: key.requests_per_minute,
            tokens_per_day: key.tokens_per_day,
            created_at,
            created_by: key.created_by,
            expires_at: key.expires_at,
            revoked_at: None,
        })
    }
}

struct RotateKey {
    id: KeyId,
    hash: KeyHash,
    overlap: Duration,
    entry: AuditEntry,
}

impl Operation for RotateKey {
    type Answer = Option<ApiKeyRecord>;

    fn run(self, connection: &Connection) -> DatabaseResult<Self::Answer> {
        let found = load(connection, &self.id)?.filter(|key| key.revoked_at.is_none());
        let Some(mut key) = found else { return Ok(None) };
        let previous = std::mem::replace(&mut key.hash, self.hash);
        let overlap = millis(self.overlap);
        key.previous = (overlap > 0).then(|| (previous, now().saturating_add(overlap)));
        let version = raise(connection)?;
        execute(
            connection,
            "UPDATE api_keys SET version = ?2, hash = ?3, previous = ?4, previous_ends = ?5 WHERE id = ?1",
            params![
                self.id.as_str(),
                version,
                key.hash.0.as_slice(),
                key.previous.as_ref().map(|(hash, _)| hash.0.as_slice()),
                key.previous.as_ref().map(|(_, ends)| ends),
            ],
        )?;
        insert_entry(connection, &self.entry)?;
        Ok(Some(key))
    }
}

struct RevokeKey {
    id: KeyId,
    entry: AuditEntry,
}

impl Operation for RevokeKey {
    type Answer = Option<ApiKeyRecord>;

    fn run(self, connection: &Connection) -> DatabaseResult<Self::Answer> {
        let Some(mut key) = load(connection, &self.id)? else { return Ok(None) };
        let revoked_at = *key.revoked_at.get_or_insert_with(now);
        key.previous = None;
        let version = raise(connection)?;
        execute(
            connection,
            "UPDATE api_keys SET version = ?2, revoked_at = ?3, previous = NULL, previous_ends = NULL WHERE id = ?1",
            (self.id.as_str(), version, revoked_at),
        )?;
        insert_entry(connection, &self.entry)?;
        Ok(Some(key))
    }
}
