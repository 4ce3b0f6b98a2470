//! Keys that the command line creates before the first start of a host and while a host runs.

use masque_store::conformance::fixtures::*;
use masque_store_sqlite::{SqliteStore, open_key_ring};

#[tokio::test]
async fn a_key_can_be_created_before_the_first_start() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("data");
    let ring = open_key_ring(&folder).await.unwrap();
    let created = ring.create_key(new_key(1), entry("key.create")).await.unwrap();
    ring.close().await;
    let store: Arc<dyn Store> = SqliteStore::open(&folder).await.unwrap();
    assert_eq!(store.key(&created.id).await.unwrap(), Some(created));
}

#[tokio::test]
async fn a_change_by_the_command_line_raises_the_version_that_a_running_host_reads() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = SqliteStore::open(folder.path()).await.unwrap();
    let ring = open_key_ring(folder.path()).await.unwrap();
    let before = store.security_version().await.unwrap();
    let created = ring.create_key(new_key(1), entry("key.create")).await.unwrap();
    assert!(store.security_version().await.unwrap() > before);
    assert_eq!(store.security().await.unwrap().keys, std::slice::from_ref(&created));

    // The store and the key ring write alternately.
    store.create_key(new_key(2), entry("key.create")).await.unwrap();
    ring.rotate_key(&created.id, KeyHash([7; 32]), LONG, entry("key.rotate")).await.unwrap().unwrap();
    ring.revoke_key(&created.id, entry("key.revoke")).await.unwrap().unwrap();
    let what = Revoked::User { subject: "ana".into(), tenant: None };
    let revocation = NewRevocation { issuer: "masque".into(), what };
    let revoked = ring.revoke(revocation, entry("token.revoke")).await.unwrap();
    let security = store.security().await.unwrap();
    assert_eq!(security.revocations, [revoked]);
    assert!(security.keys.iter().any(|key| key.id == created.id && key.revoked_at.is_some()));
    assert_eq!(ring.keys(Page { limit: 10, after: None }).await.unwrap().items.len(), 2);
    assert_eq!(store.audit(Page { limit: 10, after: None }).await.unwrap().items.len(), 5);
    ring.close().await;
}
