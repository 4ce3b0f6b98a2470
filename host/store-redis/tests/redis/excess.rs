//! How much more passes than a quota allows, when Redis disappears and comes back.

use std::time::{Duration, Instant};

use masque_store::{Quota, Shared};
use masque_store_redis::testing::TestServer;
use uuid::Uuid;

use crate::fixtures::*;

const HOSTS: u32 = 3;
const PER_SECOND: f64 = 20.0;
const BURST: u32 = 30;

fn limit() -> Quota {
    quota(1200, BURST)
}

/// Takes as fast as it can until `end`. Returns how many passed.
async fn greedy(shared: Shared, end: Instant) -> u32 {
    let mut passed = 0;
    while Instant::now() < end {
        passed += u32::from(take(&*shared.rates, "ana", limit()).await.allowed);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    passed
}

/// Prints and bounds what three hosts let pass in six seconds of which Redis is away for two.
async fn excess(what: &str, lose: impl FnOnce(&mut TestServer), mend: impl FnOnce(&mut TestServer)) {
    let mut server = TestServer::start();
    let installation = Uuid::now_v7();
    let begun = Instant::now();
    let end = begun + Duration::from_secs(6);
    let mut hosts = Vec::new();
    for number in 0..HOSTS {
        let shared = host_of(&server.url(), installation, u128::from(number), HOSTS).await;
        hosts.push(tokio::spawn(greedy(shared, end)));
    }
    // What passes in a time is what is measured, so the time has to pass.
    tokio::time::sleep(Duration::from_secs(2)).await;
    lose(&mut server);
    tokio::time::sleep(Duration::from_secs(2)).await;
    mend(&mut server);
    let mut passed = 0;
    for host in hosts {
        passed += host.await.unwrap();
    }
    let allowed = f64::from(BURST) + PER_SECOND * begun.elapsed().as_secs_f64();
    let excess = f64::from(passed) - allowed;
    println!("{what}: {passed} passed, {allowed:.0} are allowed, excess {excess:.0} of at most {BURST}");
    assert!(excess <= f64::from(BURST), "{what}: {passed} passed, {allowed} are allowed");
    assert!(f64::from(passed) > allowed / 2.0, "{what}: only {passed} passed, {allowed} are allowed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_excess_is_at_most_a_burst_when_redis_comes_back_empty() {
    excess("killed and restarted", |server| server.kill(), |server| server.restart()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_excess_is_at_most_a_burst_when_redis_comes_back_as_it_was() {
    excess("stopped and resumed", |server| server.stop(), |server| server.resume()).await;
}
