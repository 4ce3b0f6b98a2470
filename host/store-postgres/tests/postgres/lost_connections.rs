//! A lost answer leaves the outcome unknown, and the turn can be looked up; what was not sent is not written.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use masque_store::conformance::fixtures::{
    ada, admission, contents, kept, new_conversation, reply, start, transcript,
};
use masque_store::{Ending, Store, StoreError, Target, TurnStatus};
use masque_store_postgres::PostgresStore;
use masque_store_postgres::testing::TestServer;

use crate::proxy::Proxy;

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_is_unknown_and_repeating_it_tells() {
    let database = TestServer::shared().migrated_database().await;
    let proxy = Proxy::start().await;
    let store: Arc<dyn Store> = PostgresStore::open(&proxy.options(&database)).await.unwrap();
    let started = start(&store, admission(new_conversation(), "Hello")).await;

    proxy.traffic.loses_answers.store(true, Ordering::SeqCst);
    let commit = reply(&started, "Hi");
    let lost = store.commit(commit.clone()).await;
    assert!(matches!(lost, Err(StoreError::OutcomeUnknown(_))), "{lost:?}");
    let unread = store.turn(&ada(), started.turn).await;
    assert!(matches!(unread, Err(StoreError::Unavailable(_))), "a read has no outcome: {unread:?}");

    proxy.traffic.loses_answers.store(false, Ordering::SeqCst);
    let turn = store.turn(&ada(), started.turn).await.unwrap().unwrap();
    assert_eq!(turn.status, TurnStatus::Completed, "it was committed before the answer was lost");
    assert!(matches!(store.commit(commit).await, Ok(Ending::Done { reply: Some(_), .. })));
    assert_eq!(contents(&transcript(&store, started.conversation).await), ["Hello", "Hi"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_takes_too_long_is_unknown_and_its_connection_is_replaced() {
    let database = TestServer::shared().migrated_database().await;
    let mut options = database.options();
    options.max_connections = 1;
    // Long enough for statements that nobody holds up, also on a busy machine.
    options.statement_timeout = Duration::from_secs(3);
    let store: Arc<dyn Store> = PostgresStore::open(&options).await.unwrap();
    let started = start(&store, admission(new_conversation(), "Hello")).await;

    // Somebody else holds the conversation.
    let blocker = sqlx::PgPool::connect(&database.url).await.unwrap();
    let mut held = blocker.begin().await.unwrap();
    sqlx::raw_sql("SELECT FROM leases FOR UPDATE").execute(&mut *held).await.unwrap();
    let slow = store.commit(reply(&started, "Hi")).await;
    assert!(matches!(slow, Err(StoreError::OutcomeUnknown(_))), "{slow:?}");
    let turn = store.turn(&ada(), started.turn).await.unwrap().unwrap();
    assert_eq!(turn.status, TurnStatus::Running, "reads go on meanwhile");
    held.rollback().await.unwrap();
    kept(store.commit(reply(&started, "Hi")).await);
    blocker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_waits_until_its_lease_has_expired_writes_nothing() {
    let database = TestServer::shared().migrated_database().await;
    let store: Arc<dyn Store> = PostgresStore::open(&database.options()).await.unwrap();
    let started = start(&store, admission(new_conversation(), "Hello")).await;

    // Somebody holds the conversation while the lease ends.
    let blocker = sqlx::PgPool::connect(&database.url).await.unwrap();
    let mut held = blocker.begin().await.unwrap();
    sqlx::raw_sql("UPDATE leases SET ends_at = masque_now_v1() + 50").execute(&mut *held).await.unwrap();
    let late = tokio::spawn({
        let (store, commit) = (Arc::clone(&store), reply(&started, "Hi"));
        async move { store.commit(commit).await }
    });
    let expired = "SELECT pg_sleep(0.1) FROM leases WHERE ends_at > masque_now_v1()";
    while sqlx::raw_sql(expired).execute(&mut *held).await.unwrap().rows_affected() > 0 {}
    held.commit().await.unwrap();
    assert_eq!(late.await.unwrap().unwrap(), Ending::LeaseLost);
    assert_eq!(contents(&transcript(&store, started.conversation).await), ["Hello"]);
    blocker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_is_unavailable_and_used_again_when_it_is_back() {
    let database = TestServer::shared().migrated_database().await;
    let proxy = Proxy::start().await;
    let mut options = proxy.options(&database);
    // Long enough to connect on a busy machine.
    options.acquire_timeout = Duration::from_secs(3);
    let store: Arc<dyn Store> = PostgresStore::open(&options).await.unwrap();
    let conversation = start(&store, admission(new_conversation(), "Hello")).await.conversation;
    let name = &database.name;
    let end_all = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");

    // Its connections end while they are idle. The first operation finds out, and the next ones have new connections.
    TestServer::shared().psql("postgres", &end_all);
    let found_out = store.admit(admission(Target::Existing(conversation), "Two")).await;
    assert!(!matches!(found_out, Err(StoreError::Refused(_) | StoreError::Corrupt(_))), "{found_out:?}");
    store.check().await.unwrap();

    TestServer::shared().psql("postgres", &end_all);
    proxy.stop();
    // It fails, and the pool learns that its connections are gone.
    let _ = store.check().await;
    let away = admission(new_conversation(), "Three");
    let refused = store.admit(away.clone()).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    let direct: Arc<dyn Store> = PostgresStore::open(&database.options()).await.unwrap();
    assert_eq!(direct.turn(&ada(), away.turn).await.unwrap(), None, "nothing was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_finishes_what_was_accepted_and_refuses_the_rest() {
    let database = TestServer::shared().migrated_database().await;
    let store: Arc<dyn Store> = PostgresStore::open(&database.options()).await.unwrap();
    let other: Arc<dyn Store> = PostgresStore::open(&database.options()).await.unwrap();
    let started = start(&store, admission(new_conversation(), "Hello")).await;
    let committing = {
        let (store, commit) = (Arc::clone(&store), reply(&started, "Hi"));
        tokio::spawn(async move { store.commit(commit).await })
    };
    tokio::task::yield_now().await;
    store.close().await;
    store.close().await;
    match committing.await.unwrap() {
        Ok(Ending::Done { .. }) => {
            assert_eq!(contents(&transcript(&other, started.conversation).await), ["Hello", "Hi"]);
        }
        Err(StoreError::Unavailable(_)) => {
            assert_eq!(contents(&transcript(&other, started.conversation).await), ["Hello"]);
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(store.check().await, Err(StoreError::Unavailable(_))));
    let refused = store.admit(admission(new_conversation(), "Late")).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
}
