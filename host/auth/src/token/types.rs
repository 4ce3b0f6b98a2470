//! Tokens as the rest of the host sees them: one to mint, one that was minted, one that was verified.

use std::time::Duration;

use serde_json::{Map, Value};

/// A token whose signature and claims are right at this moment. Revocation is not checked here.
#[derive(Clone, Debug)]
pub struct VerifiedToken {
    /// `iss`.
    pub issuer: String,
    /// `sub`: the user's id.
    pub subject: String,
    /// The user's tenant.
    pub tenant: String,
    /// The words of its scopes, those of other systems included.
    pub scopes: Vec<String>,
    /// `jti`: the token's id.
    pub jti: Option<String>,
    /// `client_id`: in the host's own tokens, the API key that the token was minted with.
    pub client_id: Option<String>,
    /// `iat`, in seconds since the Unix epoch.
    pub issued_at: Option<i64>,
    /// Whether it is signed with the host's own secret.
    pub is_own: bool,
    /// All of its claims.
    pub claims: Map<String, Value>,
}

/// A token to mint. Whoever makes the request checks what may be in it.
#[derive(Clone, Debug)]
pub struct TokenRequest {
    /// The user's id.
    pub subject: String,
    /// The user's tenant.
    pub tenant: String,
    /// The words of its scopes.
    pub scopes: Vec<String>,
    /// The API key that it is minted with; `None` for the machine's own user.
    pub client_id: Option<String>,
    /// How long it is valid.
    pub lifetime: Duration,
}

/// A token that was minted.
pub struct MintedToken {
    /// The token itself.
    pub token: String,
    /// Its id, by which it can be revoked.
    pub jti: String,
    /// How long it is valid.
    pub expires_in: Duration,
}

/// The host has no secret to sign tokens with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no secret to sign tokens with")]
pub struct NoSigningSecret;
