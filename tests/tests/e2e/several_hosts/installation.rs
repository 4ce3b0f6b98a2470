//! Hosts that share a database, a model and, where a test wants it, a Redis.

use std::sync::Arc;

use masque_store_postgres::testing::{HeldConnections, TestDatabase, TestServer};
use masque_store_redis::testing::{TestSentinel, TestServer as TestRedis};
use masque_tests::{Balancer, Client, Host, Link, MockModel, Setup, Tap};

/// Several hosts of one installation.
pub(super) struct Installation {
    pub(super) hosts: Vec<Host>,
    pub(super) model: MockModel,
    pub(super) redis: Option<TestRedis>,
    /// In the place of `redis`, a server with a replica.
    pub(super) sentinel: Option<TestSentinel>,
    pub(super) database: TestDatabase,
    /// What the hosts connect through, if a test wants to break it.
    pub(super) links: Option<Links>,
    /// Whether the hosts tell users from each other.
    has_users: bool,
    patience: Patience,
    /// As whom the hosts connect to the database.
    database_user: &'static str,
    /// The server of the database, if it is not the shared one. It ends after its database is dropped.
    own_server: Option<TestServer>,
}

/// How long hosts wait for an answer of Redis. One that loses Redis has empty rate limits at first and shows no turn of another
/// host while it runs, which users see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// As long as by default, for tests in which Redis fails.
    Default,
    /// Longer than a machine that is busy with tests takes, for those in which it does not.
    Long,
}

/// The connections of all hosts to their servers.
pub(super) struct Links {
    pub(super) database: Link,
    pub(super) redis: Link,
}

/// What hosts do when they stop: long enough for a balancer to notice, also on a busy machine, and for a short turn to end.
const DRAIN: &str = "[drain]\ndelay = \"5s\"\ntimeout = \"10s\"\n";

/// What makes hosts wait for Redis.
const LONG_PATIENCE: &str = "[redis]\ntimeout = \"5s\"\n";

/// The user of the database on a [small server](Installation::on_small_server).
const ORDINARY_USER: &str = "ordinary";

/// What such a user has to be granted.
const GRANTS: &str = "GRANT ALL ON ALL TABLES IN SCHEMA public TO ordinary;
                      GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO ordinary";

impl Installation {
    /// So many hosts with a Redis of their own.
    pub(super) async fn start(hosts: usize) -> Self {
        let mut installation = Self::prepare(Some(TestRedis::start()), None).await;
        installation.patience = Patience::Long;
        installation.with_hosts(hosts).await
    }

    /// So many hosts that share nothing but the database.
    pub(super) async fn without_redis(hosts: usize) -> Self {
        Self::launch(hosts, None, None).await
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

    /// So many hosts with a Redis, which tell users from each other.
    pub(super) async fn with_users(hosts: usize) -> Self {
        let mut installation = Self::prepare(Some(TestRedis::start()), None).await;
        installation.patience = Patience::Long;
        installation.with_users_and_hosts(hosts).await
    }

    /// The same, with connections that can be broken.
    pub(super) async fn with_users_and_links(hosts: usize, patience: Patience) -> Self {
        let redis = TestRedis::start();
        let links = Links {
            database: Link::to(TestServer::shared().port()).await,
            redis: Link::to(redis.port()).await,
        };
        let mut installation = Self::prepare(Some(redis), Some(links)).await;
        installation.patience = patience;
        installation.with_users_and_hosts(hosts).await
    }

    /// The same, with a Redis that has a replica and a sentinel.
    pub(super) async fn with_sentinel(hosts: usize) -> Self {
        let mut installation = Self::prepare(None, None).await;
        installation.sentinel = Some(TestSentinel::start());
        installation.with_users_and_hosts(hosts).await
    }

    /// So many hosts with a Redis, which tell users from each other. Their database is on a server of its own that allows few
    /// connections, and they come as a user for whom the server reserves none.
    pub(super) async fn on_small_server(hosts: usize) -> Self {
        let server = TestServer::start_with(&["max_connections=20"]);
        server.psql("postgres", &format!("CREATE ROLE {ORDINARY_USER} LOGIN"));
        let mut installation = Self::prepare(Some(TestRedis::start()), None).await;
        installation.patience = Patience::Long;
        installation.database = server.migrated_database().await;
        server.psql(&installation.database.name, GRANTS);
        installation.database_user = ORDINARY_USER;
        installation.own_server = Some(server);
        installation.with_users_and_hosts(hosts).await
    }

    async fn launch(hosts: usize, redis: Option<TestRedis>, links: Option<Links>) -> Self {
        Self::prepare(redis, links).await.with_hosts(hosts).await
    }

    /// No host yet.
    async fn prepare(redis: Option<TestRedis>, links: Option<Links>) -> Self {
        Self {
            hosts: Vec::new(),
            model: MockModel::start().await,
            redis,
            sentinel: None,
            database: TestServer::shared().migrated_database().await,
            links,
            has_users: false,
            patience: Patience::Default,
            database_user: "postgres",
            own_server: None,
        }
    }

    async fn with_users_and_hosts(mut self, hosts: usize) -> Self {
        self.has_users = true;
        self.with_hosts(hosts).await
    }

    async fn with_hosts(mut self, hosts: usize) -> Self {
        for _ in 0..hosts {
            self.add_host().await;
        }
        self
    }

    /// Starts another host.
    pub(super) async fn add_host(&mut self) {
        let host = self.setup().start().await;
        self.hosts.push(host);
    }

    /// A host of this installation that is not started.
    pub(super) fn setup(&self) -> Setup {
        self.connect(Setup::model(&self.model))
    }

    /// Makes a host one of this installation.
    pub(super) fn connect(&self, setup: Setup) -> Setup {
        let port = |link: Option<&Link>, server| link.map_or(server, Link::port);
        let links = self.links.as_ref();
        let database = port(links.map(|links| &links.database), self.server().port());
        let (user, name) = (self.database_user, &self.database.name);
        let database = format!("postgresql://{user}@127.0.0.1:{database}/{name}");
        let setup = setup.and(DRAIN).environment("DATABASE_URL", &database);
        let setup = if self.has_users { setup.with_authentication() } else { setup };
        let setup = if self.patience == Patience::Long { setup.and(LONG_PATIENCE) } else { setup };
        match (&self.redis, &self.sentinel) {
            (Some(redis), _) => {
                let port = port(links.map(|links| &links.redis), redis.port());
                setup.environment("REDIS_URL", &format!("redis://127.0.0.1:{port}"))
            }
            (None, Some(sentinel)) => setup.environment("REDIS_URL", &sentinel.url()),
            (None, None) => setup,
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
        self.server().psql(&self.database.name, sql)
    }

    /// Takes all connections of the server that hosts could get.
    pub(super) fn hold_all_connections(&self) -> HeldConnections {
        self.server().hold_all_connections(self.database_user, &self.database.name)
    }

    fn server(&self) -> &TestServer {
        self.own_server.as_ref().unwrap_or_else(|| TestServer::shared())
    }
}
