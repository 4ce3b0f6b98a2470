//! Rate limits over all hosts.
//!
//! All buckets of a call are one step on the server: those behind an empty one are not asked. So they are on one node of a
//! cluster, and all buckets of an installation are.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use masque_store::{Bucket, LiveHosts, RateLimits, Taken};
use redis::RedisResult;

use crate::circuit::Circuit;
use crate::keys::Keys;
use crate::link::Link;
use crate::local_rates::LocalRates;
use crate::script::TAKE_RATES;

/// [`RateLimits`] on Redis.
pub(crate) struct RedisRateLimits {
    pub(crate) circuit: Arc<Circuit>,
    pub(crate) keys: Keys,
    pub(crate) live_hosts: LiveHosts,
    pub(crate) local: LocalRates,
}

/// Takes from buckets by a connection.
pub(crate) async fn take_on(link: &Link, keys: &Keys, buckets: &[Bucket<'_>]) -> RedisResult<Vec<Taken>> {
    let names: Vec<String> = buckets.iter().map(|bucket| keys.bucket(bucket)).collect();
    let mut call = TAKE_RATES.call(&names);
    for bucket in buckets {
        // Rounded up, so that never more passes than the quota allows.
        let interval = 60_000_000_u32.div_ceil(bucket.quota.per_minute.get());
        call = call.arg(interval).arg(bucket.quota.burst.get());
    }
    let answers: Vec<(bool, u32, u64)> = call.run(link).await?;
    let taken = |(allowed, remaining, wait)| Taken { allowed, remaining, wait: Duration::from_micros(wait) };
    Ok(answers.into_iter().map(taken).collect())
}

#[async_trait]
impl RateLimits for RedisRateLimits {
    async fn take(&self, buckets: &[Bucket<'_>]) -> Vec<Taken> {
        if buckets.is_empty() {
            return Vec::new();
        }
        let keys = &self.keys;
        if let Some(taken) =
            self.circuit.call(|link| async move { take_on(&link, keys, buckets).await }).await
        {
            return taken;
        }
        // Redis may be used again since the operation failed: then nothing has filled yet.
        let lost_at = self.circuit.unavailable_since().unwrap_or_else(Instant::now);
        self.local.take(lost_at, self.live_hosts.get(), buckets)
    }

    async fn forget(&self) {
        // Redis forgets its buckets by itself. Those of this host count only while it is away.
        if self.circuit.unavailable_since().is_none() {
            self.local.clear();
        }
    }
}
