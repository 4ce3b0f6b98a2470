//! Finds secrets in text, as they are written and behind the escapes of JSON strings.
//!
//! The threat: a guest makes an upstream or the log repeat a guess many times, and measures how long the search takes: a search
//! that stops at the first different byte takes longer, the more of a guess is right. The policy: the text's hash is compared with
//! the secret's at every place, which takes the same time whatever the text is (Karp and Rabin, 1987), and bytes are compared only
//! where the hashes are equal. The hash has a random base, so nobody can make a text that collides. A text with a
//! backslash is searched once more with its escapes read, whatever the secrets are. The accepted consequence: the time tells how
//! many secrets there are.

use std::borrow::Cow;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use masque_grants::{MIN_SECRET_BYTES, Secret};

use crate::json_escapes::Unescaped;

/// Stands in the place of a secret.
pub(crate) const MARK: &str = "[redacted]";

/// The base of the hash: odd, and another one in every process.
static BASE: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(()) | 1);

/// A set of secrets. Its `Debug` prints their number alone. Clones share them.
#[derive(Clone, Default)]
pub struct SecretMatcher(Arc<Needles>);

#[derive(Default)]
struct Needles {
    written: Vec<Needle>,
    /// The secrets with their escapes read, for a text that is read in the same way. A secret may hold a backslash.
    unescaped: Vec<Needle>,
}

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
        let mut meant: Vec<_> = secrets.iter().filter_map(unescaped).collect();
        meant.retain(|text| text.len() >= MIN_SECRET_BYTES);
        meant.sort();
        meant.dedup();
        Self(Arc::new(Needles {
            written: secrets.into_iter().map(Needle::new).collect(),
            unescaped: meant.into_iter().map(|text| Needle::new(Secret::from(text))).collect(),
        }))
    }

    /// Whether there is no secret to find.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.written.is_empty()
    }

    /// The length of the longest secret, as it is written without escapes.
    pub(crate) fn longest(&self) -> usize {
        self.0.written.iter().map(|needle| needle.bytes().len()).max().unwrap_or(0)
    }

    /// Where secrets are, in order, from the first byte that stands for a part of one to the last. Secrets that overlap are one
    /// range.
    pub(crate) fn find(&self, bytes: &[u8]) -> Vec<Range<usize>> {
        let mut found: Vec<_> = self.0.written.iter().flat_map(|needle| needle.find(bytes)).collect();
        if bytes.contains(&b'\\') {
            let meant: Vec<u8> = Unescaped::new(bytes).map(|spelled| spelled.byte).collect();
            found.extend(
                self.0.unescaped.iter().flat_map(|needle| written_places(bytes, &needle.find(&meant))),
            );
        }
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
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
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
        let hash = hash_of(secret.reveal().as_bytes(), *BASE);
        let leaving = secret.reveal().bytes().fold(1_u64, |power, _| power.wrapping_mul(*BASE));
        Self { secret, hash, leaving }
    }

    fn bytes(&self) -> &[u8] {
        self.secret.reveal().as_bytes()
    }

    /// Every place of this secret, overlapping ones too.
    fn find(&self, text: &[u8]) -> Vec<Range<usize>> {
        let (secret, base) = (self.bytes(), *BASE);
        let mut found = Vec::new();
        let mut compare = |start: usize| {
            let place = start..start + secret.len();
            if text.get(place.clone()) == Some(secret) {
                found.push(place);
            }
        };
        let (first, rest) = text.split_at(secret.len().min(text.len()));
        let mut hash = hash_of(first, base);
        if hash == self.hash {
            compare(0);
        }
        for (start, (leaving, entering)) in (1..).zip(text.iter().zip(rest)) {
            // The next hash waits for the one before in a single multiplication.
            let change = u64::from(*entering).wrapping_sub(u64::from(*leaving).wrapping_mul(self.leaving));
            hash = hash.wrapping_mul(base).wrapping_add(change);
            if hash == self.hash {
                compare(start);
            }
        }
        found
    }
}

/// The places, in bytes with escapes, of what stands for these places, in order, of the text that they mean.
fn written_places(bytes: &[u8], meant: &[Range<usize>]) -> Vec<Range<usize>> {
    let (mut spelled, mut at) = (Unescaped::new(bytes), 0);
    let places = meant.iter().filter_map(|place| {
        if let Some(others) = (place.start - at).checked_sub(1) {
            spelled.nth(others);
        }
        at = place.start;
        let mut secret = spelled.clone().take(place.len());
        let first = secret.next()?;
        Some(first.start..secret.last().unwrap_or(first).end)
    });
    places.collect()
}

/// The secret with its escapes read.
fn unescaped(secret: &Secret) -> Option<String> {
    let bytes = Unescaped::new(secret.reveal().as_bytes()).map(|spelled| spelled.byte).collect();
    String::from_utf8(bytes).ok()
}

fn hash_of(bytes: &[u8], base: u64) -> u64 {
    bytes.iter().fold(0, |hash, byte| hash.wrapping_mul(base).wrapping_add(u64::from(*byte)))
}

impl fmt::Debug for SecretMatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretMatcher({} secrets)", self.0.written.len())
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
            (&["sk-secret-1"], r"a \u0073k-secret-1 é", "a [redacted] é"),
            (&["sk-secret-1"], r"\u0073\u006b\u002D\u0073ecret-1\n", r"[redacted]\n"),
            (&["sk-secret-1"], r"\\u0073k-\\\\u0073ecret-1 \u0073k-secret-2", r"[redacted] \u0073k-secret-2"),
            (&["sk/secret/1"], r#"{"a": "sk\/secret\u002f1\""}"#, r#"{"a": "[redacted]\""}"#),
            (&["sk\"secret\"1"], r#"sk\"secret\u00221"#, "[redacted]"),
            (&[r"sk\secret\new"], r"sk\secret\new sk\\secret\\new", "[redacted] [redacted]"),
            (&["schlüssel"], r"ein schl\u00FCssel, schl\u00fcssel", "ein [redacted], [redacted]"),
            (&["sk-secret-1"], r"C:\sk-secret-1\", r"C:[redacted]\"),
        ] {
            assert_eq!(matcher(secrets).redact(text), redacted, "{secrets:?}");
        }
    }

    #[test]
    fn every_one_of_several_secrets_is_redacted_in_a_text_with_escapes() {
        for (secrets, text, redacted) in [
            (
                &["sk-secret-1"],
                r"\n sk-secret-1\u0073k-secret-1, sk-secret-\u0031",
                r"\n [redacted][redacted], [redacted]",
            ),
            (&["abcabcabc"], r"\n abcabc\u0061bcabc.", r"\n [redacted]."),
            (&["schlüssel"], r"schl\u00fcssel\u00fcschlüssel", r"[redacted]\u00fc[redacted]"),
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
