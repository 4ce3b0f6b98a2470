//! The conformance suite of `masque-store`, on PostgreSQL, directly and through PgBouncer.
#![allow(clippy::unwrap_used, reason = "all of this crate is a test")]

use std::sync::{Arc, OnceLock};

use masque_store::Store;
use masque_store_postgres::PostgresStore;
use masque_store_postgres::testing::{PgBouncer, TestDatabase, TestPooler, TestServer};

/// An empty store in a database of its own, which is dropped with the guard.
async fn open() -> (Arc<dyn Store>, TestDatabase) {
    let database = TestServer::shared().migrated_database().await;
    let store = PostgresStore::open(&database.options()).await.unwrap();
    (store, database)
}

/// The same through a PgBouncer in transaction mode with fewer connections to the server than the store has; `None` where no
/// PgBouncer is here.
async fn open_through_pgbouncer() -> Option<(Arc<dyn Store>, TestDatabase)> {
    static POOLER: OnceLock<Option<TestPooler>> = OnceLock::new();
    let pooler = POOLER.get_or_init(|| {
        let program = PgBouncer::of_debian13("the store through PgBouncer")?;
        let settings = [("max_prepared_statements", "100")];
        Some(TestPooler::start(&program, TestServer::shared(), &settings))
    });
    let pooler = pooler.as_ref()?;
    let database = TestServer::shared().migrated_database().await;
    let store = PostgresStore::open(&pooler.options(&database)).await.unwrap();
    Some((store, database))
}

mod suite {
    masque_store::conformance_tests!(crate::open);
}

mod through_pgbouncer {
    masque_store::conformance_tests!(crate::open_through_pgbouncer);
}
