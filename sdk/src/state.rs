//! Values that outlive a call: of one conversation, of one user, or shared by all users of the tenant.
//!
//! They belong to the plugin's name, across its versions, and no other plugin reads them. Needs the grant `state`;
//! [`shared`] needs `state-shared` as well.
//!
//! ```
//! use masque_sdk::state;
//!
//! let user = state::user();
//! user.set("mood", &"curious")?;
//! let mood = user.get::<String>("mood")?.map(|stored| stored.value);
//! assert_eq!(mood.as_deref(), Some("curious"));
//! assert_eq!(user.add("visits", 1)?, 1);
//! # Ok::<(), masque_sdk::Failure>(())
//! ```

use crate::bindings::state::{Scope, WriteOptions};
use crate::{Failure, Result, host};
use serde::{Serialize, de::DeserializeOwned};
use std::time::Duration;

/// What belongs to this conversation.
pub fn conversation() -> Store {
    Store { scope: Scope::Conversation }
}

/// What belongs to this user, in every conversation.
pub fn user() -> Store {
    Store { scope: Scope::User }
}

/// What belongs to every user of the tenant.
pub fn shared() -> Store {
    Store { scope: Scope::Shared }
}

/// The values of one scope. Keys have 1 to 512 bytes, values at most 1 MiB.
///
/// Every method may fail with `denied` where the grant is missing, with `invalid` for a key or value that is too long,
/// and with `unavailable` or `timeout` where the host's store is away.
#[derive(Clone, Copy, Debug)]
pub struct Store {
    scope: Scope,
}

/// A stored value and its version.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored<T> {
    /// What was written.
    pub value: T,
    /// Raised by every write.
    pub version: u64,
}

/// On which condition and for how long a value is written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Write {
    if_version: Option<u64>,
    ttl: Option<Duration>,
}

impl Write {
    /// Without condition, for good.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only if the key has this version still; 0 means only if it is absent. Otherwise the failure is `conflict`.
    #[must_use]
    pub fn if_version(mut self, version: u64) -> Self {
        self.if_version = Some(version);
        self
    }

    /// Absent again after this time.
    #[must_use]
    pub fn for_time(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    fn options(self) -> WriteOptions {
        let ttl_ms = self.ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        WriteOptions { if_version: self.if_version, ttl_ms }
    }
}

impl Store {
    /// Reads a value that was written with [`set`](Self::set).
    ///
    /// # Errors
    /// `invalid` where what is stored does not read as a `T`.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<Stored<T>>> {
        let Some(stored) = self.get_bytes(key)? else { return Ok(None) };
        let value = serde_json::from_slice(&stored.value)
            .map_err(|error| Failure::invalid(format!("the stored value `{key}`: {error}")))?;
        Ok(Some(Stored { value, version: stored.version }))
    }

    /// Reads a value as it is stored.
    ///
    /// # Errors
    /// As said of [`Store`].
    pub fn get_bytes(&self, key: &str) -> Result<Option<Stored<Vec<u8>>>> {
        Ok(host::get(self.scope, key)?.map(|entry| Stored { value: entry.value, version: entry.version }))
    }

    /// Writes a value as JSON and returns its new version.
    ///
    /// # Errors
    /// `internal` where JSON cannot express the value.
    pub fn set<T: Serialize + ?Sized>(&self, key: &str, value: &T) -> Result<u64> {
        self.set_with(key, value, Write::new())
    }

    /// Writes a value as JSON, on a condition or for a time, and returns its new version.
    ///
    /// # Errors
    /// `conflict` where the condition is not met; `internal` where JSON cannot express the value.
    pub fn set_with<T: Serialize + ?Sized>(&self, key: &str, value: &T, write: Write) -> Result<u64> {
        let json = serde_json::to_vec(value)
            .map_err(|error| Failure::internal(format!("the value for `{key}`: {error}")))?;
        self.set_bytes(key, &json, write)
    }

    /// Writes bytes and returns their new version.
    ///
    /// # Errors
    /// `conflict` where the condition is not met.
    pub fn set_bytes(&self, key: &str, value: &[u8], write: Write) -> Result<u64> {
        host::set(self.scope, key, value, write.options())
    }

    /// Deletes a value; deleting an absent one succeeds.
    ///
    /// # Errors
    /// As said of [`Store`].
    pub fn delete(&self, key: &str) -> Result<()> {
        host::delete(self.scope, key, None)
    }

    /// Deletes a value if it has this version still.
    ///
    /// # Errors
    /// `conflict` where it has another.
    pub fn delete_if(&self, key: &str, version: u64) -> Result<()> {
        host::delete(self.scope, key, Some(version))
    }

    /// Adds to a decimal integer, absent counting as 0, and returns the sum. Concurrent additions are never lost.
    ///
    /// # Errors
    /// `invalid` where the stored value is no integer, or the sum does not fit 64 bits.
    pub fn add(&self, key: &str, amount: i64) -> Result<i64> {
        host::add(self.scope, key, amount)
    }

    /// Keys that begin with `prefix`, in byte order, after the key `after`; at most `limit`, itself at most 1000.
    ///
    /// # Errors
    /// As said of [`Store`].
    pub fn list(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<String>> {
        host::list(self.scope, prefix, after, limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_write_on_an_old_version_is_a_conflict() {
        testing::reset();
        let store = conversation();
        let first = store.set_with("k", &1, Write::new().if_version(0)).unwrap();
        store.set("k", &2).unwrap();
        let failure = store.set_with("k", &3, Write::new().if_version(first)).unwrap_err();
        assert_eq!(failure.code, "conflict");
        assert_eq!(store.get::<i32>("k").unwrap().unwrap().value, 2);
    }

    #[test]
    fn scopes_are_apart_and_keys_are_listed_in_order() {
        testing::reset();
        user().set("b", &1).unwrap();
        user().set("a", &1).unwrap();
        shared().set("c", &1).unwrap();
        assert_eq!(user().list("", None, 10).unwrap(), ["a", "b"]);
        assert_eq!(user().list("", Some("a"), 10).unwrap(), ["b"]);
        assert!(conversation().get_bytes("a").unwrap().is_none());
    }

    #[test]
    fn a_value_of_another_shape_is_refused_by_its_key() {
        testing::reset();
        user().set("age", &"old").unwrap();
        let failure = user().get::<u8>("age").unwrap_err();
        assert!(failure.code == "invalid" && failure.message.contains("`age`"), "{failure:?}");
    }
}
