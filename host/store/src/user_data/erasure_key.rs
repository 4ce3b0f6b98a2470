//! Names of erased users: keyed hashes that only the installation can make.
//!
//! A tombstone and an entry of the erasure list have to tell whether a user of an old backup was erased, without naming
//! them. The threat is a reader of the list, which lies outside of the database and is kept for as long as backups are: a
//! plain hash of an e-mail address is found by trying addresses. The policy: the name is an HMAC-SHA-256 of tenant, issuer
//! and subject under a key of 32 random bytes that is made with the database and never leaves it. Every backup and dump
//! contains the key, however old, so the list can be applied to each of them.
//!
//! Accepted: whoever has a database, or a backup of it, has the key and can try identities. The database itself names its
//! users in plain text, so the hash protects only where the list is read alone.

use std::fmt;
use std::str::FromStr;

use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::error::StoreError;
use crate::owner::Owner;

/// The bytes of a key.
const KEY_BYTES: usize = 32;
/// The block of SHA-256, to which a key is filled up with zeros (RFC 2104, section 2).
const BLOCK_BYTES: usize = 64;
/// Hexadecimal digits of a name.
const NAME_DIGITS: usize = 64;
/// Hexadecimal digits of a pseudonym.
const PSEUDONYM_DIGITS: usize = 16;

/// The identity of an installation: made once, with its first migration, and contained in every backup.
#[derive(Clone)]
pub struct Installation {
    /// Tells it from others.
    pub id: Uuid,
    key: [u8; KEY_BYTES],
}

impl Installation {
    /// An installation as stored.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if the key does not have 32 bytes.
    pub fn new(id: Uuid, key: &[u8]) -> Result<Self, StoreError> {
        let key = key.try_into().map_err(|_| StoreError::Corrupt("the key of erasures is damaged".into()))?;
        Ok(Self { id, key })
    }

    /// The name of a user in tombstones and in the erasure list.
    pub fn erased_name(&self, owner: &Owner) -> ErasedName {
        let mut block = [0; BLOCK_BYTES];
        for (padded, byte) in block.iter_mut().zip(self.key) {
            *padded = byte;
        }
        let mut mac = <Hmac<Sha256> as KeyInit>::new(&block.into());
        for part in [&owner.tenant, &owner.issuer, &owner.subject] {
            // The length keeps identities apart whose parts are divided otherwise.
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        ErasedName(hexadecimal(&mac.finalize().into_bytes()))
    }
}

impl Installation {
    /// The name of an account of spending in tombstones: SHA-256 of the key and the account. The key has always the same
    /// length and comes first, so the hash says nothing to who does not have it; unlike an HMAC, PostgreSQL can compute it.
    pub fn spending_name(&self, account: &str) -> ErasedName {
        ErasedName(hexadecimal(&Sha256::new().chain_update(self.key).chain_update(account).finalize()))
    }
}

/// Does not show the key.
impl fmt::Debug for Installation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Installation").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The keyed hash of a user's identity, as 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ErasedName(String);

impl ErasedName {
    /// All digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 16 digits: what the audit log and operators see.
    pub fn pseudonym(&self) -> &str {
        self.0.get(..PSEUDONYM_DIGITS).unwrap_or_default()
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl FromStr for ErasedName {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == NAME_DIGITS && text.bytes().all(is_digit) {
            Ok(Self(text.to_owned()))
        } else {
            Err(StoreError::Corrupt("the name of an erased user is not 64 hexadecimal digits".into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(tenant: &str, issuer: &str, subject: &str) -> Owner {
        Owner { tenant: tenant.into(), issuer: issuer.into(), subject: subject.into() }
    }

    #[test]
    fn a_name_depends_on_the_key_and_on_every_part_of_the_identity() {
        let installation = |byte| Installation::new(Uuid::nil(), &[byte; 32]).unwrap();
        let name = installation(1).erased_name(&owner("t", "i", "s"));
        assert_eq!(name, installation(1).erased_name(&owner("t", "i", "s")));
        assert_ne!(name, installation(2).erased_name(&owner("t", "i", "s")));
        for other in [owner("ti", "", "s"), owner("t", "is", ""), owner("x", "i", "s"), owner("t", "i", "x")]
        {
            assert_ne!(name, installation(1).erased_name(&other), "{other:?}");
        }
        assert_eq!(name.as_str().parse::<ErasedName>().unwrap(), name);
        assert_eq!(name.pseudonym(), &name.as_str()[..16]);
    }

    #[test]
    fn a_name_is_the_hmac_of_rfc_2104() {
        // Computed with Python's `hmac`.
        let name =
            Installation::new(Uuid::nil(), &[7; 32]).unwrap().erased_name(&owner("default", "masque", "ana"));
        assert_eq!(name.as_str(), "cd872631695464d390dbfb4a46fe01e4206ed6a7036f5dbd4c4168f97aee1ee3");
    }

    #[test]
    fn the_name_of_an_account_depends_on_the_key_and_is_no_name_of_a_user() {
        let installation = |byte| Installation::new(Uuid::nil(), &[byte; 32]).unwrap();
        let name = installation(7).spending_name("user:default|6|masque|ana");
        // Computed with Python's `hashlib`.
        assert_eq!(name.as_str(), "0fbe9185507e07de897336452d8cb55ecee32c75b9a3bf43507e48efe72de2ac");
        assert_ne!(name, installation(8).spending_name("user:default|6|masque|ana"));
        assert_ne!(name, installation(7).spending_name("user:default|6|masque|ann"));
    }

    #[test]
    fn a_key_of_another_length_and_a_name_of_other_characters_are_damage() {
        assert!(Installation::new(Uuid::nil(), &[1; 31]).is_err());
        for text in ["", "abc", &"G".repeat(64), &"A".repeat(64)] {
            assert!(text.parse::<ErasedName>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_key_is_not_printed() {
        let text = format!("{:?}", Installation::new(Uuid::nil(), &[171; 32]).unwrap());
        assert!(!text.contains("171"), "{text}");
    }
}
