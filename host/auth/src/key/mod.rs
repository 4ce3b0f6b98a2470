//! API keys.
//!
//! The threat is a key that leaks: from a repository, a log, a backup of the database, or a client that someone leaves.
//! The policy: a key has 256 random bits and is shown once; the store keeps its id and a hash; keys have scopes, may be
//! restricted to companions, can end by themselves, can be rotated with an overlap, and can be revoked, which also ends
//! the tokens that were minted with them. Revoking is in force at once on the host that does it and within 5 seconds on
//! the others.
//!
//! Accepted: whoever has a key can use it until it is revoked, from any address. A host that can't reach the store goes
//! on with the keys that it read last; requests that need data then fail anyway.

mod record;
mod request;
mod text;

pub use record::ApiKey;
pub(crate) use record::KeyRejection;
pub use request::{KeyRequestError, NewKeyRequest, audit_detail, rotation_overlap};
pub(crate) use text::PREFIX;
pub use text::{KeyText, NotAKey};
