//! The command line opens the data folder of a running host.

use masque_store::conformance::fixtures::*;
use masque_store_sqlite::{SqliteStore, open_key_ring, open_parked_jobs};

#[tokio::test]
async fn the_command_line_interrupts_no_turn_of_a_running_host_and_keeps_its_lock() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = SqliteStore::open(folder.path()).await.unwrap();
    let running = start(&store, admission(new_conversation(), "Hello")).await;
    let ring = open_key_ring(folder.path()).await.unwrap();
    let parked = open_parked_jobs(folder.path()).await.unwrap();
    ring.check().await.unwrap();
    ring.close().await;
    parked.close().await;
    assert!(matches!(ring.security_version().await, Err(StoreError::Unavailable(_))));
    assert!(matches!(SqliteStore::open(folder.path()).await, Err(OpenError::Locked { .. })));
    kept(store.commit(reply(&running, "Hi")).await);
}

#[tokio::test]
async fn a_host_starts_after_the_command_line_has_closed() {
    let folder = tempfile::tempdir().unwrap();
    let ring = open_key_ring(folder.path()).await.unwrap();
    assert!(matches!(SqliteStore::open(folder.path()).await, Err(OpenError::Locked { .. })));
    ring.close().await;
    SqliteStore::open(folder.path()).await.unwrap();
}
