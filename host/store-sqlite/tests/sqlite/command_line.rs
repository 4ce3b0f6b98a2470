//! The command line opens the data folder of a running host.

use masque_store::conformance::fixtures::*;
use masque_store_sqlite::{SqliteStore, open_key_ring, open_parked_jobs};

use super::raw_connection;

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

#[tokio::test]
async fn a_host_starts_while_the_parked_jobs_are_open_and_no_file_mode_was_changed() {
    let folder = tempfile::tempdir().unwrap();
    SqliteStore::open(folder.path()).await.unwrap().close().await;
    let database = folder.path().join("masque.db");
    #[cfg(unix)]
    let mode = || {
        use std::os::unix::fs::PermissionsExt;
        std::fs::metadata(&database).unwrap().permissions().mode() & 0o777
    };
    #[cfg(unix)]
    std::fs::set_permissions(&database, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    let parked = open_parked_jobs(folder.path()).await.unwrap();
    #[cfg(unix)]
    assert_eq!(mode(), 0o640);
    let store: Arc<dyn Store> = SqliteStore::open(folder.path()).await.unwrap();
    exchange(&store, new_conversation(), "Hello", "Hi").await;
    assert_eq!(parked.parked_jobs().await.unwrap(), []);
    parked.close().await;
    exchange(&store, new_conversation(), "Hello", "Hi").await;
}

#[tokio::test]
async fn a_database_without_a_schema_has_no_parked_jobs_to_open() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("masque.db"), "").unwrap();
    match open_parked_jobs(folder.path()).await.err() {
        Some(error @ OpenError::NoSchema { .. }) => {
            let text = error.to_string();
            assert!(text.contains("no schema yet") && text.contains("once the host runs"), "{text}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_database_that_can_not_be_opened_is_named_with_the_cause() {
    let folder = tempfile::tempdir().unwrap();
    match open_parked_jobs(folder.path()).await.err() {
        Some(OpenError::Io { source, .. }) => {
            let text = source.to_string();
            assert!(text.contains("masque.db") && text.contains("No such file"), "{text}");
        }
        other => panic!("{other:?}"),
    }
    assert!(!folder.path().join("masque.db").exists(), "nothing is made");
}

#[tokio::test]
async fn a_key_ring_beside_a_host_of_another_version_names_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let _host = SqliteStore::open(folder.path()).await.unwrap();
    let database = raw_connection::open(folder.path());
    database.execute("UPDATE schema_digest SET digest = 'later'", []).unwrap();
    match open_key_ring(folder.path()).await.err() {
        Some(error @ OpenError::UsedByOtherVersion { .. }) => {
            let text = error.to_string();
            assert!(text.contains("run this command with that version"), "{text}");
        }
        other => panic!("{other:?}"),
    }
}
