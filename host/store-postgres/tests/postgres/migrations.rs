//! Making the schema, and telling it from those of other versions.

use masque_store_postgres::testing::TestServer;
use masque_store_postgres::{PostgresOpenError, PostgresStore, is_migration_needed, migrate};

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
