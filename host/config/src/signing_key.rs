//! Keys that sign tokens, parsed from text: one secret, or a JWK Set (RFC 7517) of symmetric keys; and whether a key is
//! strong.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use masque_grants::Secret;
use serde::Deserialize;

use crate::secret_text::trimmed;

/// HMAC with SHA-256 needs a key as long as its hash (RFC 7518, section 3.2).
const MIN_BYTES: usize = 32;
/// 32 random bytes have more different characters in every usual encoding.
const MIN_DISTINCT_CHARACTERS: usize = 10;
/// Entropy in bits per character. Random hexadecimal digits have about 4; words in a text of this length have less than 3.
const MIN_ENTROPY: f64 = 3.0;
/// Words in the secrets of examples, which are copied and forgotten.
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
/// Keys in one file.
const MAX_KEYS: usize = 16;

/// A symmetric key that signs tokens. It has no `Debug`.
#[derive(Clone)]
pub struct SigningKey {
    /// The `kid` with which tokens name the key.
    pub kid: Option<String>,
    /// The text as it was written, which is judged for its strength. For a plain text it is the key itself.
    text: Secret,
    /// Whether the text is the key in base64url.
    is_encoded: bool,
}

impl SigningKey {
    /// A key that is a plain text.
    pub(crate) fn from_text(text: &str) -> Self {
        Self { kid: None, text: Secret::from(text.to_owned()), is_encoded: false }
    }

    /// The text of a key that is written as it is.
    pub(crate) fn plain_text(&self) -> Option<&str> {
        (!self.is_encoded).then(|| self.text.reveal())
    }

    /// The key itself.
    pub fn bytes(&self) -> Vec<u8> {
        let text = self.text.reveal();
        if self.is_encoded {
            URL_SAFE_NO_PAD.decode(text).unwrap_or_default()
        } else {
            text.as_bytes().to_vec()
        }
    }

    /// Why the key is weak, or `None` if it is strong.
    pub fn weakness(&self) -> Option<String> {
        let bytes = self.bytes();
        if bytes.len() < MIN_BYTES {
            return Some(format!("the secret has {} bytes, and {MIN_BYTES} are the least", bytes.len()));
        }
        // Judge the text and the key: encoding a phrase in base64url does not make it stronger.
        let decoded = String::from_utf8(bytes).ok();
        for text in std::iter::once(self.text.reveal()).chain(decoded.as_deref()) {
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

/// Parses one secret, or a JWK Set.
///
/// # Errors
/// What is wrong with the text, without quoting it.
pub(crate) fn parse_keys(text: &str) -> Result<Vec<SigningKey>, String> {
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
    let text = trimmed(text);
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    if !text.starts_with('{') {
        return Ok(vec![SigningKey::from_text(text)]);
    }
    // The message of serde is not used: it quotes the text.
    let set: Set = serde_json::from_str(text)
        .map_err(|error| format!("no JWK Set (line {}, column {})", error.line(), error.column()))?;
    if set.keys.is_empty() || set.keys.len() > MAX_KEYS {
        return Err(format!("a JWK Set of 1 to {MAX_KEYS} keys is wanted"));
    }
    let mut secrets: Vec<SigningKey> = Vec::new();
    for (index, key) in set.keys.into_iter().enumerate() {
        let refused = |what: &str| Err(format!("key {} of the JWK Set {what}", index + 1));
        if key.kty != "oct" || key.alg.is_some_and(|alg| alg != "HS256") {
            return refused("is not for HS256: `kty` is \"oct\"");
        }
        let Some(kid) = key.kid.filter(|kid| (1..=255).contains(&kid.len())) else {
            return refused("has no `kid`, by which tokens name it");
        };
        if secrets.iter().any(|other| other.kid.as_ref() == Some(&kid)) {
            return refused("has the `kid` of another");
        }
        match key.k {
            Some(k) if URL_SAFE_NO_PAD.decode(base64url(&k)).is_ok_and(|bytes| !bytes.is_empty()) => {
                secrets.push(SigningKey {
                    kid: Some(kid),
                    text: Secret::from(base64url(&k)),
                    is_encoded: true,
                });
            }
            _ => return refused("has no `k` in base64url"),
        }
    }
    Ok(secrets)
}

/// Base64 in the form that RFC 7515, section 2 asks for: tools also write padding and the standard alphabet.
fn base64url(text: &str) -> String {
    text.trim_end_matches('=').replace('+', "-").replace('/', "_")
}

/// Whether the text has a pattern that random texts do not have. It judges the characters only, and knows no dictionary.
pub(crate) fn is_guessable(text: &str) -> bool {
    let mut counts = std::collections::BTreeMap::<char, usize>::new();
    text.chars().for_each(|character| *counts.entry(character).or_default() += 1);
    let length: usize = counts.values().sum();
    let entropy: f64 =
        counts.values().map(|count| *count as f64 / length as f64).map(|share| -share * share.log2()).sum();
    counts.len() < MIN_DISTINCT_CHARACTERS || entropy < MIN_ENTROPY || repeats(text) || counts_up(text)
}

/// Whether the text is a repetition of a shorter text.
fn repeats(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=bytes.len() / 2).any(|period| {
        let mut shifted = bytes.iter().skip(period);
        bytes.iter().zip(&mut shifted).all(|(one, other)| one == other)
    })
}

/// Whether more than half of the characters are the successors of the characters before them, as in `0123456789`.
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
    fn a_secret_that_a_person_made_up_is_weak() {
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
            assert!(SigningKey::from_text(text).weakness().is_some(), "{text}");
        }
        let good = [
            "pS0bXq7s0pGJx5m1cVYwN2v8dLr4TzKeHfUaQ3oW6Rg=",
            "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "Zk8!mQ2#rT5$vX9&bN3*jL7(wP1)yC6-",
        ];
        for text in good {
            assert_eq!(SigningKey::from_text(text).weakness(), None, "{text}");
        }
    }

    #[test]
    fn a_file_holds_one_secret_or_several_with_names() {
        let only = |text: &str| {
            let keys = parse_keys(text).unwrap();
            keys.into_iter().map(|key| (key.kid.clone(), key.bytes())).collect::<Vec<_>>()
        };
        assert_eq!(only("a secret\n"), [(None, b"a secret".to_vec())]);
        let set = r#"{"keys": [{"kty": "oct", "kid": "b", "k": "AQID"}, {"kty": "oct", "kid": "a", "k": "BA", "alg": "HS256"}]}"#;
        assert_eq!(only(set), [(Some("b".to_owned()), vec![1, 2, 3]), (Some("a".to_owned()), vec![4])]);
        let spelled =
            r#"{"keys": [{"kty": "oct", "kid": "a", "k": "-_8="}, {"kty": "oct", "kid": "b", "k": "+/8"}]}"#;
        assert_eq!(
            only(spelled),
            [(Some("a".to_owned()), vec![0xfb, 0xff]), (Some("b".to_owned()), vec![0xfb, 0xff])]
        );
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
            r#"{"keys": [{"kty": "oct", "kid": "a", "k": "AQID*"}]}"#,
            r#"{"keys": [{"kty": "oct", "kid": "a", "k": "AQID", "alg": "HS512"}]}"#,
            r#"{"keys": [{"kty": "oct", "kid": "a", "k": "AQID"}, {"kty": "oct", "kid": "a", "k": "AQIE"}]}"#,
        ] {
            let what = parse_keys(wrong).map(drop).unwrap_err();
            assert!(!what.contains("AQID"), "{what}");
        }
    }
}
