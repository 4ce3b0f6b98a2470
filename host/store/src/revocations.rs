//! What was taken back before its time, and all that a host has to know of keys and tokens at one moment.

use async_trait::async_trait;

use crate::{ApiKeyRecord, AuditEntry, StoreError};

/// Revocations of tokens, and the version by which hosts follow them and the keys.
#[async_trait]
pub trait Revocations: Send + Sync {
    /// Makes tokens void, together with its entry in the audit. A second revocation of the same user moves the first on, and never back, whatever the clock says.
    async fn revoke(&self, revocation: NewRevocation, entry: AuditEntry) -> Result<Revocation, StoreError>;

    /// Goes up with every change of keys and revocations, whoever makes it.
    async fn security_version(&self) -> Result<i64, StoreError>;

    /// Everything at one moment.
    async fn security(&self) -> Result<Security, StoreError>;
}

/// What is to be void.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRevocation {
    /// Whose token, or whose user.
    pub issuer: String,
    /// Which.
    pub what: Revoked,
}

/// One token, or all of a user's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// The token of this id.
    Token {
        /// Its `jti`.
        jti: String,
    },
    /// Every token of this user that was issued by the time of the revocation.
    User {
        /// The user.
        subject: String,
        /// Of which tenant; `None` for any.
        tenant: Option<String>,
    },
}

/// What is void.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Whose token, or whose user.
    pub issuer: String,
    /// Which.
    pub what: Revoked,
    /// Since when, in milliseconds.
    pub revoked_at: i64,
}

/// What a host has to know to judge keys and tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Security {
    /// Of this knowledge.
    pub version: i64,
    /// All keys; of those that are revoked or expired, the ones that a token may still have been made with.
    pub keys: Vec<ApiKeyRecord>,
    /// All that are not past their time.
    pub revocations: Vec<Revocation>,
}
