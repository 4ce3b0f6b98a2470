//! A plugin is replaced on all hosts under load, also while hosts are killed: no turn fails because of it, and once it is active
//! every host answers with the new version. With `--nocapture` the figures are printed.
#![allow(clippy::print_stdout, reason = "the figures are for the reader of the test")]

use std::collections::BTreeMap;
use std::time::Duration;

use masque_tests::{Setup, eventually, full};

use super::consistency::half_written;
use super::findings::Findings;
use super::installation::Installation;
use super::load::Load;
use super::user::{User, mixed_prompts};
use crate::crash::random;
use crate::hot_reload::{build, digest, digest_in_reply, plugin_file, replace_by_rename, with_plugin};
use crate::postgres_active_set::{credentials, digest_of, rewrite, speaker};

const HOSTS: usize = 3;

/// What clients may see of a host that is killed.
const OF_KILLS: [&str; 3] = ["broken", "turn-interrupted", "conversation-busy"];

/// Hosts whose persona is the first build of a component. The first host publishes it, and the others have no file of it.
async fn installation() -> Installation {
    let mut installation = Installation::with_users(0).await;
    let first = installation.connect(Setup::file(&speaker(&installation.model, 1, "")));
    installation.hosts.push(with_plugin(first, "speaker", &build(1)).start().await);
    for _ in 1..HOSTS {
        let other = installation.connect(Setup::file(&credentials(&installation.model)));
        installation.hosts.push(other.start().await);
    }
    installation
}

/// Publishes this build as the revision of its number.
fn publish(installation: &Installation, number: u32) {
    let host = &installation.hosts[0];
    replace_by_rename(&plugin_file(host, "speaker"), &build(number));
    rewrite(host, &speaker(&installation.model, number, ""));
}

/// Waits until all hosts use this build, and asserts that each answers with it.
async fn assert_replaced(installation: &Installation, number: u32) {
    let wanted = digest_of(&build(number));
    for host in &installation.hosts {
        eventually(&format!("the host to use build {number}"), || async {
            let status = host.socket().get("/status").send().await.expect(200);
            (digest(&status, "speaker") == wanted).then_some(())
        })
        .await;
    }
    let user = User::new(HOSTS);
    for host in &installation.hosts {
        let reply = user.of(&host.client()).say(&user.message(0)).await;
        assert_eq!(digest_in_reply(&reply, "persona"), wanted, "{reply}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_is_replaced_on_three_hosts_under_load_and_while_they_are_killed_and_no_turn_fails_for_it() {
    let (quiet, killed) = if full() { (5, 20) } else { (1, 2) };
    let mut installation = installation().await;
    let balancer = installation.balancer().await;
    let load = Load::start(6, &balancer);
    load.progress(6).await;
    for number in 2..2 + quiet {
        let before = load.answered();
        publish(&installation, number);
        assert_replaced(&installation, number).await;
        assert!(load.answered() > before, "turns went on during replacement {number}");
    }
    assert_eq!(load.seen(), BTreeMap::new(), "no request failed for a replacement");

    for number in 2 + quiet..2 + quiet + killed {
        publish(&installation, number);
        // At any instant: before it is published, while hosts prepare it, or after it is active.
        tokio::time::sleep(Duration::from_millis(random(1500) as u64)).await;
        let index = random(HOSTS);
        installation.hosts[index].kill().await;
        installation.hosts[index].restart().await;
        balancer.replace(index, installation.hosts[index].address());
        if index == 0 {
            // It started with the file that it had at first.
            publish(&installation, number);
        }
        balancer.wait_for(HOSTS).await;
        assert_replaced(&installation, number).await;
    }
    // Leases of killed hosts end within half a minute.
    load.progress(12).await;
    let seen = load.seen();
    println!(
        "a plugin replaced {quiet} times, and {killed} times while a host was killed: {} answered; seen {seen:?}",
        load.answered()
    );
    assert_eq!(load.finish(&balancer.client()).await, Findings::default());
    assert_eq!(mixed_prompts(&installation.model), Vec::<String>::new());
    assert_eq!(half_written(&installation).await, "");
    let others: Vec<_> = seen.into_keys().filter(|kind| !OF_KILLS.contains(&kind.as_str())).collect();
    assert!(others.is_empty(), "{others:?}");
}
