//! The security snapshot: API keys and revocations as the store had them at one moment, so that a request asks no
//! database. Pure; `security_cache` keeps it current.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use masque_store::{ENDED_KEY_RETENTION, KeyId, Revocation, Revoked, Security};

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
    /// Returns the snapshot after these changes. A key or revocation in `changes` replaces the one of the same
    /// identity. Keys that ended longer than [`ENDED_KEY_RETENTION`] before `now` (milliseconds since the Unix epoch)
    /// are dropped, as in a snapshot that the store reads as a whole.
    pub(crate) fn updated(&self, changes: Security, now: i64) -> Self {
        let mut snapshot = self.clone();
        snapshot.apply(changes);
        let kept = i64::try_from(ENDED_KEY_RETENTION.as_millis()).unwrap_or(i64::MAX);
        let ended_before = now.saturating_sub(kept);
        snapshot.keys.retain(|_, key| !key.has_ended_by(ended_before));
        snapshot
    }

    fn apply(&mut self, changes: Security) {
        let Security { version, keys, revocations } = changes;
        self.version = version;
        self.keys.extend(keys.into_iter().map(|key| (key.id.clone(), Arc::new(key.into()))));
        for Revocation { issuer, what, revoked_at, .. } in revocations {
            match what {
                Revoked::Token { jti } => {
                    self.revoked_tokens.insert((issuer, jti));
                }
                Revoked::User { subject, tenant } => {
                    let of_user = self.revoked_users.entry((issuer, subject)).or_default();
                    of_user.retain(|revocation| revocation.tenant != tenant);
                    of_user.push(UserRevocation { tenant, until: revoked_at });
                }
            }
        }
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
        let mut snapshot = Self::default();
        snapshot.apply(security);
        snapshot
    }
}

#[cfg(test)]
mod tests {
    use masque_store::{ApiKeyRecord, KeyHash};
    use serde_json::Map;

    use super::*;

    fn token(subject: &str, tenant: &str, jti: &str, issued_at: Option<i64>) -> VerifiedToken {
        VerifiedToken {
            issuer: "masque".into(),
            subject: subject.into(),
            tenant: tenant.into(),
            scopes: Vec::new(),
            jti: Some(jti.into()),
            client_id: None,
            issued_at,
            is_own: true,
            claims: Map::new(),
        }
    }

    fn changes(version: i64, what: Revoked, revoked_at: i64) -> Security {
        let revocation = Revocation { issuer: "masque".into(), what, revoked_at };
        Security { version, keys: Vec::new(), revocations: vec![revocation] }
    }

    #[test]
    fn a_revoked_token_is_found_by_its_issuer_and_id() {
        let snapshot = SecuritySnapshot::from(changes(1, Revoked::Token { jti: "one".into() }, 5_000));
        assert!(snapshot.is_revoked(&token("ana", "default", "one", Some(9))));
        assert!(!snapshot.is_revoked(&token("ana", "default", "two", Some(1))));
        let other_issuer =
            VerifiedToken { issuer: "other".into(), ..token("ana", "default", "one", Some(9)) };
        assert!(!snapshot.is_revoked(&other_issuer));
    }

    #[test]
    fn the_revocation_of_a_user_covers_tokens_issued_until_its_second() {
        let what = Revoked::User { subject: "ana".into(), tenant: Some("acme".into()) };
        let snapshot = SecuritySnapshot::from(changes(1, what, 5_400));
        let cases = [
            ("ana", "acme", Some(4), true),
            ("ana", "acme", Some(5), true),
            ("ana", "acme", Some(6), false),
            ("ana", "acme", None, true),
            ("ana", "default", Some(4), false),
            ("ben", "acme", Some(4), false),
        ];
        for (subject, tenant, issued_at, expected) in cases {
            let token = token(subject, tenant, "one", issued_at);
            assert_eq!(
                snapshot.is_revoked(&token),
                expected,
                "{subject} of {tenant}, issued at {issued_at:?}"
            );
        }
    }

    fn key(number: u8, expires_at: Option<i64>, revoked_at: Option<i64>) -> ApiKeyRecord {
        ApiKeyRecord {
            id: KeyId::from_bytes([number; 8]),
            tenant: "default".into(),
            name: "test".into(),
            hash: KeyHash([number; 32]),
            previous: None,
            scopes: Vec::new(),
            companions: None,
            requests_per_minute: None,
            tokens_per_day: None,
            created_at: 0,
            created_by: "test".into(),
            expires_at,
            revoked_at,
        }
    }

    #[test]
    fn an_update_drops_keys_that_ended_longer_than_31_days_ago_and_no_others() {
        const DAY: i64 = 24 * 3600 * 1000;
        let keys = vec![
            key(1, None, None),
            key(2, Some(DAY), None),
            key(3, None, Some(DAY)),
            key(4, Some(2 * DAY), Some(3 * DAY)),
        ];
        let snapshot = SecuritySnapshot::from(Security { version: 1, keys, revocations: Vec::new() });
        let no_change = |version| Security { version, keys: Vec::new(), revocations: Vec::new() };
        for (now, kept) in [(31 * DAY, vec![1, 2, 3, 4]), (32 * DAY, vec![1, 4]), (33 * DAY, vec![1])] {
            let updated = snapshot.updated(no_change(2), now);
            let held = (1..=4).filter(|number| updated.key(&KeyId::from_bytes([*number; 8])).is_some());
            assert_eq!(held.collect::<Vec<u8>>(), kept, "after {} days", now / DAY);
        }
    }

    #[test]
    fn changes_are_added_to_what_the_snapshot_held() {
        let of_ana =
            |tenant: Option<&str>| Revoked::User { subject: "ana".into(), tenant: tenant.map(str::to_owned) };
        let first = SecuritySnapshot::from(changes(1, of_ana(Some("acme")), 5_000));
        let second = first.updated(changes(2, of_ana(Some("acme")), 9_000), 0);
        let third = second.updated(changes(3, of_ana(None), 7_000), 0);
        assert_eq!((first.version, third.version), (1, 3));
        let late = token("ana", "acme", "one", Some(8));
        assert_eq!((first.is_revoked(&late), third.is_revoked(&late)), (false, true));
        let of_other_tenant = token("ana", "default", "two", Some(7));
        assert_eq!((second.is_revoked(&of_other_tenant), third.is_revoked(&of_other_tenant)), (false, true));
    }
}
