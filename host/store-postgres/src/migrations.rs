//! Makes and changes the schema. Runs on a connection of its own that no pooler is in front of, since the lock that keeps
//! two migrations apart belongs to the session.

use std::sync::LazyLock;

use sqlx::Executor as _;
use sqlx::postgres::PgPoolOptions;
use sqlx_core::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx_core::sql_str::SqlSafeStr;

use crate::connecting::{connect, disconnect};
use crate::error::DatabaseError;
use crate::open_error::PostgresOpenError;
use crate::options::PostgresOptions;
use crate::schema::{FoundSchema, inspect, refine};

/// The parts of the first migration: the tables, and the functions of each operation.
const SCHEMA: &str = concat!(
    include_str!("../migrations/0001/tables.sql"),
    include_str!("../migrations/0001/common.sql"),
    include_str!("../migrations/0001/tickets.sql"),
    include_str!("../migrations/0001/admit.sql"),
    include_str!("../migrations/0001/end.sql"),
    include_str!("../migrations/0001/leases.sql"),
    include_str!("../migrations/0001/conversations.sql"),
    include_str!("../migrations/0001/state.sql"),
    include_str!("../migrations/0001/jobs.sql"),
    include_str!("../migrations/0001/spending.sql"),
    include_str!("../migrations/0001/erasure.sql"),
    include_str!("../migrations/0001/records.sql"),
    include_str!("../migrations/0001/active_set.sql"),
);

static MIGRATOR: LazyLock<Migrator> = LazyLock::new(|| {
    let first = Migration::new(1, "schema".into(), MigrationType::Simple, SCHEMA.into_sql_str(), false);
    let mut migrator = Migrator::with_migrations(vec![first]);
    // A newer version may have added migrations that this build can work with.
    migrator.set_ignore_missing(true);
    migrator
});

/// The migrations of this build, in order.
pub(crate) fn known() -> &'static [Migration] {
    &MIGRATOR.migrations
}

/// Brings the schema to that of this build, and says whether anything was to be done. Waits for another migration that
/// runs. `options` name the server itself, without a pooler in front of it.
///
/// # Errors
/// See [`PostgresOpenError`]. Each migration is applied whole or not at all.
pub async fn migrate(options: &PostgresOptions) -> Result<bool, PostgresOpenError> {
    let mut connection = connect(options).await?;
    if inspect(options, &mut connection, known()).await? == FoundSchema::Usable {
        disconnect(connection).await;
        return Ok(false);
    }
    disconnect(connection).await;
    apply(options).await.map_err(|error| failed(options, error))?;
    Ok(true)
}

/// Applies what is missing. On a pool of one connection: the borrow of a single connection would keep [`migrate`] from being
/// `Send`.
async fn apply(options: &PostgresOptions) -> Result<(), MigrateError> {
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(options.acquire_timeout)
        // The role's limit is for hosts; an index over a large table takes longer.
        .after_connect(|connection, _| {
            Box::pin(async move { connection.execute("SET statement_timeout = 0").await.map(drop) })
        })
        .connect_lazy_with(options.connect.clone());
    let applied = MIGRATOR.run(&pool).await;
    pool.close().await;
    applied
}

/// Whether [`migrate`] has something to do. Changes nothing.
///
/// # Errors
/// See [`PostgresOpenError`].
pub async fn is_migration_needed(options: &PostgresOptions) -> Result<bool, PostgresOpenError> {
    let mut connection = connect(options).await?;
    let found = inspect(options, &mut connection, known()).await?;
    disconnect(connection).await;
    Ok(found != FoundSchema::Usable)
}

fn failed(options: &PostgresOptions, error: MigrateError) -> PostgresOpenError {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => refine(options, error),
        MigrateError::VersionMismatch(_) => PostgresOpenError::OtherBuild { target: options.target() },
        other => {
            let source = DatabaseError::from(sqlx::Error::Protocol(other.to_string())).of_read();
            PostgresOpenError::Database { target: options.target(), source }
        }
    }
}
