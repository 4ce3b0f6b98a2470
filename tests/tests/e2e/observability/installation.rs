//! The hosts that Prometheus scrapes: one on SQLite that has everything else, and two on PostgreSQL and Redis.

use masque_store_postgres::testing::{TestDatabase, TestServer};
use masque_store_redis::testing::TestServer as TestRedis;
use masque_tests::prometheus::{Prometheus, ScrapeTarget};
use masque_tests::{
    Authority, Client, Host, Link, MockModel, SECRET, Setup, claims, eventually, fixture, token,
};

use crate::hot_reload::{build, replace_by_rename, with_plugin};

/// How many calls of plugins the first host can run at the same time; it is the lowest number that the setting takes.
pub(super) const INSTANCES: usize = 8;

/// So few tokens a day that the first call of a model uses them up.
const FEW_TOKENS: &str = "20";

/// A turn in which a plugin asks many questions has a longer record than is kept, and texts have to be left out of others.
const RECORDS: &str = "[records]\ncontent = \"full\"\nmax_record_bytes = \"4KiB\"\n";

/// Hardly a turn is recorded.
const FEW_RECORDS: &str = "[records]\nshare = 0.1\n";

/// Requests of users are not limited. Turns wait for their conversation, and calls for an instance, for longer than a test holds
/// them, also on a busy machine.
const LIMITS: &str = "[limits.user]\nper_minute = 1000000\nburst = 1000000\nturns = 64\n\
    [limits.address]\nper_minute = 1000000\nburst = 1000000\n[sandbox]\ninstances = 8\nslot_wait = \"50s\"\n\
    [turn]\nwait = \"10m\"\ntimeout = \"10m\"\n";

pub(super) struct Installation {
    /// With TLS, authentication, an admin listener, traces, and plugins that misbehave; on SQLite.
    pub(super) single: Host,
    /// On PostgreSQL and Redis, without authentication.
    pub(super) shared: Host,
    pub(super) model: MockModel,
    /// Keys with a budget that one call uses up, one for each round.
    pub(super) poor_keys: Vec<String>,
    /// A key that may make one request at once, and the next after 15 s.
    pub(super) slow_key: String,
    pub(super) database_link: Link,
    pub(super) redis_link: Link,
    pub(super) authority: Authority,
    second: Option<Setup>,
    database: TestDatabase,
    _redis: TestRedis,
    _collector: MockModel,
}

impl Installation {
    pub(super) async fn start() -> Self {
        let model = MockModel::start().await;
        // Spans are exported to a port where nobody listens.
        let collector = MockModel::refusing();
        let authority = Authority::new();
        let single = single(&model)
            .encrypted(&authority, &authority.issue())
            .environment("JWT_SECRET_KEY", SECRET)
            .environment("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.origin())
            .environment("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
            .environment("OTEL_BSP_SCHEDULE_DELAY", "200");
        let mut poor_keys = Vec::new();
        for _ in 0..2 {
            poor_keys.push(single.create_key(&["--scope", "chat", "--tokens-per-day", FEW_TOKENS]).await);
        }
        let slow_key = single.create_key(&["--scope", "chat", "--requests-per-minute", "4"]).await;
        let single = single.start().await;

        let redis = TestRedis::start();
        let database = TestServer::shared().migrated_database().await;
        let database_link = Link::to(TestServer::shared().port()).await;
        let redis_link = Link::to(redis.port()).await;
        let on_database = |port: u16, redis: u16| {
            Setup::model(&model)
                // So that there is something to measure.
                .compiling()
                .and("[admin]\nlisten = \"127.0.0.1:0\"")
                .and(FEW_RECORDS)
                .environment(
                    "DATABASE_URL",
                    &format!("postgresql://postgres@127.0.0.1:{port}/{}", database.name),
                )
                .environment("REDIS_URL", &format!("redis://127.0.0.1:{redis}"))
        };
        let shared = on_database(database_link.port(), redis_link.port()).start().await;
        let second = on_database(TestServer::shared().port(), redis.port());
        Self {
            single,
            shared,
            model,
            poor_keys,
            slow_key,
            database_link,
            redis_link,
            authority,
            second: Some(second),
            database,
            _redis: redis,
            _collector: collector,
        }
    }

    /// A Prometheus that scrapes the admin listeners of both hosts.
    pub(super) async fn prometheus(&self) -> Prometheus {
        let (single, shared) = (admin_address(&self.single).await, admin_address(&self.shared).await);
        Prometheus::start(&[
            ScrapeTarget { address: &single, trusted: Some(self.authority.pem()) },
            ScrapeTarget { address: &shared, trusted: None },
        ])
        .await
    }

    /// Starts another host on the database, which Prometheus does not scrape.
    pub(super) async fn join(&mut self, prometheus: &Prometheus) -> Host {
        let second = self.second.take().expect("it joins once").start().await;
        prometheus.until("masque_hosts_live == 2").await;
        second
    }

    /// Ends the leases of all running turns of the hosts on PostgreSQL, as if their hosts had been away for too long.
    pub(super) fn end_leases(&self) {
        let ended = "UPDATE leases SET ends_at = 1 WHERE turn IS NOT NULL";
        TestServer::shared().psql(&self.database.name, ended);
    }

    /// Gives the first host another certificate, which expires earlier.
    pub(super) fn replace_certificate(&self) {
        let issued = self.authority.issue_until(2050);
        for (file, content) in [("tls.key", &issued.key), ("tls.crt", &issued.certificate)] {
            replace_by_rename(&self.single.folder().join(file), content.as_bytes());
        }
    }

    /// A user of the first host.
    pub(super) fn user(&self, name: &str) -> Client {
        self.single.client().bearer(&token(&claims(name)))
    }
}

/// The file of the first host: one companion for each way to misbehave.
fn single(model: &MockModel) -> Setup {
    let counting = fixture("counts-exchanges");
    let mut setup = Setup::file(LIMITS)
        .compiling()
        .and(RECORDS)
        .and("[admin]\nlisten = \"127.0.0.1:0\"\n[server]\ntrusted_proxies = [\"127.0.0.1\"]\n")
        .and(&model.plugin("mock", ""))
        .and("[companions.elara]\npersona = \"elara\"\nmemory = \"counting\"\nmodels = [\"mock\"]\n")
        .and(&format!("[plugins.counting]\nsource = {counting:?}\ngrants.state = true\n"))
        // Its memory may not write down what it observes, so its jobs fail at every try.
        .and("[companions.forgetful]\npersona = \"elara\"\nmemory = \"ungranted\"\nmodels = [\"mock\"]\n")
        .and(&format!("[plugins.ungranted]\nsource = {counting:?}\n"));
    for (name, component, entry) in [
        ("trapping", "panics", ""),
        ("hoarding", "hoards", "limits.memory = \"16MiB\"\n"),
        ("denied", "uses-what-it-can", ""),
        ("asking", "uses-what-it-can", "grants.models = true\n"),
        (
            "filling",
            "breaks-a-call",
            "settings.behaviour = \"fills-its-state\"\nlimits.state = \"1MiB\"\ngrants.state = true\n",
        ),
    ] {
        let source = fixture(component);
        setup = setup.and(&format!(
            "[companions.{name}]\npersona = \"{name}\"\nmodels = [\"mock\"]\n[plugins.{name}]\nsource = {source:?}\n{entry}"
        ));
    }
    with_plugin(setup, "speaker", &build(1))
}

/// `127.0.0.1:PORT` of the admin listener.
async fn admin_address(host: &Host) -> String {
    eventually("the address of the admin listener", || async {
        let log = host.log();
        let (_, rest) = log.split_once("operators are served on http")?;
        let (_, rest) = rest.split_once("://")?;
        let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.' && letter != ':')?;
        Some(rest[..end].to_owned())
    })
    .await
}
