//! What the hosts of an installation share in memory ([`Shared`](masque_store::Shared)), in Redis or Valkey.
//!
//! Each operation is one script on the server, and so one atomic step and one round trip. Redis may disappear at any
//! moment: operations never fail, but are answered from the memory of this host until it is back. [`open`] refuses only
//! what waiting can't mend.
//!
//! The feature `testing` adds the module `testing`: servers for tests.
#![deny(missing_docs)]

mod address;
mod backoff;
mod circuit;
mod connecting;
mod inbox;
mod inspection;
mod keys;
mod link;
mod local_rates;
mod open_error;
mod opening;
mod options;
mod rate_limits;
mod reconnecting;
mod refusal;
mod script;
#[cfg(feature = "testing")]
pub mod testing;
mod turn_events;
mod turn_slots;

pub use open_error::RedisOpenError;
pub use opening::open;
pub use options::RedisOptions;
