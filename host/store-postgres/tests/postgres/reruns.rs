//! A statement that the server undoes because of others runs again, a bounded number of times.

use std::sync::Arc;

use masque_store::conformance::fixtures::{LONG, admission, host, kept, new_conversation, reply, start};
use masque_store::{Store, StoreError};
use masque_store_postgres::PostgresStore;
use masque_store_postgres::testing::TestServer;

/// Takes the second conversation, waits until somebody waits for it, and then takes the first, which that one holds.
const CIRCLE: &str = "
    DO $$
    BEGIN
        PERFORM 1 FROM leases WHERE conversation = (SELECT max(conversation::text)::uuid FROM leases) FOR UPDATE;
        LOOP
            PERFORM pg_stat_clear_snapshot();
            EXIT WHEN EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted);
            PERFORM pg_sleep(0.005);
        END LOOP;
        PERFORM 1 FROM leases WHERE conversation = (SELECT min(conversation::text)::uuid FROM leases) FOR UPDATE;
    END $$";

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_ends_a_deadlock_runs_again() {
    // A server of its own, since the test looks at the locks of all databases.
    let server = TestServer::start();
    let database = server.migrated_database().await;
    // The store looks for deadlocks after a second, and the other side never does: so the store's write is undone.
    server.psql(&database.name, &format!("ALTER DATABASE {} SET deadlock_timeout = '1s'", database.name));
    let store: Arc<dyn Store> = PostgresStore::open(&database.options()).await.unwrap();
    let turns = [
        start(&store, admission(new_conversation(), "One")).await.turn,
        start(&store, admission(new_conversation(), "Two")).await.turn,
    ];

    let other = sqlx::PgPool::connect(&database.url).await.unwrap();
    let mut connection = other.acquire().await.unwrap();
    sqlx::raw_sql("SET deadlock_timeout = '1h'").execute(&mut *connection).await.unwrap();
    let circle = tokio::spawn(async move { sqlx::raw_sql(CIRCLE).execute(&mut *connection).await.map(drop) });
    while server.psql(&database.name, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(0.005)%' AND state = 'active' AND pid <> pg_backend_pid()") != "1" {
        tokio::task::yield_now().await;
    }
    let mut held = store.heartbeat(host(), &turns, LONG).await.unwrap().held;
    held.sort();
    assert_eq!(held, turns);
    circle.await.unwrap().unwrap();
    other.close().await;
    assert_eq!(server.end_connections_and_count_deadlocks(&database.name), 1);
}

/// A commit of the store after the function behind it was replaced by one that fails `failures` times with `code`, and how often it ran.
async fn commit_failing(code: &str, failures: u32) -> (Result<(), StoreError>, String) {
    let server = TestServer::shared();
    let database = server.migrated_database().await;
    let store: Arc<dyn Store> = PostgresStore::open(&database.options()).await.unwrap();
    let started = start(&store, admission(new_conversation(), "Hello")).await;
    // A sequence counts on although the statement is undone.
    server.psql(
        &database.name,
        &format!(
            "CREATE SEQUENCE runs;
             CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
                 IF nextval('runs') <= {failures} THEN
                     RAISE EXCEPTION 'planted' USING ERRCODE = '{code}';
                 END IF;
                 RETURN NEW;
             END $$;
             CREATE TRIGGER fail BEFORE UPDATE ON leases FOR EACH ROW EXECUTE FUNCTION fail();"
        ),
    );
    let ended = store.commit(reply(&started, "Hi")).await.map(|ending| drop(kept(Ok(ending))));
    (ended, server.psql(&database.name, "SELECT last_value FROM runs"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_is_undone_for_others_runs_up_to_five_times() {
    for code in ["40P01", "40001"] {
        assert_eq!(commit_failing(code, 4).await, (Ok(()), "5".into()), "{code}");
        let (ended, runs) = commit_failing(code, 99).await;
        assert!(matches!(ended, Err(StoreError::Unavailable(_))), "{ended:?}");
        assert_eq!(runs, "5", "{code}");
    }
    // Any other failure is final.
    let (ended, runs) = commit_failing("53100", 99).await;
    assert!(matches!(ended, Err(StoreError::Unavailable(_))), "{ended:?}");
    assert_eq!(runs, "1");
}
