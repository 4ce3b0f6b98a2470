//! The buckets of one host, in its memory. They are full after a restart.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use dashmap::DashMap;
use governor::clock::{Clock, MonotonicClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota as GovernorQuota, RateLimiter};

use super::limits::{Bucket, Quota, RateLimits, Taken};

/// With more buckets of one quota than this, the full ones are forgotten without waiting for the next
/// [`RateLimits::forget`]: a flood from many addresses must not fill the memory (some 100 bytes each).
const MAX_BUCKETS: usize = 100_000;
/// The least time between two such clearings. Where no bucket is full, each would look at all of them in vain.
const CLEARING_INTERVAL: Duration = Duration::from_secs(1);

const MINUTE: Duration = Duration::from_secs(60);

type Buckets = RateLimiter<String, DashMapStateStore<String>, MonotonicClock, StateInformationMiddleware>;

/// [`RateLimits`] within this process.
#[derive(Debug, Default)]
pub struct InProcessRateLimits {
    /// By quota: the algorithm (GCRA) keeps one time for each bucket, whose meaning depends on the quota. So a bucket
    /// whose quota changes begins full.
    quotas: DashMap<Quota, Arc<Buckets>>,
    cleared: Mutex<Option<Instant>>,
}

impl InProcessRateLimits {
    fn buckets(&self, quota: Quota) -> Arc<Buckets> {
        if let Some(buckets) = self.quotas.get(&quota) {
            return Arc::clone(&buckets);
        }
        let new = || {
            Arc::new(RateLimiter::dashmap_with_clock(governor_quota(quota), MonotonicClock).with_middleware())
        };
        Arc::clone(&self.quotas.entry(quota).or_insert_with(new))
    }

    fn take_one(&self, bucket: &Bucket<'_>) -> Taken {
        let buckets = self.buckets(bucket.quota);
        if buckets.len() > MAX_BUCKETS && self.may_clear() {
            buckets.retain_recent();
        }
        match buckets.check_key(&bucket.name.to_owned()) {
            Ok(state) => {
                Taken { allowed: true, remaining: state.remaining_burst_capacity(), wait: Duration::ZERO }
            }
            Err(until) => {
                Taken { allowed: false, remaining: 0, wait: until.wait_time_from(MonotonicClock.now()) }
            }
        }
    }

    fn may_clear(&self) -> bool {
        // Another call holds the lock and is about to clear.
        let Ok(mut cleared) = self.cleared.try_lock() else { return false };
        let due = cleared.is_none_or(|last| last.elapsed() >= CLEARING_INTERVAL);
        if due {
            *cleared = Some(Instant::now());
        }
        due
    }
}

/// The quota as governor has it: one cell for each request.
fn governor_quota(quota: Quota) -> GovernorQuota {
    let each = MINUTE / quota.per_minute.get();
    // The period is at least 13 ns, and zero is the only one that is refused.
    GovernorQuota::with_period(each)
        .unwrap_or_else(|| GovernorQuota::per_minute(quota.per_minute))
        .allow_burst(quota.burst)
}

#[async_trait]
impl RateLimits for InProcessRateLimits {
    async fn take(&self, buckets: &[Bucket<'_>]) -> Vec<Taken> {
        let mut answers = Vec::with_capacity(buckets.len());
        for bucket in buckets {
            let taken = self.take_one(bucket);
            answers.push(taken);
            if !taken.allowed {
                break;
            }
        }
        answers
    }

    async fn forget(&self) {
        for buckets in &self.quotas {
            buckets.retain_recent();
        }
        self.quotas.retain(|_, buckets| !buckets.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn quota(per_minute: u32, burst: u32) -> Quota {
        Quota { per_minute: NonZeroU32::new(per_minute).unwrap(), burst: NonZeroU32::new(burst).unwrap() }
    }

    async fn take(limits: &InProcessRateLimits, name: &str, quota: Quota) -> Taken {
        limits.take(&[Bucket { name, quota }]).await[0]
    }

    #[tokio::test]
    async fn a_bucket_gives_its_burst_and_then_says_when_to_come_again() {
        let (limits, quota) = (InProcessRateLimits::default(), quota(1, 3));
        for left in [2, 1, 0] {
            let taken = take(&limits, "ana", quota).await;
            assert_eq!((taken.allowed, taken.remaining, taken.wait), (true, left, Duration::ZERO));
        }
        let taken = take(&limits, "ana", quota).await;
        assert!(!taken.allowed && taken.remaining == 0);
        assert!(taken.wait > Duration::from_secs(50) && taken.wait <= MINUTE, "{taken:?}");
    }

    #[tokio::test]
    async fn one_bucket_takes_nothing_from_another() {
        let (limits, quota) = (InProcessRateLimits::default(), quota(1, 1));
        assert!(take(&limits, "ana", quota).await.allowed);
        assert!(take(&limits, "ben", quota).await.allowed);
        assert!(!take(&limits, "ana", quota).await.allowed);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn no_crowd_gets_more_than_burst_and_rate_allow() {
        let limits = Arc::new(InProcessRateLimits::default());
        let quota = quota(6_000, 20);
        let begun = Instant::now();
        let client = |_| {
            let limits = Arc::clone(&limits);
            tokio::spawn(async move {
                let mut passed = 0_u32;
                for _ in 0..500 {
                    passed += u32::from(take(&limits, "shared", quota).await.allowed);
                    tokio::task::yield_now().await;
                }
                passed
            })
        };
        let mut passed = 0;
        for client in (0..64).map(client).collect::<Vec<_>>() {
            passed += client.await.unwrap();
        }
        let most = 20.0 + 100.0 * begun.elapsed().as_secs_f64();
        assert!(passed >= 20 && f64::from(passed) <= most, "{passed} passed, {most} may");
    }

    #[tokio::test]
    async fn full_buckets_are_forgotten() {
        let limits = InProcessRateLimits::default();
        take(&limits, "ana", quota(60_000, 1)).await;
        take(&limits, "ben", quota(1, 1)).await;
        let begun = Instant::now();
        while limits.quotas.len() > 1 {
            assert!(begun.elapsed() < Duration::from_secs(5), "a full bucket is kept");
            tokio::task::yield_now().await;
            limits.forget().await;
        }
        assert!(!take(&limits, "ben", quota(1, 1)).await.allowed, "a bucket that is not full was forgotten");
    }
}
