//! What a host knows of an API key while it runs: the stored record in the form that requests are checked against.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use masque_store::{ApiKeyRecord, KeyHash, KeyId, Quota};

use super::text::KeyText;
use crate::scope::Scopes;

/// A key may send this part of its requests of one minute at once (one in so many).
const BURST_SHARE: u32 = 4;

/// An API key, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// The public part of the key.
    pub id: KeyId,
    /// The tenant that its users belong to.
    pub tenant: String,
    /// What the key may do.
    pub scopes: Scopes,
    /// The companions that it may talk to; `None` allows all.
    pub companions: Option<BTreeSet<String>>,
    /// How often it may ask; `None` allows any number.
    pub requests: Option<Quota>,
    /// The model's tokens, of input and output, that it may use in a day (UTC); `None` allows any number.
    pub tokens_per_day: Option<u64>,
    /// When it ends, in milliseconds since the Unix epoch; `None` for never.
    pub(crate) expires_at: Option<i64>,
    /// When it was revoked, in milliseconds since the Unix epoch.
    pub(crate) revoked_at: Option<i64>,
    hash: KeyHash,
    /// The hash before the last rotation, and until when it is accepted, in milliseconds since the Unix epoch.
    previous: Option<(KeyHash, i64)>,
}

/// Why a text is not accepted as the key with its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyRejection {
    /// Not in the form of a key, of no known id, or with another secret. The three cases have one answer, so that
    /// guessing reveals nothing.
    Unknown,
    Expired,
    Revoked,
}

impl ApiKey {
    /// How long the key remains valid; zero once it has expired, `None` if it has no end. Takes no account of
    /// revocation.
    pub fn remaining_lifetime(&self, now: SystemTime) -> Option<Duration> {
        let end = UNIX_EPOCH + Duration::from_millis(u64::try_from(self.expires_at?).unwrap_or(0));
        Some(end.duration_since(now).unwrap_or_default())
    }

    /// Whether the key can no longer be used at `now`, in milliseconds since the Unix epoch.
    pub(crate) fn is_void(&self, now: i64) -> bool {
        self.revoked_at.is_some() || self.is_expired(now)
    }

    /// Whether the key expired or was revoked by `time`, in milliseconds since the Unix epoch.
    pub(crate) fn has_ended_by(&self, time: i64) -> bool {
        self.expires_at.is_some_and(|end| end <= time) || self.revoked_at.is_some_and(|end| end <= time)
    }

    /// Checks the secret first: nothing is told of a key to someone who does not have it.
    pub(crate) fn check(&self, text: &KeyText, now: i64) -> Result<(), KeyRejection> {
        let is_previous =
            self.previous.as_ref().is_some_and(|(hash, until)| text.matches(hash) && now < *until);
        if !text.matches(&self.hash) && !is_previous {
            return Err(KeyRejection::Unknown);
        }
        if self.revoked_at.is_some() {
            return Err(KeyRejection::Revoked);
        }
        if self.is_expired(now) {
            return Err(KeyRejection::Expired);
        }
        Ok(())
    }

    fn is_expired(&self, now: i64) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }
}

impl From<ApiKeyRecord> for ApiKey {
    fn from(record: ApiKeyRecord) -> Self {
        Self {
            id: record.id,
            tenant: record.tenant,
            scopes: Scopes::from_words(record.scopes.iter().map(String::as_str)),
            companions: record.companions.map(|names| names.into_iter().collect()),
            requests: record.requests_per_minute.and_then(quota),
            tokens_per_day: record.tokens_per_day,
            expires_at: record.expires_at,
            revoked_at: record.revoked_at,
            hash: record.hash,
            previous: record.previous,
        }
    }
}

fn quota(per_minute: u32) -> Option<Quota> {
    let burst = NonZeroU32::new(per_minute.div_ceil(BURST_SHARE))?;
    Some(Quota { per_minute: NonZeroU32::new(per_minute)?, burst })
}
