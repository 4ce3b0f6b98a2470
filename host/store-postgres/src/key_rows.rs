//! Rows of API keys.

use masque_store::{ApiKeyRecord, KeyHash, StoreError};
use sqlx::postgres::PgRow;

use crate::columns::unsigned;
use crate::error::Result;
use crate::statement::get;

/// The columns that [`record`] reads.
macro_rules! key_columns {
    () => {
        "id, tenant, name, hash, previous, previous_ends, scopes, companions, requests_per_minute, tokens_per_day,
         created_at, created_by, expires_at, revoked_at, number"
    };
}
pub(crate) use key_columns;

/// A key from the columns of a row.
pub(crate) fn record(row: &PgRow) -> Result<ApiKeyRecord> {
    let corrupt = |what: &str| StoreError::Corrupt(format!("a key's {what} can't be read"));
    let hash = |bytes: Vec<u8>| bytes.try_into().map(KeyHash).map_err(|_| corrupt("hash"));
    let previous =
        match (get::<Option<Vec<u8>>, _>(row, "previous")?, get::<Option<i64>, _>(row, "previous_ends")?) {
            (Some(bytes), Some(until)) => Some((hash(bytes)?, until)),
            _ => None,
        };
    let per_minute = get::<Option<i64>, _>(row, "requests_per_minute")?;
    Ok(ApiKeyRecord {
        id: get::<&str, _>(row, "id")?.parse().map_err(|_| corrupt("id"))?,
        tenant: get(row, "tenant")?,
        name: get(row, "name")?,
        hash: hash(get(row, "hash")?)?,
        previous,
        scopes: get(row, "scopes")?,
        companions: get(row, "companions")?,
        requests_per_minute: per_minute.map(u32::try_from).transpose().map_err(|_| corrupt("limit"))?,
        tokens_per_day: get::<Option<i64>, _>(row, "tokens_per_day")?.map(unsigned).transpose()?,
        created_at: get(row, "created_at")?,
        created_by: get(row, "created_by")?,
        expires_at: get(row, "expires_at")?,
        revoked_at: get(row, "revoked_at")?,
    })
}
