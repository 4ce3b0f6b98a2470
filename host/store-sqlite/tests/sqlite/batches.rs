//! Operations that share a transaction, and the rows that operations leave behind.

use futures::future::join_all;
use masque_store::conformance::fixtures::*;
use masque_store_sqlite::SqliteStore;

use super::raw_connection;

#[tokio::test]
async fn a_locked_database_fails_all_waiting_operations_together_and_the_store_works_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = SqliteStore::open(folder.path()).await.unwrap();
    let other = raw_connection::open(folder.path());
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let attempts = join_all((0..20).map(|_| {
        let admission = admission(new_conversation(), "Hello");
        async { (admission.turn, store.admit(admission).await) }
    }));
    let start_of_wait = std::time::Instant::now();
    let attempts = attempts.await;
    // Each waits for 5 s.
    assert!(start_of_wait.elapsed() < Duration::from_secs(50), "the operations waited one after another");
    other.execute_batch("ROLLBACK").unwrap();
    for (turn, attempt) in attempts {
        assert!(matches!(attempt, Err(StoreError::Unavailable(_))), "{attempt:?}");
        assert_eq!(store.turn(&ada(), turn).await.unwrap(), None);
    }
    exchange(&store, new_conversation(), "Hello", "Hi").await;
}

#[tokio::test]
async fn the_text_of_a_reply_is_stored_once() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = SqliteStore::open(folder.path()).await.unwrap();
    let started = start(&store, admission(new_conversation(), "Hello")).await;
    let text = "a text that is there once";
    let response = serde_json::json!({ "reply": { "role": "assistant", "content": text }, "finish": "stop" });
    kept(store.commit(Commit { response: response.clone(), ..reply(&started, text) }).await);
    assert_eq!(store.turn(&ada(), started.turn).await.unwrap().unwrap().response, Some(response));
    let database = raw_connection::open(folder.path());
    assert_eq!(
        raw_connection::number(&database, "SELECT count(*) FROM turns WHERE response LIKE '%there once%'"),
        0
    );
    assert_eq!(
        raw_connection::number(&database, "SELECT count(*) FROM messages WHERE text LIKE '%there once%'"),
        1
    );
}

#[tokio::test]
async fn a_deleted_conversation_leaves_no_row_but_its_user() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = SqliteStore::open(folder.path()).await.unwrap();
    let keyed = || Admission { idempotency: key("k"), ..admission(new_conversation(), "Hello") };
    let started = start(&store, keyed()).await;
    kept(store.commit(Commit { jobs: vec![job("window"), job("window")], ..reply(&started, "Hi") }).await);
    let space = StateSpace {
        tenant: "default".into(),
        plugin: "window".into(),
        scope: StateScope::Conversation(started.conversation),
    };
    let change = StateChange::Set { value: b"x".to_vec(), if_version: None, ttl: None };
    let write = StateWrite { key: StateKey { space, key: "k".into() }, change, quota: None };
    store.state_write(None, vec![write]).await.unwrap().unwrap();
    let database = raw_connection::open(folder.path());
    let rows = |table: &str| raw_connection::number(&database, &format!("SELECT count(*) FROM {table}"));
    let tables = ["conversations", "leases", "turns", "messages", "idempotency_keys", "jobs", "state"];
    assert_eq!(tables.map(rows), [1, 1, 1, 2, 1, 2, 1]);
    assert!(store.delete(&ada(), started.conversation).await.unwrap());
    while store.sweep().await.unwrap() > 0 {}
    assert_eq!(tables.map(rows), [0; 7]);
    assert_eq!(rows("users"), 1);
}
