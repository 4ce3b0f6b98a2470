//! How many round trips the operations of a turn take.

use std::sync::Arc;

use masque_store::conformance::fixtures::{
    LONG, ada, admission, contents, exchange, host, job, kept, new_conversation, reply, start, transcript,
};
use masque_store::{Admission, AdmissionOutcome, Commit, Store, Target, TurnId, Waiting};
use masque_store_postgres::PostgresStore;
use masque_store_postgres::testing::TestServer;

use crate::proxy::Proxy;

#[tokio::test(flavor = "multi_thread")]
async fn an_admission_and_a_commit_are_one_round_trip_each() {
    let database = TestServer::shared().migrated_database().await;
    let proxy = Proxy::start().await;
    let store: Arc<dyn Store> = PostgresStore::open(&proxy.options(&database)).await.unwrap();
    // Statements are prepared on their first use.
    let first = exchange(&store, new_conversation(), "One", "First").await;
    store.heartbeat(host(), &[], LONG).await.unwrap();
    proxy.statements();

    let started = start(&store, admission(Target::Existing(first.conversation), "Two")).await;
    assert_eq!(contents(&started.tail), ["One", "First"]);
    assert_eq!(proxy.statements(), 1, "an admission in a conversation that exists");
    let commit = Commit { jobs: vec![job("window"), job("card")], ..reply(&started, "Second") };
    kept(store.commit(commit).await);
    assert_eq!(proxy.statements(), 1, "a commit with jobs");

    let started = start(&store, admission(Target::Existing(first.conversation), "Before")).await;
    proxy.statements();
    let waits = Admission {
        waiting: Some(Waiting { max: 4, ttl: LONG }),
        ..admission(Target::Existing(first.conversation), "After")
    };
    let outcome = store.admit(waits.clone()).await.unwrap().outcome;
    assert!(matches!(outcome, AdmissionOutcome::Busy { is_waiting: true, .. }), "{outcome:?}");
    assert_eq!(proxy.statements(), 1, "an admission that gets a ticket");
    kept(store.commit(reply(&started, "Done")).await);
    assert_eq!(proxy.statements(), 1, "a commit that names who waits");
    let started = start(&store, waits).await;
    assert_eq!(proxy.statements(), 1, "an admission with a ticket");
    kept(store.commit(reply(&started, "Done")).await);
    proxy.statements();

    let keyed = Admission {
        idempotency: masque_store::conformance::fixtures::key("k"),
        ..admission(new_conversation(), "Three")
    };
    let started = start(&store, keyed).await;
    assert_eq!(proxy.statements(), 1, "an admission with a key and a new conversation");
    let many: Vec<TurnId> = (0..50).map(|_| TurnId::new()).chain([started.turn]).collect();
    assert_eq!(store.heartbeat(host(), &many, LONG).await.unwrap().held, [started.turn]);
    assert_eq!(proxy.statements(), 1, "a heartbeat with many turns");
    assert_eq!(transcript(&store, first.conversation).await.len(), 8);
    assert_eq!(proxy.statements(), 1, "a page of messages");
    assert!(store.turn(&ada(), started.turn).await.unwrap().is_some());
    assert_eq!(proxy.statements(), 1, "a turn");
}
