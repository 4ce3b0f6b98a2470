//! Limits: how often an address, a user and an API key may ask, and how many of the model's tokens a user and a key may
//! use in a day.
//!
//! The numbers come from the configuration and from the keys. The store counts: token buckets in memory, used tokens in
//! SQL, of which each host has blocks in memory.

pub mod headers;
mod limiter;

pub use limiter::{LimitDecision, LimitOptions, LimitPolicy, UsageLimiter};
