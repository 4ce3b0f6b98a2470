//! Hosts that share a database, a model and, where a test wants it, a Redis.

use masque_store_postgres::testing::{TestDatabase, TestServer};
use masque_store_redis::testing::TestRedis;
use masque_tests::{Balancer, Client, Host, MockModel, Setup};

/// Several hosts of one installation.
pub(super) struct Installation {
    pub(super) hosts: Vec<Host>,
    pub(super) model: MockModel,
    pub(super) redis: Option<TestRedis>,
    pub(super) database: TestDatabase,
}

/// What hosts do when they stop: long enough for a balancer to notice, and for a short turn to end.
const DRAIN: &str = "[drain]\ndelay = \"500ms\"\ntimeout = \"10s\"\n";

impl Installation {
    /// So many hosts with a Redis of their own.
    pub(super) async fn start(hosts: usize) -> Self {
        Self::launch(hosts, Some(TestRedis::start())).await
    }

    /// So many hosts that share nothing but the database.
    pub(super) async fn without_redis(hosts: usize) -> Self {
        Self::launch(hosts, None).await
    }

    async fn launch(hosts: usize, redis: Option<TestRedis>) -> Self {
        let database = TestServer::shared().migrated_database().await;
        let model = MockModel::start().await;
        let mut installation = Self { hosts: Vec::new(), model, redis, database };
        for _ in 0..hosts {
            installation.add_host().await;
        }
        installation
    }

    /// Starts another host.
    pub(super) async fn add_host(&mut self) {
        let host = self.setup().start().await;
        self.hosts.push(host);
    }

    /// A host of this installation that is not started.
    pub(super) fn setup(&self) -> Setup {
        let setup = Setup::model(&self.model).and(DRAIN).environment("DATABASE_URL", &self.database.url);
        match &self.redis {
            Some(redis) => setup.environment("REDIS_URL", &redis.url()),
            None => setup,
        }
    }

    /// A client of one host.
    pub(super) fn client(&self, host: usize) -> Client {
        self.hosts[host].client()
    }

    /// A balancer in front of all hosts.
    pub(super) async fn balancer(&self) -> Balancer {
        let addresses: Vec<_> = self.hosts.iter().map(Host::address).collect();
        Balancer::start(&addresses).await
    }

    /// What a statement finds in the database.
    pub(super) fn query(&self, sql: &str) -> String {
        TestServer::shared().psql(&self.database.name, sql)
    }
}
