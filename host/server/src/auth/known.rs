//! What is known of API keys and revocations at one moment: a copy of the store's, so that a request asks no database.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroU32;
use std::sync::Arc;

use masque_store::{ApiKeyRecord, KeyId, Quota, Revocation, Revoked, Security};

use super::token::Verified;
use super::{ApiKey, Scopes};

/// Of a key's requests a minute, the part that may come at once.
const BURST_SHARE: u32 = 4;

#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) version: Option<i64>,
    keys: HashMap<KeyId, Arc<ApiKey>>,
    /// By issuer and `jti`.
    tokens: HashSet<(String, String)>,
    /// By issuer and subject.
    users: HashMap<(String, String), Vec<Void>>,
}

/// What of a user's tokens is void.
#[derive(Clone, Debug)]
struct Void {
    /// Those of this tenant; of any, if none is named.
    tenant: Option<String>,
    /// Those that were issued until then, in milliseconds since the Unix epoch.
    until: i64,
}

impl Known {
    pub(super) fn key(&self, id: &KeyId) -> Option<&Arc<ApiKey>> {
        self.keys.get(id)
    }

    /// Whether the token, its user or the key that it was made with has been revoked. Says nothing of its time.
    pub(super) fn is_revoked(&self, token: &Verified) -> bool {
        let by_id =
            token.jti.as_ref().is_some_and(|jti| self.tokens.contains(&(token.issuer.clone(), jti.clone())));
        let by_user = self
            .users
            .get(&(token.issuer.clone(), token.subject.clone()))
            .is_some_and(|revoked| revoked.iter().any(|void| void.covers(token)));
        by_id || by_user
    }
}

impl Void {
    /// `iat` counts whole seconds: a token of the very second may be either side of the revocation, and is void. One that
    /// does not say when it was issued is void for good.
    fn covers(&self, token: &Verified) -> bool {
        let concerned = self.tenant.as_ref().is_none_or(|tenant| *tenant == token.tenant);
        concerned && token.issued_at.is_none_or(|issued| issued.saturating_mul(1000) <= self.until)
    }
}

impl From<Security> for Known {
    fn from(security: Security) -> Self {
        Self::default().with(security)
    }
}

impl Known {
    /// What is known after these changes.
    pub(super) fn with(&self, changes: Security) -> Self {
        let mut known = self.clone();
        known.version = Some(changes.version);
        known.keys.extend(changes.keys.into_iter().map(|key| (key.id.clone(), Arc::new(key.into()))));
        for Revocation { issuer, what, revoked_at, .. } in changes.revocations {
            match what {
                Revoked::Token { jti } => {
                    known.tokens.insert((issuer, jti));
                }
                Revoked::User { subject, tenant } => {
                    let voids = known.users.entry((issuer, subject)).or_default();
                    voids.retain(|void| void.tenant != tenant);
                    voids.push(Void { tenant, until: revoked_at });
                }
            }
        }
        known
    }
}

impl From<ApiKeyRecord> for ApiKey {
    fn from(record: ApiKeyRecord) -> Self {
        Self {
            id: record.id,
            tenant: record.tenant,
            scopes: Scopes::known(record.scopes.iter().map(String::as_str)),
            companions: record.companions.map(|names| names.into_iter().collect()),
            requests: record.requests_per_minute.and_then(quota),
            tokens_per_day: record.tokens_per_day,
            hash: record.hash,
            previous: record.previous,
            expires_at: record.expires_at,
            revoked: record.revoked_at.is_some(),
        }
    }
}

fn quota(per_minute: u32) -> Option<Quota> {
    let burst = NonZeroU32::new(per_minute.div_ceil(BURST_SHARE))?;
    Some(Quota { per_minute: NonZeroU32::new(per_minute)?, burst })
}
