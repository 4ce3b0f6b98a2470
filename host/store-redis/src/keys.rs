//! The names of keys and channels.
//!
//! Each begins with `masque:v1:{INSTALLATION`. `v1` is the version of what is stored under it: a build that stores
//! something else takes another number, and neither reads what the other wrote. One Redis can serve several installations
//! and other programs; keys of others are never read or written. What is in braces, the hash tag, decides on which node
//! of a cluster a key is.
//!
//! Users and client addresses are named by a hash: their names can be long, and are nobody's business who looks into
//! Redis.

use masque_store::{Bucket, Owner, TurnId};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Makes the names for one installation.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    prefix: String,
}

impl Keys {
    pub(crate) fn new(installation: Uuid) -> Self {
        Self { prefix: format!("masque:v1:{{{installation}") }
    }

    /// A bucket. All of an installation have one hash tag, so that several are taken from in one step.
    pub(crate) fn bucket(&self, bucket: &Bucket<'_>) -> String {
        let name = digest([bucket.name]);
        format!("{}:rates}}:{name}:{}:{}", self.prefix, bucket.quota.per_minute, bucket.quota.burst)
    }

    /// The places of a user.
    pub(crate) fn slots(&self, user: &Owner) -> String {
        format!("{}:slots:{}}}", self.prefix, digest([&user.tenant, &user.issuer, &user.subject]))
    }

    /// The log of a turn: its head, and its events.
    pub(crate) fn events(&self, turn: TurnId) -> [String; 2] {
        [format!("{}:events:{turn}}}:head", self.prefix), format!("{}:events:{turn}}}:log", self.prefix)]
    }

    /// The channel of the messages for one host.
    pub(crate) fn host_channel(&self, host: Uuid) -> String {
        format!("{}}}:inbox:{host}", self.prefix)
    }

    /// The channel of the messages for all hosts.
    pub(crate) fn all_channel(&self) -> String {
        format!("{}}}:inbox:all", self.prefix)
    }
}

/// 128 bits of a hash over the parts, each with its length, so that no two lists of parts are the same text.
fn digest<'a>(parts: impl IntoIterator<Item: AsRef<str> + 'a>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        let part = part.as_ref();
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use masque_store::Quota;

    use super::*;

    #[test]
    fn every_name_begins_with_the_installation_and_shows_no_user() {
        let installation = Uuid::from_u128(7);
        let keys = Keys::new(installation);
        let user = Owner { tenant: "t".into(), issuer: "i".into(), subject: "secret{x}".into() };
        let quota = Quota { per_minute: NonZeroU32::MIN, burst: NonZeroU32::MIN };
        let [head, log] = keys.events(TurnId::new());
        for name in [
            keys.bucket(&Bucket { name: "secret{x}", quota }),
            keys.slots(&user),
            head,
            log,
            keys.host_channel(Uuid::from_u128(1)),
            keys.all_channel(),
        ] {
            assert!(name.starts_with(&format!("masque:v1:{{{installation}")), "{name}");
            assert!(!name.contains("secret"), "{name}");
            assert_eq!((name.matches('{').count(), name.matches('}').count()), (1, 1), "{name}");
        }
    }

    #[test]
    fn parts_are_not_confused() {
        assert_ne!(digest(["ab", "c"]), digest(["a", "bc"]));
        assert_ne!(digest(["ab"]), digest(["ab", ""]));
    }
}
