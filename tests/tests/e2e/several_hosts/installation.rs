//! Hosts that share a database, a model and, where a test wants it, a Redis.

use std::sync::Arc;

use masque_store_postgres::testing::{TestDatabase, TestServer};
use masque_store_redis::testing::TestServer as TestRedis;
use masque_tests::{Balancer, Client, Host, Link, MockModel, Setup, Tap};

/// Several hosts of one installation.
pub(super) struct Installation {
    pub(super) hosts: Vec<Host>,
    pub(super) model: MockModel,
    pub(super) redis: Option<TestRedis>,
    pub(super) database: TestDatabase,
    /// What the hosts connect through, if a test wants to break it.
    pub(super) links: Option<Links>,
}

/// The connections of all hosts to their servers.
pub(super) struct Links {
    pub(super) database: Link,
    pub(super) redis: Link,
}

/// What hosts do when they stop: long enough for a balancer to notice, and for a short turn to end.
const DRAIN: &str = "[drain]\ndelay = \"500ms\"\ntimeout = \"10s\"\n";

impl Installation {
    /// So many hosts with a Redis of their own.
    pub(super) async fn start(hosts: usize) -> Self {
        Self::launch(hosts, Some(TestRedis::start()), None).await
    }

    /// So many hosts that share nothing but the database.
    pub(super) async fn without_redis(hosts: usize) -> Self {
        Self::launch(hosts, None, None).await
    }

    /// So many hosts with a Redis, whose connections can be broken.
    pub(super) async fn with_links(hosts: usize) -> Self {
        let redis = TestRedis::start();
        let links = Links {
            database: Link::to(TestServer::shared().port()).await,
            redis: Link::to(redis.port()).await,
        };
        Self::launch(hosts, Some(redis), Some(links)).await
    }

    /// No host yet, and a Redis; what hosts ask of it and of the database is noted.
    pub(super) async fn with_taps(database: &Arc<Tap>, redis: &Arc<Tap>) -> Self {
        let server = TestRedis::start();
        let links = Links {
            database: Link::tapped(TestServer::shared().port(), database).await,
            redis: Link::tapped(server.port(), redis).await,
        };
        Self::launch(0, Some(server), Some(links)).await
    }

    async fn launch(hosts: usize, redis: Option<TestRedis>, links: Option<Links>) -> Self {
        let database = TestServer::shared().migrated_database().await;
        let model = MockModel::start().await;
        let mut installation = Self { hosts: Vec::new(), model, redis, database, links };
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
        let port = |link: Option<&Link>, server| link.map_or(server, Link::port);
        let links = self.links.as_ref();
        let database = port(links.map(|links| &links.database), TestServer::shared().port());
        let database = format!("postgresql://postgres@127.0.0.1:{database}/{}", self.database.name);
        let setup = Setup::model(&self.model).and(DRAIN).environment("DATABASE_URL", &database);
        match &self.redis {
            Some(redis) => {
                let port = port(links.map(|links| &links.redis), redis.port());
                setup.environment("REDIS_URL", &format!("redis://127.0.0.1:{port}"))
            }
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
