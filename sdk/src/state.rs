//! Stores values that outlive a call: for one conversation, for one user, or for all users of the tenant.
//!
//! The values belong to the plugin's name. All its versions read them, other plugins don't. Needs the grant `state`;
//! [`shared`] also needs `state_shared`.
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

/// Returns the store of this conversation.
pub fn conversation() -> Store {
    Store { scope: Scope::Conversation }
}

/// Returns the store of this user, for all conversations.
pub fn user() -> Store {
    Store { scope: Scope::User }
}

/// Returns the store that all users of the tenant share.
pub fn shared() -> Store {
    Store { scope: Scope::Shared }
}

/// The values of one scope. Keys have 1 to 512 bytes, values at most 1 MiB.
///
/// Every method may fail with `denied` if the grant is missing or, for a write, if a limit on what the call writes or on what
/// the plugin stores is reached, with `invalid` if a key or value is too long, and with
/// `unavailable` or `timeout` if the host's store can't be reached.
#[derive(Clone, Copy, Debug)]
pub struct Store {
    scope: Scope,
}

/// A stored value and its version.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored<T> {
    /// The value that was written.
    pub value: T,
    /// The version, which every write raises.
    pub version: u64,
}

/// The condition and the lifetime of a write.
#[derive(Clone, Copy, Debug, Default)]
pub struct Write {
    if_version: Option<u64>,
    ttl: Option<Duration>,
}

impl Write {
    /// A write without condition, whose value never expires.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes only if the key still has this version; 0 means only if it is absent. Otherwise fails with `conflict`.
    #[must_use]
    pub fn if_version(mut self, version: u64) -> Self {
        self.if_version = Some(version);
        self
    }

    /// Lets the value expire after this time.
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
    /// `invalid` if the stored value is not a `T`.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<Stored<T>>> {
        let Some(stored) = self.get_bytes(key)? else { return Ok(None) };
        let value = serde_json::from_slice(&stored.value)
            .map_err(|error| Failure::invalid(format!("the stored value `{key}`: {error}")))?;
        Ok(Some(Stored { value, version: stored.version }))
    }

    /// Reads the bytes of a value.
    ///
    /// # Errors
    /// Those of [`Store`].
    pub fn get_bytes(&self, key: &str) -> Result<Option<Stored<Vec<u8>>>> {
        Ok(host::get(self.scope, key)?.map(|entry| Stored { value: entry.value, version: entry.version }))
    }

    /// Writes a value as JSON and returns its new version.
    ///
    /// # Errors
    /// `internal` if JSON can't express the value.
    pub fn set<T: Serialize + ?Sized>(&self, key: &str, value: &T) -> Result<u64> {
        self.set_with(key, value, Write::new())
    }

    /// Writes a value as JSON under a condition or with a lifetime, and returns its new version.
    ///
    /// # Errors
    /// `conflict` if the condition is not met; `internal` if JSON can't express the value.
    pub fn set_with<T: Serialize + ?Sized>(&self, key: &str, value: &T, write: Write) -> Result<u64> {
        let json = serde_json::to_vec(value)
            .map_err(|error| Failure::internal(format!("the value for `{key}`: {error}")))?;
        self.set_bytes(key, &json, write)
    }

    /// Writes bytes and returns their new version.
    ///
    /// # Errors
    /// `conflict` if the condition is not met.
    pub fn set_bytes(&self, key: &str, value: &[u8], write: Write) -> Result<u64> {
        host::set(self.scope, key, value, write.options())
    }

    /// Deletes a value. Succeeds if it is absent.
    ///
    /// # Errors
    /// Those of [`Store`].
    pub fn delete(&self, key: &str) -> Result<()> {
        host::delete(self.scope, key, None)
    }

    /// Deletes a value if it still has this version.
    ///
    /// # Errors
    /// `conflict` if it has another version.
    pub fn delete_if(&self, key: &str, version: u64) -> Result<()> {
        host::delete(self.scope, key, Some(version))
    }

    /// Adds to a stored decimal integer, atomically, and returns the sum. An absent value counts as 0.
    ///
    /// # Errors
    /// `invalid` if the stored value is not an integer, or the sum does not fit into 64 bits.
    pub fn add(&self, key: &str, amount: i64) -> Result<i64> {
        host::add(self.scope, key, amount)
    }

    /// Returns keys that begin with `prefix` and come after the key `after`, in byte order: at most `limit`, and at most
    /// 1000.
    ///
    /// # Errors
    /// Those of [`Store`].
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
    fn scopes_are_separate_and_keys_are_listed_in_order() {
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
