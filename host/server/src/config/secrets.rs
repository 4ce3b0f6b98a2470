//! Secrets that tokens are signed with, as text: one, or a JWK Set (RFC 7517) of symmetric keys. And how good one is.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use masque_runtime::Secret;
use serde::Deserialize;

/// HMAC with SHA-256 wants a key as long as its hash (RFC 7518, section 3.2).
pub(crate) const LEAST_BYTES: usize = 32;
/// Fewer different characters than any 32 random bytes have, in whatever alphabet they are written.
const LEAST_CHARACTERS: usize = 10;
/// Bits for each character: random hexadecimal digits have 4, words of a language hardly 3 in so short a text.
const LEAST_ENTROPY: f64 = 3.0;
/// What secrets are called in examples and forgotten in files.
const PLACEHOLDERS: [&str; 11] = [
    "change",
    "secret-key",
    "secret_key",
    "your-secret",
    "your_secret",
    "jwt-secret",
    "jwt_secret",
    "string-secret",
    "256-bit",
    "example",
    "password",
];
/// Keys of one file.
const MOST: usize = 16;

/// One secret, and the `kid` by which tokens name it.
#[derive(Clone)]
pub(crate) struct NamedSecret {
    pub(crate) kid: Option<String>,
    /// As it was written, for whoever judges how good it is; the key itself where it was plain text.
    text: Secret,
    encoded: bool,
}

impl NamedSecret {
    /// The key.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let text = self.text.reveal();
        if self.encoded { URL_SAFE_NO_PAD.decode(text).unwrap_or_default() } else { text.as_bytes().to_vec() }
    }

    /// Why nobody should rely on it, or nothing.
    pub(crate) fn weakness(&self) -> Option<String> {
        let bytes = self.bytes();
        if bytes.len() < LEAST_BYTES {
            return Some(format!("the secret has {} bytes, and {LEAST_BYTES} are the least", bytes.len()));
        }
        // As it is written and as what it stands for: a phrase is no better for being encoded.
        let meant = String::from_utf8(bytes).ok();
        for text in std::iter::once(self.text.reveal()).chain(meant.as_deref()) {
            let lower = text.to_ascii_lowercase();
            if PLACEHOLDERS.iter().any(|word| lower.contains(word)) {
                return Some("the secret is one of those in examples".to_owned());
            }
            if is_guessable(text) {
                return Some(
                    "the secret is not random: a few characters, or a pattern that repeats".to_owned(),
                );
            }
        }
        None
    }
}

/// A plain text is its own key.
pub(super) fn plain(text: &str) -> NamedSecret {
    NamedSecret { kid: None, text: Secret::from(text.to_owned()), encoded: false }
}

/// One secret, or a JWK Set: the first key signs.
pub(super) fn parse(text: &str) -> Result<Vec<NamedSecret>, String> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Key>,
    }
    #[derive(Deserialize)]
    struct Key {
        kty: String,
        kid: Option<String>,
        k: Option<String>,
        alg: Option<String>,
    }
    let text = text.trim();
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    if !text.starts_with('{') {
        return Ok(vec![plain(text)]);
    }
    // serde's own words would quote what they met.
    let set: Set = serde_json::from_str(text)
        .map_err(|error| format!("no JWK Set (line {}, column {})", error.line(), error.column()))?;
    if set.keys.is_empty() || set.keys.len() > MOST {
        return Err(format!("a JWK Set of 1 to {MOST} keys is wanted"));
    }
    let mut secrets: Vec<NamedSecret> = Vec::new();
    for (index, key) in set.keys.into_iter().enumerate() {
        let wrong = |what: &str| Err(format!("key {} of the JWK Set {what}", index + 1));
        if key.kty != "oct" || key.alg.is_some_and(|alg| alg != "HS256") {
            return wrong("is not for HS256: `kty` is \"oct\"");
        }
        let Some(kid) = key.kid.filter(|kid| (1..=255).contains(&kid.len())) else {
            return wrong("has no `kid`, by which tokens name it");
        };
        if secrets.iter().any(|other| other.kid.as_ref() == Some(&kid)) {
            return wrong("has the `kid` of another");
        }
        match key.k {
            Some(k) if URL_SAFE_NO_PAD.decode(&k).is_ok_and(|bytes| !bytes.is_empty()) => {
                secrets.push(NamedSecret { kid: Some(kid), text: Secret::from(k), encoded: true });
            }
            _ => return wrong("has no `k` in base64url"),
        }
    }
    Ok(secrets)
}

/// By its characters alone: what a person made up, not what a person could find out.
pub(super) fn is_guessable(text: &str) -> bool {
    let mut counts = std::collections::BTreeMap::<char, usize>::new();
    text.chars().for_each(|character| *counts.entry(character).or_default() += 1);
    let length: usize = counts.values().sum();
    let entropy: f64 =
        counts.values().map(|count| *count as f64 / length as f64).map(|share| -share * share.log2()).sum();
    counts.len() < LEAST_CHARACTERS || entropy < LEAST_ENTROPY || repeats(text) || counts_up(text)
}

/// Whether the text is a shorter one, several times over.
fn repeats(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=bytes.len() / 2).any(|period| {
        let mut shifted = bytes.iter().skip(period);
        bytes.iter().zip(&mut shifted).all(|(one, other)| one == other)
    })
}

/// Whether most characters are the successors of those before them, as in `0123456789` or `abcdef`.
fn counts_up(text: &str) -> bool {
    let bytes = text.as_bytes();
    let pairs = bytes.iter().zip(bytes.iter().skip(1));
    let steps = pairs.filter(|(one, other)| other.wrapping_sub(**one) == 1).count();
    steps * 2 > bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_someone_made_up_is_weak() {
        let weak = [
            "secret",
            "change-me",
            "your-secret-key-here-change-in-production",
            "super-secret-key-that-nobody-will-guess",
            "0123456789012345678901234567890123456789",
            "abcdefghijklmnopqrstuvwxyz0123456789",
            &"a".repeat(64),
            &"abab".repeat(16),
            &"correct horse battery".repeat(2),
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaabcdefghij",
        ];
        for text in weak {
            assert!(plain(text).weakness().is_some(), "{text}");
        }
        let good = [
            "pS0bXq7s0pGJx5m1cVYwN2v8dLr4TzKeHfUaQ3oW6Rg=",
            "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "Zk8!mQ2#rT5$vX9&bN3*jL7(wP1)yC6-",
        ];
        for text in good {
            assert_eq!(plain(text).weakness(), None, "{text}");
        }
    }

    #[test]
    fn a_file_holds_one_secret_or_several_with_names() {
        let only = |text: &str| {
            let keys = parse(text).unwrap();
            keys.into_iter().map(|key| (key.kid.clone(), key.bytes())).collect::<Vec<_>>()
        };
        assert_eq!(only("a secret\n"), [(None, b"a secret".to_vec())]);
        let set = r#"{"keys": [{"kty": "oct", "kid": "b", "k": "AQID"}, {"kty": "oct", "kid": "a", "k": "BA", "alg": "HS256"}]}"#;
        assert_eq!(only(set), [(Some("b".to_owned()), vec![1, 2, 3]), (Some("a".to_owned()), vec![4])]);
        for wrong in [
            "",
            " \n",
            "{",
            "{}",
            r#"{"keys": []}"#,
            r#"{"keys": [{"kty": "RSA", "kid": "a", "k": "AQID"}]}"#,
            r#"{"keys": [{"kty": "oct", "k": "AQID"}]}"#,
            r#"{"keys": [{"kty": "oct", "kid": "a"}]}"#,
            r#"{"keys": [{"kty": "oct", "kid": "a", "k": ""}]}"#,
            r#"{"keys": [{"kty": "oct", "kid": "a", "k": "AQID="}]}"#,
            r#"{"keys": [{"kty": "oct", "kid": "a", "k": "AQID", "alg": "HS512"}]}"#,
            r#"{"keys": [{"kty": "oct", "kid": "a", "k": "AQID"}, {"kty": "oct", "kid": "a", "k": "AQIE"}]}"#,
        ] {
            let what = parse(wrong).map(drop).unwrap_err();
            assert!(!what.contains("AQID"), "{what}");
        }
    }
}
