//! The conformance suite of `masque-store`, on PostgreSQL.
#![allow(clippy::unwrap_used, reason = "all of this crate is a test")]

use std::sync::Arc;

use masque_store::Store;
use masque_store_postgres::PostgresStore;
use masque_store_postgres::testing::{TestDatabase, TestServer};

/// An empty store in a database of its own, which is dropped with the guard.
async fn open() -> (Arc<dyn Store>, TestDatabase) {
    let database = TestServer::shared().migrated_database().await;
    let store = PostgresStore::open(&database.options()).await.unwrap();
    (store, database)
}

mod suite {
    masque_store::conformance_tests!(crate::open);
}
