//! Rate limits.

use std::num::NonZeroU32;

use super::*;
use crate::{Bucket, Quota, RateLimits, Taken};

fn quota(per_minute: u32, burst: u32) -> Quota {
    Quota { per_minute: NonZeroU32::new(per_minute).unwrap(), burst: NonZeroU32::new(burst).unwrap() }
}

async fn take(rates: &Arc<dyn RateLimits>, name: &str, quota: Quota) -> Taken {
    rates.take(&[Bucket { name, quota }]).await[0]
}

pub async fn a_bucket_gives_its_burst_and_then_says_when_to_come_again(fixture: &dyn SharedFixture) {
    let rates = fixture.host(host_id(1)).await.rates;
    for left in [2, 1, 0] {
        let taken = take(&rates, "ana", quota(1, 3)).await;
        assert_eq!((taken.allowed, taken.remaining, taken.wait), (true, left, Duration::ZERO));
    }
    let taken = take(&rates, "ana", quota(1, 3)).await;
    assert!(!taken.allowed && taken.remaining == 0);
    assert!(taken.wait > Duration::from_secs(50) && taken.wait <= Duration::from_secs(60), "{taken:?}");
}

pub async fn buckets_are_taken_in_order_up_to_the_first_that_is_empty(fixture: &dyn SharedFixture) {
    let rates = fixture.host(host_id(1)).await.rates;
    let buckets = [
        Bucket { name: "address", quota: quota(1, 5) },
        Bucket { name: "user", quota: quota(1, 2) },
        Bucket { name: "key", quota: quota(1, 5) },
    ];
    let left =
        |taken: &[Taken]| taken.iter().map(|taken| (taken.allowed, taken.remaining)).collect::<Vec<_>>();
    assert_eq!(left(&rates.take(&buckets).await), [(true, 4), (true, 1), (true, 4)]);
    assert_eq!(left(&rates.take(&buckets).await), [(true, 3), (true, 0), (true, 3)]);
    assert_eq!(left(&rates.take(&buckets).await), [(true, 2), (false, 0)]);
    assert_eq!(
        left(&rates.take(&buckets[2..]).await),
        [(true, 2)],
        "what is behind an empty bucket was left"
    );
    assert_eq!(left(&rates.take(&[]).await), []);
}

pub async fn hosts_share_a_bucket(fixture: &dyn SharedFixture) {
    let (one, two) = (fixture.host(host_id(1)).await.rates, fixture.host(host_id(2)).await.rates);
    assert!(take(&one, "ana", quota(1, 2)).await.allowed);
    assert!(take(&two, "ana", quota(1, 2)).await.allowed);
    assert!(!take(&one, "ana", quota(1, 2)).await.allowed);
    assert!(!take(&two, "ana", quota(1, 2)).await.allowed);
}

pub async fn a_bucket_fills_again(fixture: &dyn SharedFixture) {
    let rates = fixture.host(host_id(1)).await.rates;
    let fast = quota(600, 1);
    assert!(take(&rates, "ana", fast).await.allowed);
    let begun = Instant::now();
    let mut taken = take(&rates, "ana", fast).await;
    while !taken.allowed {
        assert!(begun.elapsed() < Duration::from_secs(10), "the bucket stays empty");
        assert!(taken.wait <= Duration::from_millis(100), "{taken:?}");
        tokio::time::sleep(taken.wait).await;
        taken = take(&rates, "ana", fast).await;
    }
}

pub async fn a_bucket_with_another_quota_begins_full(fixture: &dyn SharedFixture) {
    let rates = fixture.host(host_id(1)).await.rates;
    assert!(take(&rates, "ana", quota(1, 1)).await.allowed);
    assert!(!take(&rates, "ana", quota(1, 1)).await.allowed);
    assert_eq!(take(&rates, "ana", quota(2, 3)).await.remaining, 2);
}

pub async fn names_are_not_confused(fixture: &dyn SharedFixture) {
    let rates = fixture.host(host_id(1)).await.rates;
    let long = "a".repeat(100_000);
    for name in ["", "a", "A", "a ", "a:b", "a{b}", "{a}", "*", "a\r\nDEL x", "\u{0}", "\u{1F600}", &long] {
        assert!(take(&rates, name, quota(1, 1)).await.allowed, "{:?}", name.get(..9).unwrap_or(name));
        assert!(!take(&rates, name, quota(1, 1)).await.allowed);
    }
}

pub async fn a_crowd_on_several_hosts_gets_no_more_than_burst_and_rate_allow(fixture: &dyn SharedFixture) {
    let quota = quota(6_000, 20);
    let begun = Instant::now();
    let mut clients = Vec::new();
    for number in 0..48 {
        let rates = fixture.host(host_id(1 + number % 3)).await.rates;
        clients.push(tokio::spawn(async move {
            let mut passed = 0_u32;
            for _ in 0..40 {
                passed += u32::from(take(&rates, "shared", quota).await.allowed);
                tokio::task::yield_now().await;
            }
            passed
        }));
    }
    let mut passed = 0;
    for client in clients {
        passed += client.await.unwrap();
    }
    let most = 20.0 + 100.0 * begun.elapsed().as_secs_f64();
    assert!(passed >= 20 && f64::from(passed) <= most, "{passed} passed, {most} may");
}
