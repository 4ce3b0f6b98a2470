//! Making the schema, and telling it from those of other versions.

use masque_store::conformance::fixtures::*;
use masque_store_postgres::testing::TestServer;
use masque_store_postgres::{
    PostgresOpenError, PostgresOptions, PostgresStore, RoleTimeout, is_migration_needed, migrate,
    set_role_timeout,
};

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_database_is_refused_until_it_is_migrated_once() {
    let database = TestServer::shared().empty_database();
    let options = database.options();
    let refused = PostgresStore::open(&options).await.unwrap_err();
    assert!(matches!(refused, PostgresOpenError::NotMigrated { .. }), "{refused}");
    assert!(refused.to_string().contains("masque migrate"));
    assert!(is_migration_needed(&options).await.unwrap());
    assert!(migrate(&options).await.unwrap());
    assert!(!is_migration_needed(&options).await.unwrap());
    assert!(!migrate(&options).await.unwrap());
    PostgresStore::open(&options).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn migrations_at_the_same_time_are_applied_once() {
    let database = TestServer::shared().empty_database();
    let options = database.options();
    let migrations = (0..4).map(|_| {
        let options = options.clone();
        tokio::spawn(async move { migrate(&options).await })
    });
    for migrated in futures::future::join_all(migrations).await {
        migrated.unwrap().unwrap();
    }
    let applied = TestServer::shared().psql(&database.name, "SELECT count(*) FROM _sqlx_migrations");
    assert_eq!(applied, "1");
    PostgresStore::open(&options).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schema_of_another_version_is_used_only_if_it_says_so() {
    let server = TestServer::shared();
    let database = server.migrated_database().await;
    let options = database.options();
    server.psql(
        &database.name,
        "INSERT INTO _sqlx_migrations VALUES (2, 'a column', now(), true, '\\x00', 0);
         ALTER TABLE turns ADD COLUMN later text",
    );
    PostgresStore::open(&options).await.unwrap();
    assert!(!migrate(&options).await.unwrap());

    server.psql(&database.name, "UPDATE masque SET compatible_from = 2");
    let refused = PostgresStore::open(&options).await.unwrap_err();
    assert!(matches!(refused, PostgresOpenError::NewerSchema { .. }), "{refused}");
    assert!(matches!(migrate(&options).await, Err(PostgresOpenError::NewerSchema { .. })));

    server.psql(&database.name, "UPDATE _sqlx_migrations SET checksum = '\\x00' WHERE version = 1");
    let refused = PostgresStore::open(&options).await.unwrap_err();
    assert!(matches!(refused, PostgresOpenError::OtherBuild { .. }), "{refused}");

    server.psql(&database.name, "DELETE FROM _sqlx_migrations WHERE version = 1");
    let refused = PostgresStore::open(&options).await.unwrap_err();
    assert!(matches!(refused, PostgresOpenError::OlderSchema { .. }), "{refused}");
}

/// What a later version does to the database of this one: it adds a column that new rows have, and the next version of a
/// function beside the one that this version calls.
#[tokio::test(flavor = "multi_thread")]
async fn this_version_serves_from_the_schema_of_the_next_one() {
    let server = TestServer::shared();
    let database = server.migrated_database().await;
    let options = database.options();
    let before: Arc<dyn Store> = PostgresStore::open(&options).await.unwrap();
    let begun = exchange(&before, new_conversation(), "Hello", "Hi").await;
    server.psql(
        &database.name,
        "BEGIN;
         INSERT INTO _sqlx_migrations VALUES (2, 'mood', now(), true, '\\x00', 0);
         ALTER TABLE turns ADD COLUMN mood text NOT NULL DEFAULT 'even';
         ALTER TABLE messages ADD COLUMN mood text;
         DO $do$ BEGIN
             EXECUTE replace(pg_get_functiondef('masque_admit_v1'::regproc), 'masque_admit_v1', 'masque_admit_v2');
         END $do$;
         COMMIT",
    );
    assert!(!is_migration_needed(&options).await.unwrap());
    // A host that ran meanwhile goes on with its prepared statements, and one that starts serves too.
    let after: Arc<dyn Store> = PostgresStore::open(&options).await.unwrap();
    for (store, plugin) in [(&before, "window"), (&after, "diary")] {
        exchange(store, Target::Existing(begun.conversation), "Hello again", "Hi").await;
        let mut commit = reply(&start(store, admission(new_conversation(), "More")).await, "Hi");
        commit.jobs.push(job(plugin));
        kept(store.commit(commit).await);
        let taken = store.take(host(), LONG, JobLimits::total(1), None).await.unwrap().jobs;
        assert_eq!(taken.len(), 1);
        store.recover(host()).await.unwrap();
    }
    let moods = server.psql(&database.name, "SELECT count(*) FROM turns WHERE mood = 'even'");
    assert_eq!(moods, "5");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_role_of_the_hosts_gets_a_statement_timeout_unless_it_has_one() {
    let server = TestServer::shared();
    let database = server.migrated_database().await;
    let name = &database.name;
    server.psql("postgres", "CREATE ROLE timed LOGIN; CREATE ROLE migrator LOGIN");
    let as_role = |role| PostgresOptions::from_url(&server.url(role, name)).unwrap();
    // A role may set its own, and not that of another.
    let refused = set_role_timeout(&as_role("migrator"), &as_role("timed")).await.unwrap();
    let RoleTimeout::Refused { command } = refused else { panic!("{refused:?}") };
    server.psql(name, "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO timed");
    let timeout = || server.psql_as("timed", name, "SHOW statement_timeout");
    assert_eq!(timeout(), "0");
    let set = set_role_timeout(&as_role("timed"), &as_role("timed")).await.unwrap();
    assert_eq!(set, RoleTimeout::Set(Duration::from_secs(15)));
    assert_eq!(timeout(), "15s");
    assert_eq!(
        set_role_timeout(&database.options(), &as_role("timed")).await.unwrap(),
        RoleTimeout::Present,
        "what is set is left"
    );
    server.psql(name, &format!("ALTER ROLE timed IN DATABASE {name} RESET ALL"));
    server.psql(name, &command);
    assert_eq!(timeout(), "15s", "the command that was named works");
}
