//! API keys as text: `msq_ID_SECRET`.
//!
//! The prefix lets scanners of repositories find a leaked key; the id finds its record without a search over hashes.
//! The store keeps one plain SHA-256 of the text: the secret has 256 random bits, so a slow hash would protect nothing
//! more.

use std::fmt;

use masque_store::{KeyHash, KeyId};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// What every key begins with.
pub(crate) const PREFIX: &str = "msq_";

/// The length of the secret: 32 bytes in hexadecimal digits.
const SECRET_DIGITS: usize = 64;

/// A whole key, as a client sends it. Its `Debug` form shows the id alone.
pub struct KeyText {
    /// The public part.
    pub id: KeyId,
    text: String,
}

/// A text that does not have the form of an API key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an API key is `msq_`, 16 hexadecimal digits, `_` and 64 more")]
pub struct NotAKey;

impl KeyText {
    /// Makes a new secret for the key with this id.
    ///
    /// # Errors
    /// The operating system has no random numbers.
    pub fn generate_for(id: KeyId) -> Result<Self, getrandom::Error> {
        let mut secret = [0; SECRET_DIGITS / 2];
        getrandom::fill(&mut secret)?;
        Ok(Self { text: format!("{PREFIX}{id}_{}", hex::encode(secret)), id })
    }

    /// Makes a new key with an id of its own.
    ///
    /// # Errors
    /// The operating system has no random numbers.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut id = [0; 8];
        getrandom::fill(&mut id)?;
        Self::generate_for(KeyId::from_bytes(id))
    }

    /// Reads a key as a client sent it.
    ///
    /// # Errors
    /// The text does not have the form of a key.
    pub fn parse(text: &str) -> Result<Self, NotAKey> {
        let (id, secret) = text.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_')).ok_or(NotAKey)?;
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if secret.len() != SECRET_DIGITS || !secret.bytes().all(is_digit) {
            return Err(NotAKey);
        }
        Ok(Self { id: id.parse().map_err(|_| NotAKey)?, text: text.to_owned() })
    }

    /// The whole text, to be shown once to whoever had the key made.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// What the store keeps of the key.
    pub fn hash(&self) -> KeyHash {
        KeyHash(Sha256::digest(&self.text).into())
    }

    /// Whether the hash is that of this key. Takes the same time wherever two hashes differ.
    pub fn matches(&self, hash: &KeyHash) -> bool {
        self.hash().0.ct_eq(&hash.0).into()
    }
}

impl fmt::Debug for KeyText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{PREFIX}{}_…", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_parsed_back_from_its_text() {
        let key = KeyText::generate().unwrap();
        let read = KeyText::parse(key.reveal()).unwrap();
        assert_eq!(read.id, key.id);
        assert!(read.matches(&key.hash()));
    }

    #[test]
    fn a_key_that_differs_in_one_digit_is_another() {
        let key = KeyText::generate().unwrap();
        let (kept, last) = key.reveal().split_at(key.reveal().len() - 1);
        let other = format!("{kept}{}", if last == "0" { "1" } else { "0" });
        assert!(!KeyText::parse(&other).unwrap().matches(&key.hash()));
    }

    #[test]
    fn a_text_in_another_form_is_no_key() {
        let id = "0123456789abcdef";
        let secret = "0".repeat(SECRET_DIGITS);
        let cases = [
            String::new(),
            "msq_".into(),
            format!("{id}_{secret}"),
            format!("MSQ_{id}_{secret}"),
            format!("msq_{id}{secret}"),
            format!("msq_{id}_{secret}0"),
            format!("msq_{id}_{}", "0".repeat(SECRET_DIGITS - 1)),
            format!("msq_{id}_{}", "G".repeat(SECRET_DIGITS)),
            format!("msq_{id}_{}", "A".repeat(SECRET_DIGITS)),
            format!("msq_{}_{secret}", "x".repeat(16)),
            format!("msq_{id}0_{secret}"),
            format!("msq_' OR 1=1 --_{secret}"),
            format!("msq_{id}_{secret} "),
        ];
        for text in cases {
            assert!(KeyText::parse(&text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_debug_form_shows_nothing_of_the_secret() {
        let key = KeyText::generate().unwrap();
        let secret = key.reveal().rsplit('_').next().unwrap();
        let printed = format!("{key:?}");
        assert!(!printed.contains(secret.get(..8).unwrap()), "{printed}");
    }
}
