//! The suite of the shared memory, on a server (that of `MASQUE_TEST_REDIS_URL`, if it is set), on a cluster, and on Valkey where
//! there is a tree of Debian 13.
#![allow(clippy::unwrap_used, reason = "all of this crate is a test")]

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use masque_store::conformance::shared::SharedFixture;
use masque_store::{LiveHosts, Shared, SharedStatus};
use masque_store_redis::testing::{TestCluster, TestServer, pass_time};
use masque_store_redis::{RedisOptions, open};
use uuid::Uuid;

/// An installation of its own on servers that all tests share.
struct Installation {
    id: Uuid,
    url: String,
    servers: &'static [TestServer],
}

#[async_trait]
impl SharedFixture for Installation {
    async fn host(&self, id: Uuid) -> Shared {
        let mut options = RedisOptions::from_url(&self.url).unwrap();
        // Tests run side by side on a busy machine.
        options.command_timeout = Duration::from_secs(5);
        let shared = open(&options, self.id, id, LiveHosts::default()).await.unwrap();
        assert_eq!(shared.health.status(), SharedStatus::Connected);
        shared
    }

    async fn pass_time(&self, time: Duration) {
        for server in self.servers {
            pass_time(server, self.id, time);
        }
    }
}

fn installation(url: String, servers: &'static [TestServer]) -> Option<Arc<dyn SharedFixture>> {
    Some(Arc::new(Installation { id: Uuid::now_v7(), url, servers }))
}

async fn open_redis() -> Option<Arc<dyn SharedFixture>> {
    static SERVER: OnceLock<[TestServer; 1]> = OnceLock::new();
    let servers = SERVER.get_or_init(|| [TestServer::given_or_started()]);
    installation(servers[0].url(), servers)
}

async fn open_valkey() -> Option<Arc<dyn SharedFixture>> {
    static SERVER: OnceLock<Option<[TestServer; 1]>> = OnceLock::new();
    let start = || TestServer::start_valkey("that hosts can share memory in Valkey").map(|server| [server]);
    let servers = SERVER.get_or_init(start).as_ref()?;
    installation(servers[0].url().replace("redis://", "valkey://"), servers)
}

async fn open_cluster() -> Option<Arc<dyn SharedFixture>> {
    static CLUSTER: OnceLock<TestCluster> = OnceLock::new();
    let cluster = CLUSTER.get_or_init(TestCluster::start);
    installation(cluster.url(), &cluster.nodes)
}

mod redis {
    masque_store::shared_conformance_tests!(crate::open_redis);
}

mod valkey {
    masque_store::shared_conformance_tests!(crate::open_valkey);
}

mod cluster {
    masque_store::shared_conformance_tests!(crate::open_cluster);
}
