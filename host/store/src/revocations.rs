//! Revocations of tokens, and the snapshot of keys and revocations that a host checks requests against.

use std::time::Duration;

use async_trait::async_trait;

use crate::audit::AuditEntry;
use crate::error::StoreError;
use crate::keys::ApiKeyRecord;

/// How long a key stays in [`Security`] after it expired or was revoked: a token that was made with it can be valid
/// until then, since no token that a host makes lives longer than 30 days.
pub const ENDED_KEY_RETENTION: Duration = Duration::from_secs(31 * 24 * 3600);

/// Revocations of tokens, and the version by which hosts notice changes of them and of keys.
#[async_trait]
pub trait Revocations: Send + Sync {
    /// Revokes tokens and writes the entry to the audit log in the same transaction. A revocation never ends. A second
    /// revocation of the same user moves the first forward in time, and never back, whatever the clock says.
    async fn revoke(&self, revocation: NewRevocation, entry: AuditEntry) -> Result<Revocation, StoreError>;

    /// Goes up with every change of keys and revocations, whoever makes it.
    async fn security_version(&self) -> Result<i64, StoreError>;

    /// All revocations, and all keys that [`Security::keys`] holds, in one snapshot.
    async fn security(&self) -> Result<Security, StoreError>;

    /// The keys and revocations that changed after the version `since`, in one snapshot. They replace those of the same
    /// identity in what [`Revocations::security`] gave for that version. Empty if nothing changed.
    async fn security_since(&self, since: i64) -> Result<Security, StoreError>;
}

/// A revocation to store.
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
    /// Keys. Those that expired or were revoked longer than [`ENDED_KEY_RETENTION`] ago are left out.
    pub keys: Vec<ApiKeyRecord>,
    /// Revocations.
    pub revocations: Vec<Revocation>,
}
