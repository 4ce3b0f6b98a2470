//! The Redis of the hosts is killed under load, and its replica takes over. With `--nocapture` the figures are printed.
#![allow(clippy::print_stdout, reason = "the figures are for the reader of the test")]

use std::time::Instant;

use masque_tests::{eventually, full};

use super::consistency::half_written;
use super::findings::Findings;
use super::installation::Installation;
use super::load::Load;
use super::user::mixed_prompts;

/// Waits until every host uses Redis.
async fn until_redis_is_used(installation: &Installation) {
    for host in &installation.hosts {
        eventually("the host to use Redis", || async {
            let health = host.client().get("/health").send().await.expect(200);
            (health["checks"]["redis"] == "ok").then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_of_redis_under_load_fails_no_turn_and_loses_doubles_or_mixes_up_nothing() {
    let failovers = if full() { 4 } else { 1 };
    let mut installation = Installation::with_sentinel(3).await;
    until_redis_is_used(&installation).await;
    let balancer = installation.balancer().await;
    let load = Load::start(6, &balancer);
    load.progress(10).await;
    for failover in 0..failovers {
        let servers = installation.sentinel.as_mut().unwrap();
        if failover > 0 {
            tokio::task::block_in_place(|| servers.rejoin());
        }
        let (before, begun) = (load.answered(), Instant::now());
        tokio::task::block_in_place(|| servers.fail_over());
        let promoted = begun.elapsed();
        // Whatever the hosts used before is gone.
        until_redis_is_used(&installation).await;
        println!(
            "Redis failed over: promoted after {promoted:?}, used by all hosts after {:?}; {} answered meanwhile",
            begun.elapsed(),
            load.answered() - before
        );
        let primary = &installation.sentinel.as_ref().unwrap().primary;
        let calls = primary.calls("evalsha");
        load.progress(12).await;
        assert!(primary.calls("evalsha") > calls, "the hosts use the server that was promoted");
    }
    let seen = load.seen();
    let findings = load.finish(&balancer.client()).await;
    println!(
        "Redis failed over {failovers} times: seen {seen:?}; lost {}, doubled {}, foreign {}",
        findings.lost.len(),
        findings.doubled.len(),
        findings.foreign.len()
    );
    assert_eq!(findings, Findings::default());
    assert_eq!(mixed_prompts(&installation.model), Vec::<String>::new());
    assert_eq!(half_written(&installation).await, "");
    // The rate limits of a host begin empty when it loses Redis: who comes in that moment is told to wait. Nothing else is seen.
    let others: Vec<_> = seen.into_keys().filter(|kind| kind != "rate-limited").collect();
    assert!(others.is_empty(), "{others:?}");
}
