//! Finds secrets in text.
//!
//! The threat: a guest makes an upstream or the log repeat a guess many times, and measures how long the search takes: a search
//! that stops at the first different byte takes longer, the more of a guess is right. The policy: the text's hash is compared with
//! the secret's at every place, which takes the same time whatever the text is (Karp and Rabin, 1987), and bytes are compared only
//! where the hashes are equal. The hash has a random base, so nobody can make a text that collides. The accepted consequence: the
//! time tells how many secrets there are.

use std::borrow::Cow;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use masque_grants::{MIN_SECRET_BYTES, Secret};

/// Stands in the place of a secret.
pub(crate) const MARK: &str = "[redacted]";

/// The base of the hash: odd, and another one in every process.
static BASE: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(()) | 1);

/// A set of secrets. Its `Debug` prints their number alone. Clones share them.
#[derive(Clone, Default)]
pub struct SecretMatcher(Arc<[Needle]>);

struct Needle {
    secret: Secret,
    hash: u64,
    /// The weight of the byte that leaves the window.
    leaving: u64,
}

impl SecretMatcher {
    /// Secrets of fewer than eight bytes also occur in ordinary text and are left out.
    pub fn new(secrets: impl IntoIterator<Item = Secret>) -> Self {
        let mut secrets: Vec<_> =
            secrets.into_iter().filter(|secret| secret.reveal().len() >= MIN_SECRET_BYTES).collect();
        secrets.sort_by(|a, b| a.reveal().cmp(b.reveal()));
        secrets.dedup();
        Self(secrets.into_iter().map(Needle::new).collect())
    }

    /// Whether there is no secret to find.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The length of the longest secret.
    pub(crate) fn longest(&self) -> usize {
        self.0.iter().map(|needle| needle.bytes().len()).max().unwrap_or(0)
    }

    /// Where secrets are, in order. Secrets that overlap are one range.
    pub(crate) fn find(&self, bytes: &[u8]) -> Vec<Range<usize>> {
        let mut found: Vec<_> = self.0.iter().flat_map(|needle| needle.find(bytes)).collect();
        found.sort_by_key(|range| range.start);
        let mut merged: Vec<Range<usize>> = Vec::new();
        for range in found {
            match merged.last_mut() {
                Some(last) if range.start < last.end => last.end = last.end.max(range.end),
                _ => merged.push(range),
            }
        }
        merged
    }

    /// The text with `[redacted]` in place of each secret.
    pub(crate) fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let found = self.find(text.as_bytes());
        if found.is_empty() {
            return text.into();
        }
        let mut redacted = String::with_capacity(text.len());
        let mut at = 0;
        for range in found {
            // A secret is whole characters, so each range begins and ends between two of them.
            redacted.push_str(text.get(at..range.start).unwrap_or_default());
            redacted.push_str(MARK);
            at = range.end;
        }
        redacted.push_str(text.get(at..).unwrap_or_default());
        redacted.into()
    }
}

impl Needle {
    fn new(secret: Secret) -> Self {
        let hash = secret.reveal().bytes().fold(0, append);
        let leaving = secret.reveal().bytes().fold(1_u64, |power, _| power.wrapping_mul(*BASE));
        Self { secret, hash, leaving }
    }

    fn bytes(&self) -> &[u8] {
        self.secret.reveal().as_bytes()
    }

    /// Every place of this secret, overlapping ones too.
    fn find(&self, text: &[u8]) -> Vec<Range<usize>> {
        let length = self.bytes().len();
        let mut found = Vec::new();
        let mut hash = 0;
        let leaving = std::iter::repeat_n(None, length).chain(text.iter().map(Some));
        for (last, (byte, leaving)) in text.iter().zip(leaving).enumerate() {
            hash = append(hash, *byte);
            if let Some(leaving) = leaving {
                hash = hash.wrapping_sub(u64::from(*leaving).wrapping_mul(self.leaving));
            }
            if hash == self.hash && last + 1 >= length {
                let range = last + 1 - length..last + 1;
                if text.get(range.clone()) == Some(self.bytes()) {
                    found.push(range);
                }
            }
        }
        found
    }
}

fn append(hash: u64, byte: u8) -> u64 {
    hash.wrapping_mul(*BASE).wrapping_add(u64::from(byte))
}

impl fmt::Debug for SecretMatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretMatcher({} secrets)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matcher(secrets: &[&str]) -> SecretMatcher {
        SecretMatcher::new(secrets.iter().map(|text| Secret::from((*text).to_owned())))
    }

    #[test]
    fn a_secret_is_redacted_at_every_place() {
        for (secrets, text, redacted) in [
            (&["sk-secret-1"][..], "sk-secret-1", "[redacted]"),
            (&["sk-secret-1"], "a sk-secret-1 b sk-secret-1é", "a [redacted] b [redacted]é"),
            (&["sk-secret-1"], "sk-secret-2 sk-secret-", "sk-secret-2 sk-secret-"),
            (&["abcabcabc"], "abcabcabcabc.", "[redacted]."),
            (&["abcdefgh12", "gh12345678"], "abcdefgh12345678", "[redacted]"),
            (&["abcdefgh", "abcdefgh-12"], "abcdefgh-12 abcdefgh", "[redacted] [redacted]"),
            (&["schlüssel"], "ein schlüssel", "ein [redacted]"),
            (&["short"], "short", "short"),
            (&[], "text", "text"),
        ] {
            assert_eq!(matcher(secrets).redact(text), redacted, "{secrets:?}");
        }
    }

    #[test]
    fn no_secret_is_printed() {
        let printed = format!("{:?}", matcher(&["sk-secret-1"]));
        assert!(!printed.contains("sk-secret-1"), "{printed}");
    }
}
