//! The buckets of this host while Redis can't be reached.
//!
//! Hazard: users could spend a bucket again on every host whenever Redis is lost. Policy: each host applies its share of a
//! quota, and each of its buckets was empty at the moment when Redis was lost; since then it has filled. Consequence: all
//! hosts together allow what the quota allows from that moment on, and no burst. A user who comes soon after the loss is told
//! to wait for as long as one request takes to fill in.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use masque_store::{Bucket, Quota, Taken};

/// With more buckets than this, the full ones are forgotten.
const MAX_BUCKETS: usize = 100_000;
/// The least time between two such clearings. Where no bucket is full, each would look at all of them in vain.
const CLEARING_INTERVAL: Duration = Duration::from_secs(1);

/// Buckets that were empty when Redis was lost.
#[derive(Debug, Default)]
pub(crate) struct LocalRates {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    lost_at: Option<Instant>,
    cleared_at: Option<Instant>,
    /// When each bucket is full, as time since the loss.
    full_at: HashMap<(String, Quota), Duration>,
}

impl LocalRates {
    /// Takes from the buckets of this host, one of `hosts`, as [`masque_store::RateLimits::take`] does.
    pub(crate) fn take(&self, lost_at: Instant, hosts: u32, buckets: &[Bucket<'_>]) -> Vec<Taken> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.lost_at != Some(lost_at) {
            *state = State { lost_at: Some(lost_at), ..State::default() };
        }
        let now = lost_at.elapsed();
        state.clear_if_large(now);
        let mut answers = Vec::with_capacity(buckets.len());
        for bucket in buckets {
            let share = share(bucket.quota, hosts);
            let key = (bucket.name.to_owned(), share);
            let (taken, full_at) = take_one(share, state.full_at.get(&key).copied(), now);
            answers.push(taken);
            match full_at {
                Some(full_at) => state.full_at.insert(key, full_at),
                None => break,
            };
        }
        answers
    }

    /// Forgets all buckets, since Redis is used again.
    pub(crate) fn clear(&self) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = State::default();
    }
}

impl State {
    fn clear_if_large(&mut self, now: Duration) {
        if self.full_at.len() > MAX_BUCKETS
            && self.cleared_at.is_none_or(|last| last.elapsed() >= CLEARING_INTERVAL)
        {
            self.cleared_at = Some(Instant::now());
            self.full_at.retain(|_, full_at| *full_at > now);
        }
    }
}

/// What one of several hosts may allow: its part, but at least one request a minute and a burst of one.
fn share(quota: Quota, hosts: u32) -> Quota {
    let part = |number: NonZeroU32| {
        NonZeroU32::new(number.get().checked_div(hosts).unwrap_or(number.get())).unwrap_or(NonZeroU32::MIN)
    };
    Quota { per_minute: part(quota.per_minute), burst: part(quota.burst) }
}

/// Takes one from a bucket, at a time since it was empty. Returns when it is full then, or `None` if it has nothing.
fn take_one(quota: Quota, full_at: Option<Duration>, now: Duration) -> (Taken, Option<Duration>) {
    let interval = Duration::from_nanos(60_000_000_000_u64.div_ceil(u64::from(quota.per_minute.get())));
    let span = interval.saturating_mul(quota.burst.get());
    let full_at = full_at.unwrap_or(span).max(now);
    // What the bucket has, as the time in which it filled.
    let room = (now + span).saturating_sub(full_at);
    let Some(left) = room.checked_sub(interval) else {
        let wait = interval.saturating_sub(room);
        return (Taken { allowed: false, remaining: 0, wait }, None);
    };
    let remaining = u32::try_from(left.as_nanos() / interval.as_nanos()).unwrap_or(u32::MAX);
    (Taken { allowed: true, remaining, wait: Duration::ZERO }, Some(full_at + interval))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(per_minute: u32, burst: u32) -> Quota {
        Quota { per_minute: NonZeroU32::new(per_minute).unwrap(), burst: NonZeroU32::new(burst).unwrap() }
    }

    #[test]
    fn a_bucket_is_empty_at_first_and_fills_up_to_its_burst() {
        for (seconds, passed) in [(0, 0), (1, 1), (2, 2), (3, 3), (1000, 3)] {
            let now = Duration::from_secs(seconds);
            let (mut full_at, mut count) = (None, 0);
            while let (Taken { allowed: true, .. }, next) = take_one(quota(60, 3), full_at, now) {
                full_at = next;
                count += 1;
            }
            assert_eq!(count, passed, "after {seconds} s");
        }
        let (taken, _) = take_one(quota(60, 3), None, Duration::from_millis(300));
        assert_eq!((taken.allowed, taken.wait), (false, Duration::from_millis(700)));
    }

    #[test]
    fn a_host_has_its_share_and_at_least_one() {
        assert_eq!(share(quota(60, 10), 3), quota(20, 3));
        assert_eq!(share(quota(60, 10), 1), quota(60, 10));
        assert_eq!(share(quota(2, 1), 5), quota(1, 1));
        assert_eq!(share(quota(2, 1), 0), quota(2, 1));
    }

    #[test]
    fn the_next_loss_begins_with_empty_buckets() {
        let rates = LocalRates::default();
        let bucket = [Bucket { name: "ana", quota: quota(60_000, 5) }];
        let before = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
        assert!(rates.take(before, 1, &bucket)[0].allowed);
        assert!(!rates.take(Instant::now(), 1, &bucket)[0].allowed);
    }

    #[test]
    fn buckets_behind_an_empty_one_are_left() {
        let rates = LocalRates::default();
        let lost_at = Instant::now().checked_sub(Duration::from_secs(3600)).unwrap();
        let [one, two] = [Bucket { name: "a", quota: quota(1, 1) }, Bucket { name: "b", quota: quota(1, 2) }];
        assert_eq!(rates.take(lost_at, 1, &[one, two]).len(), 2);
        assert_eq!(rates.take(lost_at, 1, &[one, two]).len(), 1);
        assert!(rates.take(lost_at, 1, &[two])[0].allowed, "it has one of two left");
    }

    #[test]
    fn extreme_quotas_do_not_overflow() {
        let all = quota(u32::MAX, u32::MAX);
        take_one(all, None, Duration::from_secs(u64::from(u32::MAX)));
        take_one(quota(1, u32::MAX), None, Duration::from_secs(u64::from(u32::MAX)));
    }
}
