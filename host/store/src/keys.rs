//! API keys. The store keeps a hash and never the key itself; the caller gives the scopes their meaning.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;

use crate::audit::AuditEntry;
use crate::error::StoreError;
use crate::page::{Page, Paged};

/// API keys by their ids. Each change and its entry in the audit log are written in one transaction, and raise
/// [`crate::Revocations::security_version`].
#[async_trait]
pub trait ApiKeys: Send + Sync {
    /// Stores a key.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if the id is taken.
    async fn create_key(&self, key: NewApiKey, entry: AuditEntry) -> Result<ApiKeyRecord, StoreError>;

    /// Gives a key another hash and returns the changed key. The old hash stays valid for `overlap`. `None`, with
    /// nothing written to the audit either, if there is no such key or it is revoked.
    async fn rotate_key(
        &self,
        id: &KeyId,
        hash: KeyHash,
        overlap: Duration,
        entry: AuditEntry,
    ) -> Result<Option<ApiKeyRecord>, StoreError>;

    /// Revokes a key and returns the changed key. A key that is already revoked keeps its time of revocation; the
    /// entry is written to the audit log in this case, too. `None` if there is no such key.
    async fn revoke_key(&self, id: &KeyId, entry: AuditEntry) -> Result<Option<ApiKeyRecord>, StoreError>;

    /// One key.
    async fn key(&self, id: &KeyId) -> Result<Option<ApiKeyRecord>, StoreError>;

    /// All keys, revoked ones included, the newest first.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if `after` is no cursor of this list.
    async fn keys(&self, page: Page) -> Result<Paged<ApiKeyRecord>, StoreError>;
}

/// The public part of a key: 16 hexadecimal digits in lower case.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(String);

/// A text that is no [`KeyId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the id of a key is 16 hexadecimal digits")]
pub struct NoKeyId;

impl KeyId {
    /// How many hexadecimal digits an id has.
    const DIGITS: usize = 16;

    /// The id of these eight bytes, which should be random.
    pub fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(format!("{:016x}", u64::from_be_bytes(bytes)))
    }

    /// Its digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyId {
    type Err = NoKeyId;

    fn from_str(text: &str) -> Result<Self, NoKeyId> {
        let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let whole = text.len() == Self::DIGITS && text.bytes().all(digit);
        whole.then(|| Self(text.to_owned())).ok_or(NoKeyId)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The hash that is kept of a key. Its `Debug` output shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyHash(pub [u8; 32]);

impl fmt::Debug for KeyHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("KeyHash(…)")
    }
}

/// A key to store.
#[derive(Clone, Debug)]
pub struct NewApiKey {
    /// Its id.
    pub id: KeyId,
    /// Its tenant.
    pub tenant: String,
    /// A name for people to read.
    pub name: String,
    /// The hash of the whole key.
    pub hash: KeyHash,
    /// Its scopes.
    pub scopes: Vec<String>,
    /// The companions that it may talk to; `None` for all.
    pub companions: Option<Vec<String>>,
    /// Requests per minute; `None` for no limit.
    pub requests_per_minute: Option<u32>,
    /// Tokens per day; `None` for no limit.
    pub tokens_per_day: Option<u64>,
    /// Who made it.
    pub created_by: String,
    /// When it ends, in milliseconds; `None` for never.
    pub expires_at: Option<i64>,
}

/// A key as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKeyRecord {
    /// Its id.
    pub id: KeyId,
    /// Its tenant.
    pub tenant: String,
    /// A name for people to read.
    pub name: String,
    /// The hash of the whole key.
    pub hash: KeyHash,
    /// The hash before the last rotation, and until when it is valid, in milliseconds.
    pub previous: Option<(KeyHash, i64)>,
    /// Its scopes.
    pub scopes: Vec<String>,
    /// The companions that it may talk to; `None` for all.
    pub companions: Option<Vec<String>>,
    /// Requests per minute; `None` for no limit.
    pub requests_per_minute: Option<u32>,
    /// Tokens per day; `None` for no limit.
    pub tokens_per_day: Option<u64>,
    /// When it was made, in milliseconds.
    pub created_at: i64,
    /// Who made it.
    pub created_by: String,
    /// When it ends, in milliseconds; `None` for never.
    pub expires_at: Option<i64>,
    /// When it was revoked, in milliseconds.
    pub revoked_at: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_sixteen_digits_and_nothing_else() {
        let id = KeyId::from_bytes([0, 1, 2, 3, 4, 5, 6, 255]);
        assert_eq!(id.as_str(), "00010203040506ff");
        assert_eq!(id.as_str().parse(), Ok(id));
        for text in [
            "",
            "00010203040506f",
            "00010203040506fff",
            "00010203040506FF",
            "00010203040506f ",
            "' OR 1=1 -- ok",
        ] {
            assert_eq!(text.parse::<KeyId>(), Err(NoKeyId), "{text:?}");
        }
    }

    #[test]
    fn a_hash_prints_nothing() {
        assert_eq!(format!("{:?}", KeyHash([171; 32])), "KeyHash(…)");
    }
}
