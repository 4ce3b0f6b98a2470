//! A host with PostgreSQL and Redis in which a random secret of each kind is planted.

use masque_store_postgres::testing::{TestDatabase, TestServer};
use masque_store_redis::testing::TestServer as TestRedis;
use masque_telemetry::testing::Collector;
use masque_tests::{Client, Host, MockModel, Planted, Setup, fixture};
use serde_json::json;

/// The user of the database who has a password.
const DATABASE_USER: &str = "planted";

/// Everyone but this user is trusted, as in other tests.
const ASK_FOR_PASSWORD: &str = "sed -i '1i host all planted all scram-sha-256' pg_hba.conf";

/// Every line, texts in the records, and a listener for operators.
const OUTPUTS: &str = "[log]\nlevel = \"trace\"\n[records]\ncontent = \"full\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
    [limits.user]\nper_minute = 1000000\nburst = 1000000\n[limits.address]\nper_minute = 1000000\nburst = 1000000\n";

/// A random secret of each kind.
pub(super) struct Secrets {
    pub(super) credential: Planted,
    pub(super) signing: Planted,
    pub(super) otlp_header: Planted,
    pub(super) database: Planted,
    pub(super) redis: Planted,
    pub(super) query: Planted,
}

impl Secrets {
    pub(super) fn random() -> Self {
        Self {
            credential: Planted::random("the credential of the upstream"),
            signing: Planted::random("the key that signs tokens"),
            otlp_header: Planted::random("the header for the collector"),
            database: Planted::random("the password of the database"),
            redis: Planted::random("the password of Redis"),
            query: Planted::random("the key in the query of a URL"),
        }
    }

    pub(super) fn all(&self) -> Vec<Planted> {
        let Self { credential, signing, otlp_header, database, redis, query } = self;
        [credential, signing, otlp_header, database, redis, query].map(Planted::clone).to_vec()
    }
}

/// A running host, and the servers that it uses. They end after it.
pub(super) struct PlantedHost {
    pub(super) host: Host,
    pub(super) model: MockModel,
    pub(super) collector: Collector,
    pub(super) database: TestDatabase,
    pub(super) server: TestServer,
    pub(super) redis: TestRedis,
    /// An API key of an administrator.
    pub(super) key: String,
    /// A token of a user, minted by the host.
    pub(super) token: String,
    _refusing: MockModel,
}

impl PlantedHost {
    pub(super) async fn start(secrets: &Secrets) -> Self {
        let server = TestServer::start();
        server.psql(
            "postgres",
            &format!("CREATE ROLE {DATABASE_USER} LOGIN PASSWORD '{}'", secrets.database.text()),
        );
        server.shell(ASK_FOR_PASSWORD);
        server.psql("postgres", "SELECT pg_reload_conf()");
        let database = server.migrated_database().await;
        for what in ["TABLES", "SEQUENCES"] {
            let grant = format!("GRANT ALL ON ALL {what} IN SCHEMA public TO {DATABASE_USER}");
            server.psql(&database.name, &grant);
        }
        let mut redis = TestRedis::start();
        redis.set_password(secrets.redis.text());
        let collector = Collector::start().await.unwrap();
        let model = MockModel::with_key(secrets.credential.text()).await;
        let refusing = MockModel::refusing();
        let setup = Setup::file(&configuration(&model, &refusing, &secrets.query))
            .environment("JWT_SECRET_KEY", secrets.signing.text())
            .environment("DATABASE_URL", &database_url(&server, &database, &secrets.database))
            .environment("REDIS_URL", &redis_url(&redis, &secrets.redis));
        let setup = exporting_to(setup, &collector).environment(
            "OTEL_EXPORTER_OTLP_HEADERS",
            &format!("x-api-key={}", secrets.otlp_header.percent_encoded()),
        );
        let scopes = ["chat", "admin:read", "admin:write", "tokens:mint"].map(|scope| ["--scope", scope]);
        let key = setup.create_key(&scopes.concat()).await;
        let host = setup.start().await;
        let minted = host.client().bearer(&key).post("/auth/token", &json!({ "user_id": "ana" }));
        let minted = minted.send().await.expect(200);
        let token = minted["access_token"].as_str().unwrap().to_owned();
        Self { host, model, collector, database, server, redis, key, token, _refusing: refusing }
    }

    /// The user whose token the host has minted.
    pub(super) fn user(&self) -> Client {
        self.host.client().bearer(&self.token)
    }

    /// Replaces the password of the database's user, and ends the connections.
    pub(super) fn change_database_password(&self, password: &Planted) {
        let change = format!("ALTER ROLE {DATABASE_USER} PASSWORD '{}'", password.text());
        self.server.psql("postgres", &change);
        let end = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{DATABASE_USER}'"
        );
        self.server.psql("postgres", &end);
    }

    /// Replaces the password of Redis, and ends the connections.
    pub(super) fn change_redis_password(&mut self, password: &Planted) {
        self.redis.set_password(password.text());
        self.redis.command(&["CLIENT", "KILL", "TYPE", "normal"]);
        self.redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    }
}

pub(super) fn database_url(server: &TestServer, database: &TestDatabase, password: &Planted) -> String {
    let (port, name) = (server.port(), &database.name);
    format!("postgresql://{DATABASE_USER}:{}@127.0.0.1:{port}/{name}", password.percent_encoded())
}

pub(super) fn redis_url(redis: &TestRedis, password: &Planted) -> String {
    redis.url_of(&format!(":{}", password.percent_encoded()))
}

/// Sends the spans of a host to a collector as soon as they end.
pub(super) fn exporting_to(setup: Setup, collector: &Collector) -> Setup {
    setup
        .environment("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url())
        .environment("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
        .environment("OTEL_BSP_SCHEDULE_DELAY", "1")
}

/// The file of a host that writes as much as it may. Its companions: `elara` asks the model; the model of `away` can't be
/// reached, and that of `denied` may not be; `picky` fails with what the user wrote; `listening` keeps what the model says.
/// All models are asked with a key in the query of the URL, and so is an issuer of tokens that can't be reached.
pub(super) fn configuration(model: &MockModel, refusing: &MockModel, query: &Planted) -> String {
    let with_query = |plugin: String| {
        plugin.replace("/v1\"\nmodel", &format!("/v1?key={}\"\nmodel", query.percent_encoded()))
    };
    let granted = |plugin: &str| model.plugin(plugin, "");
    let grants = format!("http = [\"{}\"], credentials = [\"denied\"]", model.origin());
    let denied = granted("denied").replace(&grants, "http = []");
    let denied = denied.split("[credentials.").next().unwrap().to_owned();
    let companions = [
        ("elara", "elara", "window", "mock"),
        ("away", "elara", "window", "away"),
        ("denied", "elara", "window", "denied"),
        ("picky", "picky", "window", "mock"),
        ("listening", "elara", "listening", "mock"),
    ];
    let companions = companions.map(|(name, persona, memory, model)| {
        format!(
            "[companions.{name}]\npersona = \"{persona}\"\nmemory = \"{memory}\"\nmodels = [\"{model}\"]\n"
        )
    });
    let fixtures =
        [("picky", "asks-its-state"), ("listening", "counts-exchanges")].map(|(name, component)| {
            format!("[plugins.{name}]\nsource = {:?}\ngrants.state = true\n", fixture(component))
        });
    let models = [granted("mock"), refusing.plugin("away", ""), denied].map(with_query);
    let issuer = format!(
        "[auth.issuers.away]\nissuer = \"https://id.test/\"\naudience = \"masque\"\njwks_url = \"{}/keys?key={}\"\n",
        refusing.origin(),
        query.percent_encoded()
    );
    [OUTPUTS.to_owned(), issuer, companions.concat(), fixtures.concat(), models.concat()].concat()
}
