//! How often something may happen: token buckets, one for each name and quota.
//!
//! A trait, since hosts that serve together may keep their buckets together; [`InProcessRateLimits`] keeps those of one host. Who
//! is limited, and to what, is the caller's business.

use std::num::NonZeroU32;
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;

mod in_process;

pub use in_process::InProcessRateLimits;

/// What a bucket holds and how fast it fills: of any stretch of time, at most `burst` + `per_minute` × its minutes pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Quota {
    /// The sustained rate.
    pub per_minute: NonZeroU32,
    /// What may come at once after a pause.
    pub burst: NonZeroU32,
}

/// The answer of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Whether there was something to take.
    pub allowed: bool,
    /// How many more could be taken at once.
    pub remaining: u32,
    /// When there will be something to take again; zero if there is.
    pub wait: Duration,
}

/// Buckets by name.
#[async_trait]
pub trait RateLimits: Send + Sync {
    /// Takes one from the bucket, if there is one. A bucket that was never asked is full.
    async fn take(&self, bucket: &str, quota: Quota) -> Taken;

    /// Forgets buckets that are full again. To be called from time to time.
    async fn forget(&self);
}
