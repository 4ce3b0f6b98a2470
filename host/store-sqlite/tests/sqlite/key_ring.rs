//! Keys from the command line: before the first host, and beside one that runs.

use masque_store::conformance::fixtures::*;
use masque_store_sqlite::{SqliteStore, open_key_ring};

#[tokio::test]
async fn a_key_can_be_made_before_any_host_has_run() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("data");
    let ring = open_key_ring(&folder).await.unwrap();
    let made = ring.create_key(new_key(1), entry("key.create")).await.unwrap();
    ring.close().await;
    let store: Arc<dyn Store> = SqliteStore::open(&folder).await.unwrap();
    assert_eq!(store.key(&made.id).await.unwrap(), Some(made));
}

#[tokio::test]
async fn a_host_learns_by_the_version_of_what_was_done_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = SqliteStore::open(folder.path()).await.unwrap();
    let ring = open_key_ring(folder.path()).await.unwrap();
    let before = store.security_version().await.unwrap();
    let made = ring.create_key(new_key(1), entry("key.create")).await.unwrap();
    assert!(store.security_version().await.unwrap() > before);
    assert_eq!(store.security().await.unwrap().keys, std::slice::from_ref(&made));

    // Both write, each in its turn.
    store.create_key(new_key(2), entry("key.create")).await.unwrap();
    ring.rotate_key(&made.id, KeyHash([7; 32]), LONG, entry("key.rotate")).await.unwrap().unwrap();
    ring.revoke_key(&made.id, entry("key.revoke")).await.unwrap().unwrap();
    let what = Revoked::User { subject: "ana".into(), tenant: None };
    let revocation = NewRevocation { issuer: "masque".into(), what };
    let revoked = ring.revoke(revocation, entry("token.revoke")).await.unwrap();
    let known = store.security().await.unwrap();
    assert_eq!(known.revocations, [revoked]);
    assert!(known.keys.iter().any(|key| key.id == made.id && key.revoked_at.is_some()));
    assert_eq!(ring.keys(Page { limit: 10, after: None }).await.unwrap().items.len(), 2);
    assert_eq!(store.audit(Page { limit: 10, after: None }).await.unwrap().items.len(), 5);
    ring.close().await;
}
