//! A server with no connection left (`max_connections`).

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use masque_store::conformance::fixtures::{
    ada, admission, contents, new_conversation, reply, start, transcript,
};
use masque_store::{Ending, Store, StoreError};
use masque_store_postgres::testing::TestServer;
use masque_store_postgres::{PostgresOpenError, PostgresOptions, PostgresStore};

#[tokio::test(flavor = "multi_thread")]
async fn a_store_goes_on_with_the_connections_that_it_has_when_the_server_has_none_left() {
    let server = TestServer::start_with(&["max_connections=12"]);
    let database = server.migrated_database().await;
    server.psql("postgres", "CREATE ROLE masque LOGIN");
    let grants = "GRANT ALL ON ALL TABLES IN SCHEMA public TO masque; GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO masque";
    server.psql(&database.name, grants);
    let mut options = PostgresOptions::from_url(&server.url("masque", &database.name)).unwrap();
    options.acquire_timeout = Duration::from_millis(500);
    let store: Arc<dyn Store> = PostgresStore::open(&options).await.unwrap();
    let started = start(&store, admission(new_conversation(), "Hello")).await;

    let held = server.hold_all_connections("masque", &database.name);
    assert!(held.count() > 1, "{}", held.count());
    let refused = PostgresStore::open(&options).await.unwrap_err();
    assert!(matches!(refused, PostgresOpenError::TooManyConnections { .. }), "{refused}");
    assert!(refused.is_transient() && refused.to_string().contains("max_connections"), "{refused}");
    // More statements at once than the store has connections: some get none in time.
    let owner = ada();
    let read = join_all((0..8).map(|_| store.turn(&owner, started.turn))).await;
    assert!(read.iter().any(|read| matches!(read, Ok(Some(_)))), "{read:?}");
    assert!(
        read.iter().all(|read| matches!(read, Ok(Some(_)) | Err(StoreError::Unavailable(_)))),
        "{read:?}"
    );
    assert!(read.iter().any(Result::is_err), "the server has a connection left: {read:?}");
    // What gets no connection was not sent, so nobody wonders whether it was written.
    let commits = join_all((0..8).map(|_| store.commit(reply(&started, "Hi")))).await;
    assert!(
        commits
            .iter()
            .all(|commit| matches!(commit, Ok(Ending::Done { .. }) | Err(StoreError::Unavailable(_)))),
        "{commits:?}"
    );

    drop(held);
    assert!(matches!(store.commit(reply(&started, "Hi")).await, Ok(Ending::Done { .. })));
    assert_eq!(contents(&transcript(&store, started.conversation).await), ["Hello", "Hi"]);
    store.close().await;
}
