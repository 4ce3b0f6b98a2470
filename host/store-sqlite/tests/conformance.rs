//! The conformance suite of `masque-store`, on SQLite.
#![allow(clippy::unwrap_used, reason = "all of this crate is a test")]

use std::sync::Arc;

use masque_store::Store;
use masque_store_sqlite::SqliteStore;
use tempfile::TempDir;

/// An empty store in a folder of its own, which is removed with the guard.
async fn open() -> (Arc<dyn Store>, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).await.unwrap();
    (store, folder)
}

mod suite {
    masque_store::conformance_tests!(crate::open);
}
