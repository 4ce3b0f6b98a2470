//! Rows of API keys. Lists are JSON texts: they are read as a whole and never searched.

use std::time::Duration;

use masque_store::paging::{limit, number_after, numbered};
use masque_store::{ApiKeyRecord, KeyHash, KeyId, Page, Paged, StoreError};
use rusqlite::{Connection, Row};

use crate::columns::{millis, now, unsigned};
use crate::error::Result;
use crate::query::{all_rows, first_row};

/// The columns that [`record`] reads.
macro_rules! key_columns {
    () => {
        "id, tenant, name, hash, previous, previous_ends, scopes, companions, requests_per_minute, tokens_per_day,
         created_at, created_by, expires_at, revoked_at, number"
    };
}

/// One key.
pub(crate) fn load(connection: &Connection, id: &KeyId) -> Result<Option<ApiKeyRecord>> {
    first_row(
        connection,
        concat!("SELECT ", key_columns!(), " FROM api_keys WHERE id = ?1"),
        [id.as_str()],
        record,
    )
}

/// All keys, the newest first.
pub(crate) fn list(connection: &Connection, page: &Page) -> Result<Paged<ApiKeyRecord>> {
    let (after, limit) = (number_after(page, i64::MAX)?, limit(page));
    let items = all_rows(
        connection,
        concat!("SELECT ", key_columns!(), " FROM api_keys WHERE number < ?1 ORDER BY number DESC LIMIT ?2"),
        (after, limit as i64 + 1),
        |row| Ok((record(row)?, row.get::<_, i64>(14)?)),
    )?;
    Ok(numbered(items, limit))
}

/// Keys that changed after a version. Those that expired or were revoked longer than `kept` ago are left out.
pub(crate) fn changed_since(
    connection: &Connection,
    version: i64,
    kept: Duration,
) -> Result<Vec<ApiKeyRecord>> {
    all_rows(
        connection,
        concat!(
            "SELECT ",
            key_columns!(),
            " FROM api_keys
               WHERE version > ?1 AND (revoked_at IS NULL OR revoked_at > ?2) AND (expires_at IS NULL OR expires_at > ?2)"
        ),
        (version, now().saturating_sub(millis(kept))),
        record,
    )
}

fn record(row: &Row<'_>) -> Result<ApiKeyRecord> {
    let corrupt = |what: &str| StoreError::Corrupt(format!("a key's {what} can't be read"));
    let hash = |bytes: Vec<u8>| bytes.try_into().map(KeyHash).map_err(|_| corrupt("hash"));
    let previous = match (row.get::<_, Option<Vec<u8>>>(4)?, row.get::<_, Option<i64>>(5)?) {
        (Some(bytes), Some(until)) => Some((hash(bytes)?, until)),
        _ => None,
    };
    Ok(ApiKeyRecord {
        id: row.get_ref(0)?.as_str()?.parse().map_err(|_| corrupt("id"))?,
        tenant: row.get(1)?,
        name: row.get(2)?,
        hash: hash(row.get(3)?)?,
        previous,
        scopes: words(row.get_ref(6)?.as_str()?)?,
        companions: row.get_ref(7)?.as_str_or_null()?.map(words).transpose()?,
        requests_per_minute: row.get(8)?,
        tokens_per_day: row.get::<_, Option<i64>>(9)?.map(unsigned).transpose()?,
        created_at: row.get(10)?,
        created_by: row.get(11)?,
        expires_at: row.get(12)?,
        revoked_at: row.get(13)?,
    })
}

/// Words as a JSON text.
pub(crate) fn words_text(words: &[String]) -> String {
    serde_json::Value::from(words).to_string()
}

fn words(text: &str) -> Result<Vec<String>> {
    serde_json::from_str(text).map_err(|error| StoreError::Corrupt(format!("a key's list: {error}")).into())
}
