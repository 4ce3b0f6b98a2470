//! The load that the earlier service was made for: 100 users, 500 requests a minute and host, on 5 and on 10 hosts. Takes
//! minutes, so it runs with `--full` alone; the figures are printed.
#![allow(clippy::print_stdout, reason = "the figures are for the reader of the test")]

use std::time::{Duration, Instant};

use futures::future::join_all;
use masque_tests::{Client, full};

use super::installation::Installation;

const USERS: usize = 100;
const REQUESTS_PER_MINUTE_AND_HOST: usize = 500;
const LENGTH: Duration = Duration::from_secs(30);

/// Talks in one conversation, one message each `interval`, or without a pause; returns how long each answer took.
async fn talk(client: Client, interval: Option<Duration>, length: Duration) -> Vec<Duration> {
    let begun = client.say("Hello.").await;
    let conversation = begun["conversation_id"].as_str().unwrap().to_owned();
    let (start, mut took) = (Instant::now(), Vec::new());
    let mut next = interval.map_or(start, |interval| start + interval.mul_f64(fraction()));
    while next.max(Instant::now()) < start + length {
        tokio::time::sleep_until(next.into()).await;
        let asked = Instant::now();
        client.say_in(&conversation, "How are you?").await;
        took.push(asked.elapsed());
        next = interval.map_or_else(Instant::now, |interval| next + interval);
    }
    took
}

/// A number from 0 to 1, another in every run: users don't act at the same time.
fn fraction() -> f64 {
    f64::from(uuid::Uuid::now_v7().into_bytes()[15]) / 255.0
}

/// The time within which this share of the answers came.
fn quantile(sorted: &[Duration], share: f64) -> Duration {
    // The index is within the slice, which is not empty.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a length")]
    let index = ((sorted.len() - 1) as f64 * share) as usize;
    sorted[index]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_users_on_five_and_ten_hosts_get_no_error() {
    if !full() {
        return;
    }
    for hosts in [5, 10] {
        let installation = Installation::start(hosts).await;
        let balancer = installation.balancer().await;
        let rate = REQUESTS_PER_MINUTE_AND_HOST * hosts;
        let interval = Duration::from_secs(60) * u32::try_from(USERS).unwrap() / u32::try_from(rate).unwrap();
        // Each answer is asserted to be one, so an error ends the test.
        let users = (0..USERS).map(|_| tokio::spawn(talk(balancer.client(), Some(interval), LENGTH)));
        let mut took: Vec<_> = join_all(users).await.into_iter().flat_map(|user| user.unwrap()).collect();
        took.sort_unstable();
        println!(
            "{hosts} hosts, {USERS} users, {rate} requests a minute: {} answers, 0 errors, p50 {:?}, p99 {:?}",
            took.len(),
            quantile(&took, 0.5),
            quantile(&took, 0.99)
        );
        for clients in [8, 32, 100] {
            let length = Duration::from_secs(10);
            let users = (0..clients).map(|_| tokio::spawn(talk(balancer.client(), None, length)));
            let mut took: Vec<_> = join_all(users).await.into_iter().flat_map(|user| user.unwrap()).collect();
            took.sort_unstable();
            println!(
                "{hosts} hosts, {clients} clients without a pause: {:.0} answers a second, p99 {:?}",
                took.len() as f64 / length.as_secs_f64(),
                quantile(&took, 0.99)
            );
        }
    }
}
