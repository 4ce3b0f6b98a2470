//! The hosts and other programs have taken all connections of the database's server (`max_connections`). With `--nocapture` the figures are
//! printed.
#![allow(clippy::print_stdout, reason = "the figures are for the reader of the test")]

use super::consistency::half_written;
use super::findings::Findings;
use super::installation::Installation;
use super::load::Load;
use super::user::User;

/// What clients may see in place of an answer.
const MAY_BE_SEEN: [&str; 4] = ["storage-unavailable", "conversation-busy", "lease-lost", "turn-interrupted"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_go_on_with_the_connections_that_they_have_when_the_server_has_none_left() {
    let installation = Installation::on_small_server(2).await;
    let balancer = installation.balancer().await;
    let held = tokio::task::block_in_place(|| installation.hold_all_connections());
    let load = Load::start(6, &balancer);
    load.progress(20).await;
    for host in &installation.hosts {
        host.client().get("/readyz").send().await.expect(200);
    }
    let (during, count) = (load.answered(), held.count());
    tokio::task::block_in_place(|| drop(held));
    load.progress(20).await;
    let seen = load.seen();
    let findings = load.finish(&balancer.client()).await;
    println!(
        "PostgreSQL without a free connection ({count} of other programs): {during} answered meanwhile; seen {seen:?}; lost {}, doubled \
         {}, foreign {}",
        findings.lost.len(),
        findings.doubled.len(),
        findings.foreign.len()
    );
    assert_eq!(findings, Findings::default());
    assert_eq!(half_written(&installation).await, "");
    let others: Vec<_> = seen.into_keys().filter(|kind| !MAY_BE_SEEN.contains(&kind.as_str())).collect();
    assert!(others.is_empty(), "{others:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_finds_no_free_connection_says_so_and_waits_for_one() {
    let installation = Installation::on_small_server(0).await;
    let held = tokio::task::block_in_place(|| installation.hold_all_connections());
    let told = "has no free connection; raise its `max_connections`";
    let refused = installation.setup().run(&["migrate", "--check"]).await;
    assert!(!refused.status.success() && refused.text.contains(told), "{}", refused.text);
    let mut host = installation.setup().start_loading();
    host.logged_in_one_line(&["waiting for the database", told]).await;
    assert!(host.is_running());
    drop(held);
    host.wait_until_up().await;
    let user = User::new(0);
    user.of(&host.client()).say(&user.message(0)).await;
}
