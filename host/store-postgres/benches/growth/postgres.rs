//! A filled PostgreSQL, its CPU time, and the plans of its queries.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use masque_store::Store;
use masque_store_postgres::PostgresStore;
use masque_store_postgres::testing::{TestDatabase, TestServer, fill_sql};

use crate::{cpu, operations};

pub(crate) struct FilledDatabase {
    server: TestServer,
    database: TestDatabase,
    postmaster: u32,
}

/// A server of its own that flushes what it commits, as in production.
pub(crate) async fn fill(size: u64) -> FilledDatabase {
    let settings =
        ["fsync=on", "full_page_writes=on", "shared_buffers=1GB", "max_wal_size=8GB", "autovacuum=on"];
    let server = TestServer::start_with(&settings);
    let database = server.migrated_database().await;
    server.psql(&database.name, &fill_sql(size));
    server.psql(&database.name, "VACUUM ANALYZE");
    server.psql(&database.name, "CHECKPOINT");
    let pid = server.psql("postgres", "SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)");
    FilledDatabase { server, database, postmaster: pid.parse().unwrap() }
}

impl FilledDatabase {
    pub(crate) async fn open(&self) -> Arc<dyn Store> {
        let mut options = self.database.options();
        // The backend of an idle connection that is closed would take its CPU time with it.
        options.max_connections = 1;
        PostgresStore::open(&options).await.unwrap()
    }

    /// The CPU time of all processes of the server.
    pub(crate) fn cpu(&self) -> Duration {
        cpu::of_children(self.postmaster)
    }

    /// The plan of each statement of the operations, those within functions too, once, as it was executed last.
    pub(crate) async fn plans(&self, size: u64) -> String {
        let settings = [
            "session_preload_libraries = 'auto_explain'",
            "auto_explain.log_min_duration = 0",
            "auto_explain.log_nested_statements = on",
            "auto_explain.log_analyze = on",
            "auto_explain.log_buffers = on",
        ];
        for setting in settings {
            self.server.psql("postgres", &format!("ALTER DATABASE {} SET {setting}", self.database.name));
        }
        let store = self.open().await;
        operations::run_once(&store, size, &mut Rng::with_seed(2)).await;
        store.close().await;
        let read = "SELECT pg_read_file(current_setting('data_directory') || '/../server.log')";
        let log = self.server.psql("postgres", read);
        let mut plans: BTreeMap<String, String> = BTreeMap::new();
        for entry in log.split("LOG:  duration: ").skip(1) {
            let Some((_, plan)) = entry.split_once("Query Text: ") else { continue };
            // The next lines say which function ran the statement, or begin another entry.
            let plan: Vec<&str> =
                plan.lines().take_while(|line| line.starts_with('\t') || !line.starts_with("20")).collect();
            let name: String = plan.join(" ").split_whitespace().take(14).collect::<Vec<_>>().join(" ");
            plans.insert(name, plan.join("\n"));
        }
        plans.into_values().map(|plan| format!("{plan}\n\n")).collect()
    }
}
