//! The contract of rate limits: token buckets by name and quota.

use std::num::NonZeroU32;
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;

/// What a bucket holds and how fast it fills: of any stretch of time, at most `burst` + `per_minute` × its minutes
/// pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Quota {
    /// The sustained rate.
    pub per_minute: NonZeroU32,
    /// How many requests may come at once after a pause.
    pub burst: NonZeroU32,
}

/// The answer of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Whether the request may pass.
    pub allowed: bool,
    /// How many more requests could pass at once.
    pub remaining: u32,
    /// How long until a request can pass again; zero if one can now.
    pub wait: Duration,
}

/// Buckets by name.
#[async_trait]
pub trait RateLimits: Send + Sync {
    /// Takes one from the bucket, if it is not empty. A bucket begins full.
    async fn take(&self, bucket: &str, quota: Quota) -> Taken;

    /// Forgets buckets that are full again. To be called every minute or so.
    async fn forget(&self);
}
