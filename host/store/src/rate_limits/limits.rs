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

/// A bucket to take from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it holds. A bucket whose quota changes begins full.
    pub quota: Quota,
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
    /// Takes one from each bucket, in this order, up to the first that is empty. Returns the answers as far as that one,
    /// which is the last. The buckets before it keep what was taken; those behind it are left as they were. A bucket begins
    /// full. All buckets are asked in one round trip.
    ///
    /// Where buckets are shared and the shared memory can't be reached, those of this host are used, with the quota divided
    /// by the number of live hosts, but at least one request a minute and a burst of one.
    async fn take(&self, buckets: &[Bucket<'_>]) -> Vec<Taken>;

    /// Forgets buckets that are full again. To be called every minute or so.
    async fn forget(&self);
}
