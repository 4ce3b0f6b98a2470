//! Revocations of tokens, and all that a host has to know to judge keys and tokens.

use async_trait::async_trait;

use crate::audit::AuditEntry;
use crate::error::StoreError;
use crate::keys::ApiKeyRecord;

/// Revocations of tokens, and the version by which hosts follow them and the keys.
#[async_trait]
pub trait Revocations: Send + Sync {
    /// Revokes tokens, together with its entry in the audit. A revocation never ends. A second revocation of the same
    /// user moves the first forward in time, and never back, whatever the clock says.
    async fn revoke(&self, revocation: NewRevocation, entry: AuditEntry) -> Result<Revocation, StoreError>;

    /// Goes up with every change of keys and revocations, whoever makes it.
    async fn security_version(&self) -> Result<i64, StoreError>;

    /// All keys and revocations that count, in one snapshot.
    async fn security(&self) -> Result<Security, StoreError>;

    /// The keys and revocations that changed after the version `since`, in one snapshot. They replace those of the same
    /// identity in what [`Revocations::security`] gave for that version. Empty if nothing changed.
    async fn security_since(&self, since: i64) -> Result<Security, StoreError>;
}

/// A revocation to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRevocation {
    /// The issuer of the token or user.
    pub issuer: String,
    /// The token, or the user.
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
        /// The tenant; `None` for any.
        tenant: Option<String>,
    },
}

/// A revocation as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// The issuer of the token or user.
    pub issuer: String,
    /// The token, or the user.
    pub what: Revoked,
    /// When it was made, in milliseconds.
    pub revoked_at: i64,
}

/// Keys and revocations of one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Security {
    /// The version of this snapshot.
    pub version: i64,
    /// Keys; of those that are revoked or expired, the ones that a token may still have been made with.
    pub keys: Vec<ApiKeyRecord>,
    /// Revocations.
    pub revocations: Vec<Revocation>,
}
