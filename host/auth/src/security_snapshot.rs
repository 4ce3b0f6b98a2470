//! The security snapshot: API keys and revocations as the store had them at one moment, so that a request asks no
//! database. Pure; `security_cache` keeps it current.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use masque_store::{KeyId, Revocation, Revoked, Security};

use crate::key::ApiKey;
use crate::token::VerifiedToken;

/// All keys and revocations of one version of the store.
#[derive(Clone, Debug, Default)]
pub(crate) struct SecuritySnapshot {
    /// The store's `security_version` that it was read at.
    pub(crate) version: i64,
    keys: HashMap<KeyId, Arc<ApiKey>>,
    /// By issuer and `jti`.
    revoked_tokens: HashSet<(String, String)>,
    /// By issuer and subject.
    revoked_users: HashMap<(String, String), Vec<UserRevocation>>,
}

/// Which tokens of a user are revoked.
#[derive(Clone, Debug)]
struct UserRevocation {
    /// Those of this tenant; `None` for those of any.
    tenant: Option<String>,
    /// Those issued until then, in milliseconds since the Unix epoch.
    until: i64,
}

impl SecuritySnapshot {
    /// Returns the snapshot after these changes. A key or revocation in `changes` replaces the one of the same identity.
    pub(crate) fn updated(&self, changes: Security) -> Self {
        let Security { version, keys, revocations } = changes;
        let mut snapshot = Self { version, ..self.clone() };
        snapshot.keys.extend(keys.into_iter().map(|key| (key.id.clone(), Arc::new(key.into()))));
        for Revocation { issuer, what, revoked_at, .. } in revocations {
            match what {
                Revoked::Token { jti } => {
                    snapshot.revoked_tokens.insert((issuer, jti));
                }
                Revoked::User { subject, tenant } => {
                    let of_user = snapshot.revoked_users.entry((issuer, subject)).or_default();
                    of_user.retain(|revocation| revocation.tenant != tenant);
                    of_user.push(UserRevocation { tenant, until: revoked_at });
                }
            }
        }
        snapshot
    }

    pub(crate) fn key(&self, id: &KeyId) -> Option<&Arc<ApiKey>> {
        self.keys.get(id)
    }

    /// Whether the token itself or its user is revoked. Checks neither its expiry nor the key that it was minted with.
    pub(crate) fn is_revoked(&self, token: &VerifiedToken) -> bool {
        let is_token_revoked = token
            .jti
            .as_ref()
            .is_some_and(|jti| self.revoked_tokens.contains(&(token.issuer.clone(), jti.clone())));
        let is_user_revoked = self
            .revoked_users
            .get(&(token.issuer.clone(), token.subject.clone()))
            .is_some_and(|revocations| revocations.iter().any(|revocation| revocation.covers(token)));
        is_token_revoked || is_user_revoked
    }
}

impl UserRevocation {
    /// `iat` counts whole seconds, so a token of the same second may have been issued before or after the revocation,
    /// and is covered. A token without `iat` is covered for good.
    fn covers(&self, token: &VerifiedToken) -> bool {
        let is_tenant_covered = self.tenant.as_ref().is_none_or(|tenant| *tenant == token.tenant);
        is_tenant_covered && token.issued_at.is_none_or(|issued| issued.saturating_mul(1000) <= self.until)
    }
}

impl From<Security> for SecuritySnapshot {
    fn from(security: Security) -> Self {
        Self::default().updated(security)
    }
}
