//! What happens when Redis or PostgreSQL fails under load, one failure after the other: what clients saw, and that nothing
//! acknowledged was lost, doubled, or shown to another user. With `--nocapture` the table is printed.
#![allow(clippy::print_stdout, reason = "the figures are for the reader of the test")]

use std::collections::BTreeMap;
use std::time::Duration;

use masque_tests::LinkState;

use super::consistency::half_written;
use super::findings::Findings;
use super::installation::{Installation, Patience};
use super::load::Load;
use super::user::mixed_prompts;

/// How long each failure lasts: longer than a command, a statement's retry and a renewal of leases may take.
const LENGTH: Duration = Duration::from_secs(4);

/// A failure of a server that all hosts use.
#[derive(Clone, Copy, Debug)]
enum Failure {
    RedisKilled,
    RedisGone,
    RedisStalled,
    RedisSlow,
    RedisFlushed,
    RedisFull,
    DatabaseGone,
    DatabaseStalled,
    DatabaseConnectionsLost,
}

impl Failure {
    const ALL: [Self; 9] = [
        Self::RedisKilled,
        Self::RedisGone,
        Self::RedisStalled,
        Self::RedisSlow,
        Self::RedisFlushed,
        Self::RedisFull,
        Self::DatabaseGone,
        Self::DatabaseStalled,
        Self::DatabaseConnectionsLost,
    ];

    /// What clients may see in place of an answer. Redis is not needed, so its failures fail no turn; but the rate limits of a
    /// host begin empty when it loses Redis, so that a user who comes in that moment is told to wait.
    fn may_be_seen(self, kind: &str) -> bool {
        match self {
            Self::RedisKilled
            | Self::RedisGone
            | Self::RedisStalled
            | Self::RedisSlow
            | Self::RedisFlushed
            | Self::RedisFull => kind == "rate-limited",
            Self::DatabaseGone | Self::DatabaseStalled | Self::DatabaseConnectionsLost => {
                matches!(
                    kind,
                    "storage-unavailable" | "conversation-busy" | "lease-lost" | "turn-interrupted"
                )
            }
        }
    }

    fn patience(self) -> Patience {
        match self {
            Self::RedisKilled
            | Self::RedisGone
            | Self::RedisStalled
            | Self::RedisSlow
            | Self::RedisFlushed
            | Self::RedisFull => Patience::Default,
            Self::DatabaseGone | Self::DatabaseStalled | Self::DatabaseConnectionsLost => Patience::Long,
        }
    }

    async fn happen(self, installation: &mut Installation) {
        let links = installation.links.as_ref().unwrap();
        let redis = installation.redis.as_mut().unwrap();
        match self {
            Self::RedisKilled => {
                redis.kill();
                tokio::time::sleep(LENGTH).await;
                redis.restart();
            }
            Self::RedisGone => hold(&links.redis, LinkState::Cut).await,
            Self::RedisStalled => hold(&links.redis, LinkState::Stalled).await,
            Self::RedisSlow => hold(&links.redis, LinkState::Slow(Duration::from_millis(100))).await,
            Self::RedisFlushed => {
                for _ in 0..20 {
                    redis.command(&["FLUSHALL"]);
                    tokio::time::sleep(LENGTH / 20).await;
                }
            }
            Self::RedisFull => {
                redis.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
                redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
                tokio::time::sleep(LENGTH).await;
                redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
            }
            Self::DatabaseGone => hold(&links.database, LinkState::Cut).await,
            Self::DatabaseStalled => hold(&links.database, LinkState::Stalled).await,
            Self::DatabaseConnectionsLost => {
                for _ in 0..20 {
                    installation.query(
                        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                          WHERE datname = current_database() AND pid <> pg_backend_pid()",
                    );
                    tokio::time::sleep(LENGTH / 20).await;
                }
            }
        }
    }
}

/// The failure lasts while the clients go on.
async fn hold(link: &masque_tests::Link, state: LinkState) {
    link.set(state);
    tokio::time::sleep(LENGTH).await;
    link.set(LinkState::Open);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_failure_of_redis_or_the_database_loses_doubles_or_mixes_up_what_was_acknowledged() {
    let mut table = Vec::new();
    let mut unexpected = BTreeMap::new();
    for failure in Failure::ALL {
        let mut installation = Installation::with_users_and_links(2, failure.patience()).await;
        let balancer = installation.balancer().await;
        let load = Load::start(6, &balancer);
        load.progress(10).await;
        let before = load.answered();
        failure.happen(&mut installation).await;
        let during = load.answered() - before;
        load.progress(10).await;
        let seen = load.seen();
        let findings = load.finish(&balancer.client()).await;
        table.push(format!(
            "{failure:?}: {during} answered meanwhile; seen {seen:?}; lost {}, doubled {}, foreign {}",
            findings.lost.len(),
            findings.doubled.len(),
            findings.foreign.len()
        ));
        assert_eq!(findings, Findings::default(), "{failure:?}");
        assert_eq!(mixed_prompts(&installation.model), Vec::<String>::new(), "{failure:?}");
        assert_eq!(half_written(&installation).await, "", "{failure:?}");
        let kinds = seen.into_keys().filter(|kind| !failure.may_be_seen(kind)).collect::<Vec<_>>();
        if !kinds.is_empty() {
            unexpected.insert(format!("{failure:?}"), kinds);
        }
    }
    println!("{}", table.join("\n"));
    assert!(unexpected.is_empty(), "{unexpected:?}\n{}", table.join("\n"));
}
