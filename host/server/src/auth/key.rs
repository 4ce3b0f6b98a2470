//! API keys as text: `msq_ID_SECRET`. Shown once, when it is made; what is kept is the id and a hash.
//!
//! The prefix lets scanners of repositories find a key that leaked; the id finds its record without a search over
//! hashes. One plain SHA-256 is enough: the secret has 256 random bits, so there is nothing to guess that a slow hash
//! would protect.

use std::fmt;

use masque_store::{KeyHash, KeyId};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

pub(crate) const PREFIX: &str = "msq_";

/// Characters of the secret: 32 bytes in hexadecimal digits.
const SECRET: usize = 64;

/// A whole key, as a client sends it. Prints its id alone.
pub(crate) struct KeyText {
    pub(crate) id: KeyId,
    text: String,
}

/// Not in the form of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an API key is `msq_`, 16 hexadecimal digits, `_` and 64 more")]
pub(crate) struct NoKey;

impl KeyText {
    /// A new secret for the key of this id.
    ///
    /// # Errors
    /// The machine has no random numbers.
    pub(crate) fn new(id: KeyId) -> Result<Self, getrandom::Error> {
        let mut secret = [0; SECRET / 2];
        getrandom::fill(&mut secret)?;
        Ok(Self { text: format!("{PREFIX}{id}_{}", hex::encode(secret)), id })
    }

    /// A new key, with an id of its own.
    ///
    /// # Errors
    /// The machine has no random numbers.
    pub(crate) fn of_new_id() -> Result<Self, getrandom::Error> {
        let mut id = [0; 8];
        getrandom::fill(&mut id)?;
        Self::new(KeyId::from_bytes(id))
    }

    pub(crate) fn parse(text: &str) -> Result<Self, NoKey> {
        let (id, secret) = text.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_')).ok_or(NoKey)?;
        let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if secret.len() != SECRET || !secret.bytes().all(digit) {
            return Err(NoKey);
        }
        Ok(Self { id: id.parse().map_err(|_| NoKey)?, text: text.to_owned() })
    }

    /// For whoever made it, once.
    pub(crate) fn reveal(&self) -> &str {
        &self.text
    }

    pub(crate) fn hash(&self) -> KeyHash {
        KeyHash(Sha256::digest(&self.text).into())
    }

    /// Whether the hash is its own; takes as long for one that nearly is.
    pub(crate) fn is(&self, hash: &KeyHash) -> bool {
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
    fn a_key_is_read_as_it_was_written() {
        let key = KeyText::of_new_id().unwrap();
        let read = KeyText::parse(key.reveal()).unwrap();
        assert_eq!(read.id, key.id);
        assert!(read.is(&key.hash()));
    }

    #[test]
    fn a_key_that_differs_in_one_digit_is_another() {
        let key = KeyText::of_new_id().unwrap();
        let (kept, last) = key.reveal().split_at(key.reveal().len() - 1);
        let other = format!("{kept}{}", if last == "0" { "1" } else { "0" });
        assert!(!KeyText::parse(&other).unwrap().is(&key.hash()));
    }

    #[test]
    fn what_is_not_in_the_form_of_a_key_is_none() {
        let id = "0123456789abcdef";
        let secret = "0".repeat(SECRET);
        let cases = [
            String::new(),
            "msq_".into(),
            format!("{id}_{secret}"),
            format!("MSQ_{id}_{secret}"),
            format!("msq_{id}{secret}"),
            format!("msq_{id}_{secret}0"),
            format!("msq_{id}_{}", "0".repeat(SECRET - 1)),
            format!("msq_{id}_{}", "G".repeat(SECRET)),
            format!("msq_{id}_{}", "A".repeat(SECRET)),
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
    fn a_key_prints_nothing_of_its_secret() {
        let key = KeyText::of_new_id().unwrap();
        let secret = key.reveal().rsplit('_').next().unwrap();
        let printed = format!("{key:?}");
        assert!(!printed.contains(secret.get(..8).unwrap()), "{printed}");
    }
}
